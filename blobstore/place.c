#include "blobstore/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define DIRECTORY_MODE 0700
#define CLEAN "clean"
#define UNTIDY "untidy\n"

/* ------------------------------------------------------------------ names */

const char *blob_name(const struct digest *digest, enum blob_form form, char name[BLOB_NAME_MAX])
{
    char text[DIGEST_TEXT_MAX];
    const char *hex = strchr(digest_format(digest, text), ':') + 1;
    char *p = stpcpy(name, digest_algorithm_name(digest->algorithm));
    *p++ = '/';
    *p++ = hex[0];
    *p++ = hex[1];
    *p++ = '/';
    p = stpcpy(p, hex);
    if (form == BLOB_PACKED)
        (void)stpcpy(p, PACKED_SUFFIX);
    return name;
}

const char *fan_name(enum digest_algorithm algorithm, uint8_t fan, char name[BLOB_NAME_MAX])
{
    (void)snprintf(name, BLOB_NAME_MAX, "%s/%02x", digest_algorithm_name(algorithm), fan);
    return name;
}

/* "sha256-<hex>" */
static const char *partial_name(const struct digest *digest, char name[DIGEST_TEXT_MAX])
{
    *strchr(digest_format(digest, name), ':') = '-';
    return name;
}

/* "sha256-<hex>.zst" */
static const char *packing_name(const struct digest *digest, char name[BLOB_NAME_MAX])
{
    char partial[DIGEST_TEXT_MAX];
    (void)snprintf(name, BLOB_NAME_MAX, "%s" PACKED_SUFFIX, partial_name(digest, partial));
    return name;
}

/* ------------------------------------------------------------------ open, close */

/* Every directory of the path that is not there. */
static int make_path(const char *path, bool *made)
{
    char part[PATH_MAX];
    if (strlen(path) >= sizeof(part))
        return -ENAMETOOLONG;
    (void)stpcpy(part, path);
    for (char *p = part + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char was = *p;
        *p = '\0';
        if (mkdir(part, DIRECTORY_MODE) == 0)
            *made = true;
        else if (errno != EEXIST)
            return -errno;
        if (!was)
            return 0;
        *p = was;
    }
}

static int open_directory(int at, const char *name, int *ret_fd, bool *made)
{
    bool is_new = mkdirat(at, name, DIRECTORY_MODE) == 0;
    if (!is_new && errno != EEXIST)
        return -errno;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *made |= is_new;
    *ret_fd = fd;
    return 0;
}

static int sync_directory(int at, const char *name)
{
    AUTO_CLOSE int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int is_empty(int at, bool *ret_empty)
{
    AUTO_CLOSEDIR DIR *d = NULL;
    int r = open_listing(at, ".", &d);
    if (r < 0)
        return r;
    unsigned count = 0; /* with `.` and `..` */
    while (count < 3 && readdir(d))
        count++;
    *ret_empty = count < 3;
    return 0;
}

static int open_all(struct place *p, const char *root, bool *ret_empty)
{
    bool made = false;
    int r = make_path(root, &made);
    if (r == 0)
        r = open_directory(AT_FDCWD, root, &p->root, &made);
    if (r == 0 && made)
        r = sync_directory(p->root, "..");
    if (r < 0)
        return r;
    p->lock = openat(p->root, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, PLACE_PARTIAL_MODE);
    if (p->lock < 0)
        return -errno;
    if (flock(p->lock, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    r = open_directory(p->root, "blobs", &p->blobs, &made);
    if (r == 0)
        r = open_directory(p->root, "partial", &p->partial, &made);
    if (r == 0)
        r = open_directory(p->root, "quarantine", &p->quarantine, &made);
    if (r == 0 && made && fsync(p->root) < 0)
        r = -errno;
    return r == 0 ? is_empty(p->blobs, ret_empty) : r;
}

int place_open(struct place *p, const char *root, bool *ret_empty)
{
    *p = PLACE_CLOSED;
    int r = open_all(p, root, ret_empty);
    if (r < 0)
        place_close(p);
    return r;
}

void place_close(struct place *p)
{
    int *const fds[] = {&p->quarantine, &p->partial, &p->blobs, &p->lock, &p->root};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        if (*fds[i] >= 0)
            (void)close(TAKE_FD(*fds[i]));
}

int place_room(const struct place *p, uint64_t *ret_size, uint64_t *ret_available)
{
    struct statvfs fs;
    if (fstatvfs(p->root, &fs) < 0)
        return -errno;
    *ret_size = (uint64_t)fs.f_blocks * fs.f_frsize;
    *ret_available = (uint64_t)fs.f_bavail * fs.f_frsize;
    return 0;
}

void blob_facts_of(const struct stat *st, struct blob_facts *ret_facts)
{
    *ret_facts = (struct blob_facts){
        .size = (uint64_t)st->st_size,
        .inode = st->st_ino,
        .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
        .ctime_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec,
    };
}

int place_witness(const struct place *p, struct witness_record *ret_witness)
{
    struct stat st;
    struct blob_facts facts;
    if (fstat(p->lock, &st) < 0)
        return -errno;
    blob_facts_of(&st, &facts);
    *ret_witness = (struct witness_record){.inode = facts.inode, .ctime_ns = facts.ctime_ns};
    return 0;
}

int place_leave(const struct place *p, bool untidy)
{
    AUTO_CLOSE int fd = openat(p->root, CLEAN, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (untidy && write(fd, UNTIDY, strlen(UNTIDY)) != (ssize_t)strlen(UNTIDY)) {
        (void)unlinkat(p->root, CLEAN, 0);
        return -EIO;
    }
    return fsync(fd) < 0 || fsync(p->root) < 0 ? -errno : 0;
}

int place_take_left(const struct place *p, struct place_left *ret_left)
{
    struct stat st;
    if (fstatat(p->root, CLEAN, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
            return -errno;
        *ret_left = (struct place_left){.clean = false};
        return 0;
    }
    if (unlinkat(p->root, CLEAN, 0) < 0 || fsync(p->root) < 0)
        return -errno;
    struct blob_facts facts;
    blob_facts_of(&st, &facts);
    *ret_left = (struct place_left){.clean = true, .untidy = st.st_size > 0, .at_ns = facts.ctime_ns};
    return 0;
}

/* ------------------------------------------------------------------ blobs */

int place_open_blob(const struct place *p, const struct digest *digest, enum blob_form form, int *ret_fd,
                    struct blob_facts *ret_facts)
{
    char name[BLOB_NAME_MAX];
    const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    AUTO_CLOSE int fd = openat(p->blobs, blob_name(digest, form, name), flags);
    if (fd < 0)
        return errno == ELOOP || errno == ENOTDIR || errno == ENXIO ? -ENOENT : -errno;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -ENOENT;
    blob_facts_of(&st, ret_facts);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int rename_noreplace(int from_at, const char *from, int to_at, const char *to)
{
    if (renameat2(from_at, from, to_at, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
        return -errno;
    /* The file system has no such rename. A hard link does not replace either. */
    if (linkat(from_at, from, to_at, to, 0) == 0)
        return unlinkat(from_at, from, 0) < 0 ? -errno : 0;
    if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS && errno != EMLINK)
        return -errno;
    /* It has no hard links, or this is a directory. Nobody but us changes names in a store that we have locked. */
    struct stat st;
    if (fstatat(to_at, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return -EEXIST;
    return renameat(from_at, from, to_at, to) < 0 ? -errno : 0;
}

/* The directory of this blob, durable. */
static int make_fan(const struct place *p, const struct digest *digest)
{
    char name[BLOB_NAME_MAX];
    const char *algorithm = digest_algorithm_name(digest->algorithm);
    if (mkdirat(p->blobs, algorithm, DIRECTORY_MODE) < 0) {
        if (errno != EEXIST)
            return -errno;
    } else if (fsync(p->blobs) < 0) {
        return -errno;
    }
    if (mkdirat(p->blobs, fan_name(digest->algorithm, digest->raw[0], name), DIRECTORY_MODE) < 0)
        return errno == EEXIST ? 0 : -errno;
    return sync_directory(p->blobs, algorithm);
}

static int move_in(const struct place *p, const char *partial, const char *blob, bool replace)
{
    if (!replace)
        return rename_noreplace(p->partial, partial, p->blobs, blob);
    return renameat(p->partial, partial, p->blobs, blob) < 0 ? -errno : 0;
}

int place_publish(const struct place *p, const struct digest *digest, int fd, bool replace,
                  struct blob_facts *ret_facts)
{
    char partial[DIGEST_TEXT_MAX], blob[BLOB_NAME_MAX];
    (void)partial_name(digest, partial);
    (void)blob_name(digest, BLOB_PLAIN, blob);
    if (fchmod(fd, PLACE_BLOB_MODE) < 0)
        return -errno;
    int r = move_in(p, partial, blob, replace);
    if (r == -ENOENT) {
        r = make_fan(p, digest);
        if (r == 0)
            r = move_in(p, partial, blob, replace);
    }
    /* Now and not before: chmod and rename change the ctime. */
    struct stat st;
    if (r == 0 && fstat(fd, &st) < 0) {
        r = -errno;
        (void)renameat(p->blobs, blob, p->partial, partial);
    }
    if (r < 0) {
        (void)fchmod(fd, PLACE_PARTIAL_MODE);
        return r;
    }
    blob_facts_of(&st, ret_facts);
    return 0;
}

int place_sync_fan(const struct place *p, enum digest_algorithm algorithm, uint8_t fan)
{
    char name[BLOB_NAME_MAX];
    return sync_directory(p->blobs, fan_name(algorithm, fan, name));
}

int place_remove_form(const struct place *p, const struct digest *digest, enum blob_form form)
{
    char name[BLOB_NAME_MAX];
    return unlinkat(p->blobs, blob_name(digest, form, name), 0) < 0 ? -errno : 0;
}

int place_remove_blob(const struct place *p, const struct digest *digest)
{
    int plain = place_remove_form(p, digest, BLOB_PLAIN), packed = place_remove_form(p, digest, BLOB_PACKED);
    return plain == -ENOENT || (plain == 0 && packed != -ENOENT) ? packed : plain;
}

/* ------------------------------------------------------------------ partial files */

/* Of a file that its writer was torn from while it had bytes ahead of a gap: what is before the gap. Else all of it. */
static int length_of_partial(int fd, uint64_t size, uint64_t *ret_length)
{
    uint8_t bytes[FRONT_RECORD_SIZE];
    struct front_record front;
    *ret_length = size;
    if (size < sizeof(bytes))
        return 0;
    uint64_t at = size - sizeof(bytes);
    ssize_t n;
    do
        n = pread(fd, bytes, sizeof(bytes), (off_t)at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (front_record_decode(bytes, (size_t)n, &front) < 0 || front.at != at)
        return 0;
    *ret_length = front.length;
    return ftruncate(fd, (off_t)front.length) < 0 ? -errno : 0;
}

int place_open_partial(const struct place *p, const struct digest *digest, int *ret_fd, uint64_t *ret_length)
{
    char name[DIGEST_TEXT_MAX];
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    AUTO_CLOSE int fd = openat(p->partial, partial_name(digest, name), flags, PLACE_PARTIAL_MODE);
    if (fd < 0)
        return -errno;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EIO;
    uint64_t length;
    int r = length_of_partial(fd, (uint64_t)st.st_size, &length);
    if (r < 0)
        return r;
    *ret_length = length;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int place_remove_partial(const struct place *p, const struct digest *digest)
{
    char name[DIGEST_TEXT_MAX];
    return unlinkat(p->partial, partial_name(digest, name), 0) < 0 ? -errno : 0;
}

/* Where the file system has none without a name, it has one that the next start would take away. */
int place_open_temporary(const struct place *p, int *ret_fd)
{
    static const char name[] = "temporary";
    int fd = openat(p->partial, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, PLACE_PARTIAL_MODE);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
        (void)unlinkat(p->partial, name, 0);
        fd = openat(p->partial, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, PLACE_PARTIAL_MODE);
        if (fd >= 0)
            (void)unlinkat(p->partial, name, 0);
    }
    if (fd < 0)
        return errno == EDQUOT ? -ENOSPC : -errno;
    *ret_fd = fd;
    return 0;
}

/* ------------------------------------------------------------------ packed files in the making */

int place_open_packing(const struct place *p, const struct digest *digest, int *ret_fd)
{
    char name[BLOB_NAME_MAX];
    const int flags = O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(p->partial, packing_name(digest, name), flags, PLACE_PARTIAL_MODE);
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

int place_publish_packing(const struct place *p, const struct digest *digest, int fd, struct blob_facts *ret_facts)
{
    char packing[BLOB_NAME_MAX], blob[BLOB_NAME_MAX];
    struct stat st;
    if (fchmod(fd, PLACE_BLOB_MODE) < 0 ||
        renameat(p->partial, packing_name(digest, packing), p->blobs, blob_name(digest, BLOB_PACKED, blob)) < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    blob_facts_of(&st, ret_facts);
    return 0;
}

int place_remove_packing(const struct place *p, const struct digest *digest)
{
    char name[BLOB_NAME_MAX];
    return unlinkat(p->partial, packing_name(digest, name), 0) < 0 ? -errno : 0;
}
