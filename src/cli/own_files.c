#include "cli/own_files.h"

#include "base/buf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define NEW_NAME ".entrepot.new"
/* certs.d/HOST/ca.crt */
#define DEPTH 3
#define PATH_LEN 4096

static void close_directory(DIR **d)
{
    if (*d)
        (void)closedir(*d);
}

/* ------------------------------------------------------------------ whose file it is */

enum owner { NOBODY, OURS, OTHERS };

/* Of a regular file; whatever else has that name is somebody else's. */
static int owner_of(int directory, const char *name, const char *text, bool *ret_same, enum owner *ret_owner)
{
    AUTO_CLOSE int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    *ret_same = false;
    if (fd < 0 && errno == ENOENT) {
        *ret_owner = NOBODY;
        return 0;
    }
    if (fd < 0 && errno != ELOOP)
        return -errno;
    *ret_owner = OTHERS;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    size_t want = text ? strlen(text) : 0, size = sizeof(HOSTS_MARK) - 1;
    if (want > size)
        size = want;
    AUTO_FREE char *begin = malloc(size);
    if (!begin)
        return -ENOMEM;
    ssize_t n = pread(fd, begin, size, 0);
    if (n < 0)
        return -errno;
    if ((size_t)n >= sizeof(HOSTS_MARK) - 1 && memcmp(begin, HOSTS_MARK, sizeof(HOSTS_MARK) - 1) == 0)
        *ret_owner = OURS;
    *ret_same = text && (size_t)st.st_size == want && (size_t)n == want && memcmp(begin, text, want) == 0;
    return 0;
}

/* ------------------------------------------------------------------ writing */

/* The directory of the path, which is made where it is missing, and the name in it. */
static int open_parent(int directory, const char *path, int *ret_fd, const char **ret_name)
{
    AUTO_CLOSE int fd = fcntl(directory, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const char *slash;
    for (; (slash = strchr(path, '/')); path = slash + 1) {
        char name[NAME_MAX + 1];
        size_t len = (size_t)(slash - path);
        if (len > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, path, len);
        name[len] = '\0';
        if (mkdirat(fd, name, 0755) < 0 && errno != EEXIST)
            return -errno;
        int next = openat(fd, name, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (next < 0)
            return errno == ELOOP || errno == ENOTDIR ? -EEXIST : -errno;
        (void)close(fd);
        fd = next;
    }
    *ret_fd = TAKE_FD(fd);
    *ret_name = path;
    return 0;
}

static int write_new(int directory, const char *text)
{
    (void)unlinkat(directory, NEW_NAME, 0);
    AUTO_CLOSE int fd = openat(directory, NEW_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return -errno;
    size_t len = strlen(text);
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    /* what the umask took: other programs read it */
    return fchmod(fd, 0644) < 0 || fsync(fd) < 0 ? -errno : 0;
}

int own_file_write(int directory, const char *path, const char *text)
{
    AUTO_CLOSE int parent = -1;
    const char *name;
    int r = open_parent(directory, path, &parent, &name);
    if (r < 0)
        return r;
    bool same;
    enum owner owner;
    r = owner_of(parent, name, text, &same, &owner);
    if (r < 0 || same)
        return r;
    if (owner == OTHERS)
        return -EEXIST;
    r = write_new(parent, text);
    /* A link, unlike a rename, replaces nothing that has come there meanwhile. */
    if (r == 0 && owner == NOBODY)
        r = linkat(parent, NEW_NAME, parent, name, 0) < 0 ? -errno : 0;
    else if (r == 0)
        r = renameat(parent, NEW_NAME, parent, name) < 0 ? -errno : 0;
    (void)unlinkat(parent, NEW_NAME, 0);
    return r < 0 ? r : 1;
}

/* ------------------------------------------------------------------ removing */

static bool is_kept(const struct hosts_files *keep, const char *path)
{
    for (size_t i = 0; keep && i < keep->count; i++)
        if (strcmp(keep->items[i].path, path) == 0)
            return true;
    return false;
}

struct removal {
    const struct hosts_files *keep;
    char path[PATH_LEN]; /* of what is looked at, below the directory */
    int removed;
    int error;
};

static void remove_file(struct removal *m, int directory, const char *name)
{
    bool same, left_over = strcmp(name, NEW_NAME) == 0;
    enum owner owner = OTHERS;
    int r = is_kept(m->keep, m->path) ? 0 : owner_of(directory, name, NULL, &same, &owner);
    if (r == 0 && (owner == OURS || (left_over && owner != NOBODY))) {
        r = unlinkat(directory, name, 0) < 0 ? -errno : 0;
        m->removed += r == 0;
    }
    if (r < 0)
        m->error = r;
}

/* Closes `fd`. Recursion ends at DEPTH. */
static void remove_below(struct removal *m, int fd, int depth)
{
    AUTO(close_directory) DIR *d = fdopendir(fd);
    if (!d) {
        m->error = -errno;
        (void)close(fd);
        return;
    }
    size_t len = strlen(m->path);
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (snprintf(m->path + len, sizeof(m->path) - len, "%s%s", len > 0 ? "/" : "", e->d_name) >=
            (int)(sizeof(m->path) - len)) {
            m->error = -ENAMETOOLONG;
        } else if (S_ISREG(st.st_mode)) {
            remove_file(m, fd, e->d_name);
        } else if (S_ISDIR(st.st_mode) && depth < DEPTH) {
            int before = m->removed;
            int child = openat(fd, e->d_name, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
            if (child >= 0)
                remove_below(m, child, depth + 1);
            else if (errno != ENOENT)
                m->error = -errno;
            if (m->removed > before)
                (void)unlinkat(fd, e->d_name, AT_REMOVEDIR);
        }
        m->path[len] = '\0';
    }
}

int own_files_remove(int directory, const struct hosts_files *keep)
{
    struct removal m = {.keep = keep};
    int fd = openat(directory, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    remove_below(&m, fd, 1);
    return m.error < 0 ? m.error : m.removed;
}
