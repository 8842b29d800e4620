#include "helper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char directory[64], root[80];

void helper_setup(void)
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(directory, sizeof(directory), "%s/blobstore-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    (void)snprintf(root, sizeof(root), "%s/store", directory);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void helper_cleanup(void)
{
    ck_ok(nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS));
}

const char *helper_root(void)
{
    return root;
}

const char *helper_path(const char *fmt, ...)
{
    static char paths[8][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % ARRAY_SIZE(paths)];
    int n = snprintf(path, PATH_MAX, "%s/", root);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(path + n, (size_t)(PATH_MAX - n), fmt, ap);
    va_end(ap);
    return path;
}

struct blobstore *helper_open(struct blobstore_report *ret_report)
{
    struct blobstore_options options = {.root = helper_root()};
    struct blobstore_report report;
    struct blobstore *store;
    ck_ok(blobstore_open(&options, &store, &report));
    if (ret_report)
        *ret_report = report;
    return store;
}

size_t helper_content(unsigned n, uint8_t bytes[HELPER_CONTENT_MAX])
{
    size_t len = 4 + n * 37 % (HELPER_CONTENT_MAX - 4);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(n >> 8 * (i % 4));
    return len;
}

struct digest helper_digest(unsigned n)
{
    uint8_t bytes[HELPER_CONTENT_MAX];
    size_t len = helper_content(n, bytes);
    struct digest digest;
    ck_ok(digest_of(n % 2 ? DIGEST_SHA512 : DIGEST_SHA256, bytes, len, &digest));
    return digest;
}

struct blobstore_writer *helper_open_writer(struct blobstore *store, unsigned n, uint64_t length)
{
    struct digest digest = helper_digest(n);
    struct blobstore_writer *w;
    uint64_t found;
    ck_ok(blobstore_writer_open(store, &digest, &w, &found));
    ck_assert_uint_eq(found, length);
    return w;
}

static struct blobstore_writer *write_as(struct blobstore *store, const struct digest *digest, const void *data,
                                         size_t len)
{
    struct blobstore_writer *w;
    uint64_t length;
    ck_ok(blobstore_writer_open(store, digest, &w, &length));
    ck_assert_uint_le(length, len); /* an earlier attempt may have come as far as that */
    ck_ok(blobstore_writer_append(w, (const char *)data + length, len - length));
    return w;
}

struct blobstore_writer *helper_writer(struct blobstore *store, unsigned n)
{
    uint8_t bytes[HELPER_CONTENT_MAX];
    size_t len = helper_content(n, bytes);
    struct digest digest = helper_digest(n);
    return write_as(store, &digest, bytes, len);
}

/* In a batch of its own; closes the writer. */
static void publish(struct blobstore *store, struct blobstore_writer *w)
{
    struct blobstore_batch *b;
    ck_ok(blobstore_batch_begin(store, &b));
    ck_ok(blobstore_batch_publish(b, w));
    ck_ok(blobstore_batch_commit(b));
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
}

struct digest helper_store(struct blobstore *store, unsigned n)
{
    publish(store, helper_writer(store, n));
    return helper_digest(n);
}

bool helper_has(struct blobstore *store, unsigned n)
{
    uint8_t expected[HELPER_CONTENT_MAX], bytes[HELPER_CONTENT_MAX + 1];
    size_t len = helper_content(n, expected);
    struct digest digest = helper_digest(n);
    struct blobstore_info info;
    struct blobstore_content *content;
    int r = blobstore_get(store, &digest, &info, &content);
    if (r == -ENOENT || r == -EBADMSG)
        return false;
    ck_ok(r);
    ck_assert(digest_equal(&info.digest, &digest));
    ck_assert_uint_eq(info.size, len);
    ck_assert_uint_lt(len, sizeof(bytes));
    ck_ok(blobstore_content_read_all(content, bytes, len));
    ck_assert_mem_eq(bytes, expected, len);
    blobstore_content_close(content);
    return true;
}

static const char *path_of(const struct digest *digest, const char *suffix)
{
    char text[DIGEST_TEXT_MAX];
    const char *hex = strchr(digest_format(digest, text), ':') + 1;
    return helper_path("blobs/%s/%.2s/%s%s", digest_algorithm_name(digest->algorithm), hex, hex, suffix);
}

const char *helper_blob_path(const struct digest *digest)
{
    return path_of(digest, "");
}

const char *helper_packed_path(const struct digest *digest)
{
    return path_of(digest, ".zst");
}

void helper_write_file(const char *path, const void *data, size_t len)
{
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
    ck_ok(close(fd));
}

bool helper_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

unsigned helper_count(const char *path)
{
    DIR *d = opendir(path);
    ck_assert_ptr_nonnull(d);
    unsigned count = 0;
    for (const struct dirent *e; (e = readdir(d));)
        count += e->d_name[0] != '.';
    (void)closedir(d);
    return count;
}

char *helper_text(size_t len, unsigned seed)
{
    char *data = malloc(len + 64);
    ck_assert_ptr_nonnull(data);
    for (size_t at = 0; at < len;)
        at += (size_t)snprintf(data + at, 64, "%x: line %zu of %u\n", (unsigned)(at * 2654435761U), at, seed);
    return data;
}

void helper_store_as(struct blobstore *store, const struct digest *digest, const void *data, size_t len)
{
    publish(store, write_as(store, digest, data, len));
}

struct digest helper_store_bytes(struct blobstore *store, const void *data, size_t len)
{
    struct digest digest;
    ck_ok(digest_of(DIGEST_SHA256, data, len, &digest));
    helper_store_as(store, &digest, data, len);
    return digest;
}

void helper_check_content(struct blobstore *store, const struct digest *digest, const void *data, size_t len,
                          size_t piece)
{
    AUTO(auto_blobstore_content_close) struct blobstore_content *content = NULL;
    AUTO_FREE char *bytes = malloc(piece);
    struct blobstore_info info;
    ck_ok(blobstore_get(store, digest, &info, &content));
    ck_assert_uint_eq(info.size, len);
    for (size_t at = 0; at < len;) {
        ssize_t n = blobstore_content_read(content, at, bytes, piece < len - at ? piece : len - at);
        ck_assert_int_gt(n, 0);
        ck_assert_mem_eq(bytes, (const char *)data + at, (size_t)n);
        at += (size_t)n;
    }
}

int helper_pack(struct blobstore *store, const struct digest *digest, uint64_t *ret_saved)
{
    AUTO(auto_blobstore_pack_close) struct blobstore_packing *p = NULL;
    int r = blobstore_pack_begin(store, digest, HELPER_PACK_LEVEL, &p);
    if (r < 0)
        return r;
    while ((r = blobstore_pack_step(p)) > 0)
        ;
    *ret_saved = r == 0 ? blobstore_pack_saved(p) : 0;
    return r;
}

void helper_copy_root(void)
{
    char from[1024], copy[1032], old[1032];
    (void)snprintf(from, sizeof(from), "%s", helper_root());
    (void)snprintf(copy, sizeof(copy), "%s-copy", from);
    (void)snprintf(old, sizeof(old), "%s-old", from);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        (void)execlp("cp", "cp", "-a", from, copy, (char *)NULL);
        _exit(127);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_ok(rename(from, old));
    ck_ok(rename(copy, from));
}

void helper_crash_after(void (*work)(struct blobstore *store))
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        work(helper_open(NULL));
        (void)raise(SIGKILL);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the child failed on its way");
}

int helper_run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
