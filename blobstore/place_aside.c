/*
 * What is put away rather than served: quarantine/ has `<ms>-<algorithm>-<hex>` for blobs with wrong bytes, bounded,
 * and `foreign-<name>` for what was found among the blobs and is none of ours, which stays until the admin takes it
 * away.
 */
#include "blobstore/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define INDEX_BAD "index.bad-"
#define NAME_TRIES 100

struct held {
    char oldest[NAME_MAX + 1]; /* empty: there is none */
    uint64_t files, bytes;
};

/* Of blobs; with `remove` they go. */
static int look_into_quarantine(const struct place *p, bool remove, struct held *ret_held)
{
    AUTO_CLOSEDIR DIR *d = NULL;
    int r = open_listing(p->quarantine, ".", &d);
    if (r < 0)
        return r;
    struct held held = {.oldest = ""};
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (e->d_name[0] < '0' || e->d_name[0] > '9' ||
            fstatat(p->quarantine, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
            continue;
        if (remove && unlinkat(p->quarantine, e->d_name, 0) < 0)
            return -errno;
        held.files++;
        held.bytes += (uint64_t)st.st_size;
        if (!held.oldest[0] || strcmp(e->d_name, held.oldest) < 0)
            (void)snprintf(held.oldest, sizeof(held.oldest), "%s", e->d_name);
    }
    *ret_held = held;
    return 0;
}

static int make_room(const struct place *p)
{
    for (;;) {
        struct held held;
        int r = look_into_quarantine(p, /* remove= */ false, &held);
        if (r < 0 || (held.files <= QUARANTINE_FILES && held.bytes <= QUARANTINE_BYTES))
            return r;
        if (unlinkat(p->quarantine, held.oldest, 0) < 0)
            return -errno;
    }
}

int place_quarantine(const struct place *p, const struct digest *digest, enum blob_form form, int64_t now_ms)
{
    char from[BLOB_NAME_MAX], text[DIGEST_TEXT_MAX], to[BLOB_NAME_MAX];
    (void)blob_name(digest, form, from);
    *strchr(digest_format(digest, text), ':') = '-';
    int r = -EEXIST;
    for (int i = 0; r == -EEXIST && i < NAME_TRIES; i++) {
        (void)snprintf(to, sizeof(to), "%013lld-%s%s", (long long)now_ms + i, text,
                       form == BLOB_PACKED ? PACKED_SUFFIX : "");
        r = rename_noreplace(p->blobs, from, p->quarantine, to);
    }
    return r == 0 ? make_room(p) : r;
}

int place_set_aside(const struct place *p, int at, const char *name, int64_t now_ms)
{
    char to[NAME_MAX + 1];
    int r = -EEXIST;
    for (int i = 0; r == -EEXIST && i < NAME_TRIES; i++) {
        (void)snprintf(to, sizeof(to), "foreign-%013lld-%.200s", (long long)now_ms + i, name);
        r = rename_noreplace(at, name, p->quarantine, to);
    }
    return r;
}

static void remove_index(const struct place *p, const char *name)
{
    AUTO_CLOSEDIR DIR *d = NULL;
    if (open_listing(p->root, name, &d) < 0) {
        (void)unlinkat(p->root, name, 0);
        return;
    }
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    (void)unlinkat(p->root, name, AT_REMOVEDIR);
}

int place_set_index_aside(const struct place *p, int64_t now_ms)
{
    AUTO_CLOSEDIR DIR *d = NULL;
    int r = open_listing(p->root, ".", &d);
    if (r < 0)
        return r;
    for (struct dirent *e; (e = readdir(d));)
        if (strncmp(e->d_name, INDEX_BAD, strlen(INDEX_BAD)) == 0)
            remove_index(p, e->d_name);
    char to[sizeof(INDEX_BAD) + 24];
    (void)snprintf(to, sizeof(to), INDEX_BAD "%lld", (long long)now_ms);
    r = rename_noreplace(p->root, "index", p->root, to);
    if (r == -ENOENT)
        return 0;
    return r == 0 && fsync(p->root) < 0 ? -errno : r;
}

int place_empty_quarantine(const struct place *p, bool remove, uint64_t *ret_files, uint64_t *ret_bytes)
{
    struct held held = {0};
    int r = look_into_quarantine(p, remove, &held);
    if (r < 0)
        return r;
    *ret_files = held.files;
    *ret_bytes = held.bytes;
    return 0;
}
