/* Listings of the tree for recovery. Names decide what an entry is: files are not opened, nor asked for their size. */
#include "blobstore/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define STAT_BLOCK 512 /* bytes of which st_blocks counts, whatever the file system's blocks are */

int open_listing(int at, const char *name, DIR **ret_dir)
{
    AUTO_CLOSE int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d)
        return -errno;
    (void)TAKE_FD(fd); /* the listing's now */
    *ret_dir = d;
    return 0;
}

/* The next entry but `.` and `..`; NULL at the end, with *error set where that is not the end. */
static const struct dirent *next_entry(DIR *d, int *error)
{
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e)
            *error = -errno;
        else if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        return e;
    }
}

/* "<algorithm><separator><hex>" */
static bool parse_name(const char *algorithm, const char *hex, struct digest *ret_digest)
{
    char text[DIGEST_TEXT_MAX];
    int n = snprintf(text, sizeof(text), "%s:%s", algorithm, hex);
    return n > 0 && (size_t)n < sizeof(text) && digest_parse(text, (size_t)n, ret_digest) == 0;
}

static int by_digest(const void *a, const void *b)
{
    const struct place_entry *x = a, *y = b;
    int order = memcmp(x->digest.raw, y->digest.raw, sizeof(x->digest.raw));
    return order ? order : (int)x->form - (int)y->form;
}

/* "<hex>" or "<hex>.zst" */
static bool parse_blob_name(enum digest_algorithm algorithm, const char *name, struct digest *ret_digest,
                            enum blob_form *ret_form)
{
    char hex[DIGEST_TEXT_MAX];
    size_t len = strlen(name), suffix = strlen(PACKED_SUFFIX);
    bool is_packed = len > suffix && strcmp(name + len - suffix, PACKED_SUFFIX) == 0;
    if (is_packed)
        len -= suffix;
    if (len >= sizeof(hex))
        return false;
    memcpy(hex, name, len);
    hex[len] = '\0';
    *ret_form = is_packed ? BLOB_PACKED : BLOB_PLAIN;
    return parse_name(digest_algorithm_name(algorithm), hex, ret_digest);
}

static int list_add(struct place_list *l, const struct digest *digest, enum blob_form form, uint64_t inode)
{
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 1024;
        struct place_entry *entries = reallocarray(l->entries, capacity, sizeof(*entries));
        if (!entries)
            return -ENOMEM;
        l->entries = entries;
        l->capacity = capacity;
    }
    l->entries[l->count++] = (struct place_entry){.digest = *digest, .form = form, .inode = inode};
    return 0;
}

void place_list_finish(struct place_list *l)
{
    free(l->entries);
    *l = (struct place_list){0};
}

/* An entry that cannot be moved (a mount point) stays where it is: it is in nobody's way. */
static void set_aside(const struct place *p, int at, const char *name, int64_t now_ms, uint64_t *foreign)
{
    if (place_set_aside(p, at, name, now_ms) == 0)
        (*foreign)++;
}

int place_list_fan(const struct place *p, enum digest_algorithm algorithm, uint8_t fan, int64_t now_ms,
                   struct place_list *list, uint64_t *foreign)
{
    char name[BLOB_NAME_MAX];
    AUTO_CLOSEDIR DIR *d = NULL;
    list->count = 0;
    int r = open_listing(p->blobs, fan_name(algorithm, fan, name), &d);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    for (const struct dirent *e; r == 0 && (e = next_entry(d, &r));) {
        struct digest digest;
        enum blob_form form;
        if ((e->d_type == DT_REG || e->d_type == DT_UNKNOWN) && parse_blob_name(algorithm, e->d_name, &digest, &form) &&
            digest.raw[0] == fan)
            r = list_add(list, &digest, form, e->d_ino);
        else
            set_aside(p, dirfd(d), e->d_name, now_ms, foreign);
    }
    if (r == 0 && list->count > 0)
        qsort(list->entries, list->count, sizeof(*list->entries), by_digest);
    return r;
}

int64_t place_fan_changed_at(const struct place *p, enum digest_algorithm algorithm, uint8_t fan)
{
    char name[BLOB_NAME_MAX];
    struct stat st;
    struct blob_facts facts;
    if (fstatat(p->blobs, fan_name(algorithm, fan, name), &st, AT_SYMLINK_NOFOLLOW) < 0)
        return INT64_MAX;
    blob_facts_of(&st, &facts);
    return facts.ctime_ns;
}

static bool is_directory(DIR *d, const struct dirent *e)
{
    struct stat st;
    return e->d_type == DT_DIR || (e->d_type == DT_UNKNOWN &&
                                   fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode));
}

static bool is_fan(const char *name)
{
    static const char digits[] = "0123456789abcdef";
    return strlen(name) == 2 && strchr(digits, name[0]) && strchr(digits, name[1]);
}

static bool is_algorithm(const char *name)
{
    return strcmp(name, digest_algorithm_name(DIGEST_SHA256)) == 0 ||
           strcmp(name, digest_algorithm_name(DIGEST_SHA512)) == 0;
}

static int sweep(const struct place *p, const char *where, bool (*is_ours)(const char *name), int64_t now_ms,
                 uint64_t *foreign)
{
    AUTO_CLOSEDIR DIR *d = NULL;
    int r = open_listing(p->blobs, where, &d);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    for (const struct dirent *e; (e = next_entry(d, &r));)
        if (!is_directory(d, e) || !is_ours(e->d_name))
            set_aside(p, dirfd(d), e->d_name, now_ms, foreign);
    return r;
}

int place_sweep(const struct place *p, int64_t now_ms, uint64_t *foreign)
{
    int r = sweep(p, ".", is_algorithm, now_ms, foreign);
    if (r == 0)
        r = sweep(p, digest_algorithm_name(DIGEST_SHA256), is_fan, now_ms, foreign);
    if (r == 0)
        r = sweep(p, digest_algorithm_name(DIGEST_SHA512), is_fan, now_ms, foreign);
    return r;
}

static bool parse_partial(const char *name, struct digest *ret_digest)
{
    char algorithm[16];
    const char *dash = strchr(name, '-');
    if (!dash || (size_t)(dash - name) >= sizeof(algorithm))
        return false;
    (void)snprintf(algorithm, sizeof(algorithm), "%.*s", (int)(dash - name), name);
    return parse_name(algorithm, dash + 1, ret_digest);
}

int place_walk_partial(const struct place *p, place_partial_fn each, void *arg, uint64_t *removed)
{
    AUTO_CLOSEDIR DIR *d = NULL;
    int r = open_listing(p->partial, ".", &d);
    if (r < 0)
        return r;
    for (const struct dirent *e; (e = next_entry(d, &r));) {
        struct digest digest;
        struct stat st;
        if (fstatat(p->partial, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return -errno;
        /* A second link is the blob itself, whose publish was cut short between link and unlink. */
        if (S_ISREG(st.st_mode) && st.st_size > 0 && st.st_nlink == 1 && parse_partial(e->d_name, &digest) &&
            each(arg, &digest, (uint64_t)st.st_size) == 0) {
            /* It may have been on its way to its place already, and must be writable to go on. */
            if ((st.st_mode & 0777) != PLACE_PARTIAL_MODE && fchmodat(p->partial, e->d_name, PLACE_PARTIAL_MODE, 0) < 0)
                return -errno;
        } else if (unlinkat(p->partial, e->d_name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) == 0) {
            (*removed)++;
        }
    }
    return r;
}

int place_each_partial(const struct place *p, place_partial_seen_fn each, void *arg)
{
    AUTO_CLOSEDIR DIR *d = NULL;
    int r = open_listing(p->partial, ".", &d), found = 0;
    if (r < 0)
        return r;
    for (const struct dirent *e; found == 0 && (e = next_entry(d, &r));) {
        struct digest digest;
        struct stat st;
        if (parse_partial(e->d_name, &digest) && fstatat(p->partial, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode))
            found = each(arg, &digest, (uint64_t)st.st_blocks * STAT_BLOCK,
                         st.st_mtim.tv_sec * 1000LL + st.st_mtim.tv_nsec / 1000000);
    }
    return found ? found : r;
}
