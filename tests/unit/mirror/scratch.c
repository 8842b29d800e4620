#include "scratch.h"

#include "tree.h"

#include "base/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char directory[128];

void scratch_setup(void)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(directory, sizeof(directory), "%.80s/entrepot-mirror-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    log_configure(LOG_ERROR, LOG_TEXT);
}

void scratch_cleanup(void)
{
    tree_remove(directory);
}

const char *scratch_path(void)
{
    return directory;
}

struct blobstore *scratch_store(void)
{
    char root[160];
    struct blobstore *store;
    struct blobstore_report report;
    (void)snprintf(root, sizeof(root), "%s/store", directory);
    const struct blobstore_options options = {.root = root, .map_size = 256u << 20};
    ck_ok(blobstore_open(&options, &store, &report));
    return store;
}

char *scratch_bytes(unsigned n, size_t len, struct digest *ret_digest)
{
    char *data = malloc(len + 1);
    ck_assert_ptr_nonnull(data);
    uint64_t x = 0x9e3779b97f4a7c15ULL * (n + 1);
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        data[i] = (char)(x >> 32);
    }
    data[len] = '\0';
    ck_ok(digest_of(DIGEST_SHA256, data, len, ret_digest));
    return data;
}

unsigned scratch_count(const char *folder)
{
    char path[256];
    unsigned count = 0;
    (void)snprintf(path, sizeof(path), "%s/store/%s", directory, folder);
    DIR *dir = opendir(path);
    ck_assert_msg(dir != NULL, "%s cannot be read", path);
    for (const struct dirent *e; (e = readdir(dir));)
        count += e->d_name[0] != '.';
    (void)closedir(dir);
    return count;
}

static int count_record(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    (void)key;
    (void)key_len;
    (void)value;
    (void)value_len;
    ++*(unsigned *)arg;
    return 0;
}

unsigned scratch_records(struct blobstore *store, enum blobstore_table table, const void *prefix, size_t len)
{
    unsigned count = 0;
    ck_ok(blobstore_record_scan(store, table, prefix, len, count_record, &count));
    return count;
}

void scratch_remove(const char *folder)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/store/%s", directory, folder);
    tree_remove(path);
}

static char damaged_name[160];

static int damage_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    if (type != FTW_F || strcmp(path + ftw->base, damaged_name) != 0)
        return 0;
    /* mode and size stay; mtime is put back, ctime cannot be: so the store may see it, or the digest does */
    ck_ok(chmod(path, 0644));
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, "#", 1, st->st_size / 2), 1);
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    ck_ok(futimens(fd, times));
    ck_ok(close(fd));
    ck_ok(chmod(path, st->st_mode & 07777));
    return 1;
}

void scratch_damage(const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];
    (void)snprintf(damaged_name, sizeof(damaged_name), "%s", strchr(digest_format(digest, text), ':') + 1);
    ck_assert_int_eq(nftw(directory, damage_one, 16, FTW_PHYS), 1);
}
