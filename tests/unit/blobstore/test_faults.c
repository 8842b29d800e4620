/*
 * Calls of the system that fail. This program has functions of its own in the place of those of the C library that the
 * store and LMDB write with: each call is counted, and the one that was asked for fails. A scenario is run over and
 * over, with its first call failing, its second, and so on until it gets through. Whatever failed: nothing crashes,
 * what was acknowledged is there afterwards and right, and the store goes on.
 */
#include "blobstore/store.h"
#include "helper.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* ------------------------------------------------------------------ the calls */

#define EXPORT __attribute__((visibility("default")))

static struct {
    bool armed;
    unsigned countdown; /* calls until one fails; 0: it is this one */
    bool for_ever;      /* and all after it, as on a disk that is full */
    int error;
    bool fired;
    const char *only;  /* the one call that counts, or NULL: all of them */
    const char *after; /* and only right after this one, or NULL */
    unsigned calls;
    char order[512]; /* what was called, for tests of the order */
} faults;

static bool is_last(const char *name)
{
    const char *end = faults.order + strlen(faults.order);
    size_t len = strlen(name);
    return end > faults.order + len && strncmp(end - 1 - len, name, len) == 0;
}

static bool fails(const char *name)
{
    if (!faults.armed)
        return false;
    bool follows = !faults.after || is_last(faults.after);
    size_t at = strlen(faults.order);
    (void)snprintf(faults.order + at, sizeof(faults.order) - at, "%s ", name);
    if (!follows || (faults.only && strcmp(faults.only, name) != 0))
        return false;
    faults.calls++;
    if (faults.fired ? !faults.for_ever : faults.countdown-- > 0)
        return false;
    faults.fired = true;
    errno = faults.error;
    return true;
}

#define REAL(name, ...)                                                                                                \
    static int (*real)(__VA_ARGS__);                                                                                   \
    if (!real)                                                                                                         \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

#define INT_CALL(name, params, args, ...)                                                                              \
    EXPORT int name params;                                                                                            \
    EXPORT int name params                                                                                             \
    {                                                                                                                  \
        REAL(name, __VA_ARGS__);                                                                                       \
        return fails(#name) ? -1 : real args;                                                                          \
    }

INT_CALL(fdatasync, (int fd), (fd), int)
INT_CALL(fsync, (int fd), (fd), int)
INT_CALL(syncfs, (int fd), (fd), int)
INT_CALL(fchmod, (int fd, mode_t mode), (fd, mode), int, mode_t)
INT_CALL(ftruncate, (int fd, off_t length), (fd, length), int, off_t)
INT_CALL(fallocate, (int fd, int mode, off_t at, off_t length), (fd, mode, at, length), int, int, off_t, off_t)
INT_CALL(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), int, const char *, int,
         const char *)
INT_CALL(renameat2, (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags), int,
         const char *, int, const char *, unsigned)
INT_CALL(linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags), int,
         const char *, int, const char *, int)
INT_CALL(unlinkat, (int at, const char *name, int flags), (at, name, flags), int, const char *, int)
INT_CALL(mkdirat, (int at, const char *name, mode_t mode), (at, name, mode), int, const char *, mode_t)

/* Only where it is asked for by its name: what opens for reading fails in other ways than what writes. */
EXPORT int openat(int at, const char *name, int flags, ...);
EXPORT int openat(int at, const char *name, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    REAL(openat, int, const char *, int, ...);
    return faults.only && strcmp(faults.only, "openat") == 0 && fails("openat") ? -1 : real(at, name, flags, mode);
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t len, off_t at);
EXPORT ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "pwrite");
    if (fails("pwrite")) {
        if (faults.error != EINTR && len > 1)
            (void)real(fd, data, len / 2, at); /* a part of it is there all the same */
        return -1;
    }
    return real(fd, data, faults.armed && len > 3 && faults.error == EINTR ? 3 : len, at);
}

/* The same under the name that LMDB knows, which was built with another _FILE_OFFSET_BITS. */
EXPORT ssize_t plain_pwrite(int fd, const void *data, size_t len, off_t at) __asm__("pwrite");
EXPORT ssize_t plain_pwrite(int fd, const void *data, size_t len, off_t at)
{
    return pwrite(fd, data, len, at);
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int count);
EXPORT ssize_t writev(int fd, const struct iovec *iov, int count)
{
    static ssize_t (*real)(int, const struct iovec *, int);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "writev");
    return fails("writev") ? -1 : real(fd, iov, count);
}

static void arm(unsigned countdown, int error, bool for_ever)
{
    memset(&faults, 0, sizeof(faults));
    faults.countdown = countdown;
    faults.error = error;
    faults.for_ever = for_ever;
    faults.armed = true;
}

static void arm_only(const char *only, int error)
{
    arm(0, error, false);
    faults.only = only;
}

static bool disarm(void)
{
    faults.armed = false;
    return faults.fired;
}

/* ------------------------------------------------------------------ a scenario */

struct result {
    bool published; /* acknowledged: two blobs and a record */
    bool removed;   /* acknowledged */
};

/* Stores numbers first and first + 1, with a record, and removes first - 2. Goes on after errors as a caller would. */
static struct result scenario(struct blobstore *store, unsigned first)
{
    struct result result = {0};
    struct blobstore_writer *writers[2] = {NULL};
    struct blobstore_batch *b = NULL;
    bool good = blobstore_batch_begin(store, &b) == 0;
    for (unsigned i = 0; good && i < 2; i++) {
        uint8_t bytes[HELPER_CONTENT_MAX];
        size_t len = helper_content(first + i, bytes);
        struct digest digest = helper_digest(first + i);
        uint64_t length;
        good = blobstore_writer_open(store, &digest, &writers[i], &length) == 0 &&
               blobstore_writer_reserve(writers[i], len) == 0;
        if (good && blobstore_writer_append(writers[i], bytes, len) < 0) {
            ck_assert_uint_eq(blobstore_writer_length(writers[i]), length);
            good = false;
        }
        good = good && blobstore_batch_publish(b, writers[i]) == 0;
    }
    if (good) {
        char key = (char)first;
        blobstore_batch_put(b, BLOBSTORE_TAGS, &key, 1, "value", 5);
        result.published = blobstore_batch_commit(b) == 0;
    } else {
        blobstore_batch_abort(b);
    }
    for (unsigned i = 0; i < 2; i++)
        blobstore_writer_close(writers[i], BLOBSTORE_DISCARD);
    struct digest digest = helper_digest(first - 2);
    result.removed = blobstore_remove(store, &digest) == 0;
    return result;
}

static void check(struct blobstore *store, unsigned first, struct result result, bool at_once)
{
    for (unsigned i = 0; i < 2; i++) {
        bool has = helper_has(store, first + i); /* wrong bytes would fail here */
        if (result.published)
            ck_assert(has);
        else if (at_once)
            ck_assert(!has);
    }
    if (result.removed && at_once)
        ck_assert(!helper_has(store, first - 2));
    char key = (char)first;
    AUTO_BUF struct buf value = BUF_INIT(16);
    int r = blobstore_record_get(store, BLOBSTORE_TAGS, &key, 1, &value);
    ck_assert(r == 0 || (r == -ENOENT && !result.published));
}

static const struct {
    int error;
    bool for_ever;
} kinds[] = {{EIO, false}, {ENOSPC, false}, {ENOSPC, true}, {EINVAL, false}, {EDQUOT, true}};

START_TEST(whichever_call_fails_what_was_acknowledged_is_right_and_the_store_goes_on)
{
    struct blobstore *store = helper_open(NULL);
    unsigned first = 10, failed = 0;
    struct blobstore_report report;
    (void)helper_store(store, first - 2);
    for (unsigned i = 0;; i++, first += 2) {
        ck_assert_uint_lt(i, 200);
        arm(i, kinds[_i].error, kinds[_i].for_ever);
        struct result result = scenario(store, first);
        bool fired = disarm();
        failed += !result.published;
        bool unusable = index_has_failed(store->index);
        if (!unusable) {
            check(store, first, result, true);
            (void)helper_store(store, first); /* it goes on */
        }
        blobstore_close(store);
        store = helper_open(&report);
        ck_assert(!report.rebuilt);
        ck_assert(report.clean != unusable);
        ck_assert_uint_eq(report.dropped, 0);
        check(store, first, result, false);
        (void)helper_store(store, first);
        ck_assert(helper_has(store, first));
        if (!fired) {
            ck_assert(result.published && result.removed);
            break;
        }
    }
    ck_assert_uint_gt(failed, 5);
    blobstore_close(store);
}
END_TEST

START_TEST(whichever_call_fails_while_opening_the_next_start_is_right)
{
    struct blobstore *store = helper_open(NULL);
    for (unsigned n = 0; n < 4; n++)
        (void)helper_store(store, n);
    blobstore_close(store);
    struct blobstore_options options = {.root = helper_root()};
    struct blobstore_report report;
    unsigned failed = 0;
    for (unsigned i = 0;; i++) {
        ck_assert_uint_lt(i, 200);
        /* So that there is something to be done at the start: a file without a record, and one that is wrong. */
        struct digest lost = helper_digest(0), wrong = helper_digest(1);
        store = helper_open(NULL);
        (void)helper_store(store, 1);
        struct index_txn t;
        ck_ok(index_begin_write(store->index, &t));
        catalog_delete(&t, &lost);
        ck_ok(index_commit(&t));
        atomic_store(&store->untidy, true);
        blobstore_close(store);
        helper_write_file(helper_path("new"), "wrong", 5);
        ck_ok(rename(helper_path("new"), helper_blob_path(&wrong)));

        arm(i, kinds[_i].error, kinds[_i].for_ever);
        int r = blobstore_open(&options, &store, &report);
        bool fired = disarm();
        if (r == 0)
            blobstore_close(store);
        failed += r < 0;
        store = helper_open(&report);
        ck_assert(!report.rebuilt);
        ck_assert(helper_has(store, 0));
        ck_assert(!helper_has(store, 1));
        ck_assert(helper_has(store, 2));
        ck_assert(helper_has(store, 3));
        ck_assert_uint_eq(report.blobs, 3);
        blobstore_close(store);
        if (!fired)
            break;
    }
    ck_assert_uint_gt(failed, 2);
}
END_TEST

START_TEST(whichever_call_fails_while_the_store_is_made_the_next_start_makes_it)
{
    for (unsigned i = 0;; i++) {
        ck_assert_uint_lt(i, 100);
        struct blobstore_options options = {.root = helper_path("%u", i)};
        struct blobstore_report report;
        struct blobstore *store;
        arm(i, kinds[_i].error, kinds[_i].for_ever);
        int r = blobstore_open(&options, &store, &report);
        bool fired = disarm();
        ck_assert(fired || r == 0);
        if (r == 0)
            blobstore_close(store);
        ck_ok(blobstore_open(&options, &store, &report));
        ck_assert(report.clean);
        ck_assert(!report.rebuilt);
        blobstore_close(store);
        if (!fired)
            break;
    }
}
END_TEST

START_TEST(whichever_call_fails_while_packing_the_blob_is_there_and_packed_when_it_is_tried_again)
{
    const size_t len = 150000;
    AUTO_FREE char *data = helper_text(len, 1);
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_store_bytes(store, data, len);
    unsigned failed = 0;
    for (unsigned i = 0;; i++) {
        uint64_t saved;
        struct blobstore_report report;
        struct blobstore_totals totals;
        ck_assert_uint_lt(i, 100);
        arm(i, kinds[_i].error, kinds[_i].for_ever);
        int r = helper_pack(store, &digest, &saved);
        bool fired = disarm();
        ck_assert(fired || r == 0);
        failed += r < 0;
        if (!index_has_failed(store->index)) {
            helper_check_content(store, &digest, data, len, 4096);
            r = helper_pack(store, &digest, &saved);
            ck_assert(r == 0 || r == -EALREADY);
            ck_assert(helper_exists(helper_packed_path(&digest)));
        }
        blobstore_close(store);
        store = helper_open(&report);
        ck_assert_uint_eq(report.dropped, 0);
        helper_check_content(store, &digest, data, len, 4096);
        ck_assert_uint_eq(helper_count(helper_path("partial")), 0);
        ck_assert(helper_exists(helper_packed_path(&digest)) != helper_exists(helper_blob_path(&digest)));
        ck_assert_uint_eq(helper_count(helper_path("quarantine")), 0);
        ck_ok(blobstore_totals(store, &totals));
        ck_assert_uint_eq(totals.content, len);
        if (!fired)
            break;
        ck_ok(blobstore_remove(store, &digest));
        (void)helper_store_bytes(store, data, len);
    }
    ck_assert_uint_gt(failed, 5);
    blobstore_close(store);
}
END_TEST

/* ------------------------------------------------------------------ single calls */

START_TEST(the_order_of_a_packing_is_file_durable_name_directory_index_and_the_plain_name_away)
{
    AUTO_FREE char *data = helper_text(150000, 1);
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_store_bytes(store, data, 150000);
    uint64_t saved;
    arm(1000, EIO, false);
    ck_ok(helper_pack(store, &digest, &saved));
    const char *order = strstr(faults.order, "fdatasync fchmod renameat fsync "), *end;
    ck_assert_ptr_nonnull(order);
    end = strstr(order, "unlinkat ");
    ck_assert_ptr_nonnull(end);
    ck_assert_str_eq(end, "unlinkat unlinkat "); /* the plain one; and what was in the making, which is not there */
    ck_assert_ptr_nonnull(strstr(order + strlen("fdatasync"), "fdatasync")); /* of the index, before */
    ck_assert(strstr(order + strlen("fdatasync"), "fdatasync") < end);
    (void)disarm();
    blobstore_close(store);
}
END_TEST

START_TEST(the_order_is_file_durable_name_in_place_directory_durable_index)
{
    struct blobstore *store = helper_open(NULL);
    (void)helper_store(store, 0); /* the directories are there */
    struct digest digest = helper_digest(0);
    ck_ok(blobstore_remove(store, &digest));
    struct blobstore_writer *w = helper_writer(store, 0);
    struct blobstore_batch *b;
    ck_ok(blobstore_batch_begin(store, &b));
    arm(1000, EIO, false);
    ck_ok(blobstore_batch_publish(b, w));
    ck_assert_str_eq(faults.order, "fdatasync fchmod renameat2 ");
    ck_ok(blobstore_batch_commit(b));
    ck_assert_ptr_eq(strstr(faults.order, "fdatasync fchmod renameat2 fsync "), faults.order);
    (void)disarm();
    blobstore_writer_close(w, BLOBSTORE_KEEP);

    arm(1000, EIO, false);
    ck_ok(blobstore_remove(store, &digest));
    const char *unlinked = strstr(faults.order, "unlinkat");
    ck_assert_ptr_nonnull(unlinked);
    ck_assert_str_eq(unlinked, "unlinkat unlinkat "); /* in both forms */
    ck_assert_ptr_nonnull(strstr(faults.order, "fdatasync"));
    (void)disarm();
    blobstore_close(store);
}
END_TEST

START_TEST(a_failed_meta_page_makes_the_index_unusable_and_nothing_crashes)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_report report;
    struct blobstore_info info;
    struct digest digest = helper_store(store, 0);
    struct blobstore_batch *b;
    struct blobstore_content *content;
    ck_ok(blobstore_batch_begin(store, &b));
    blobstore_batch_put(b, BLOBSTORE_TAGS, "tag", 3, "value", 5);
    arm(1000, EIO, false);
    ck_ok(blobstore_batch_commit(b));
    ck_assert_str_eq(faults.order, "writev pwrite fdatasync pwrite "); /* the meta page comes last */
    (void)disarm();

    ck_ok(blobstore_batch_begin(store, &b));
    blobstore_batch_put(b, BLOBSTORE_TAGS, "tag", 3, "other", 5);
    arm_only("pwrite", EIO);
    faults.after = "fdatasync";
    int r = blobstore_batch_commit(b);
    ck_assert(disarm());
    ck_assert_int_eq(r, -EIO);

    ck_assert_int_eq(blobstore_batch_begin(store, &b), -EIO);
    ck_assert_int_eq(blobstore_get(store, &digest, &info, &content), -EIO);
    ck_assert_int_eq(blobstore_remove(store, &digest), -EIO);
    blobstore_touch(store, &digest);
    ck_assert_int_eq(blobstore_flush_touches(store), -EIO);
    blobstore_close(store);

    store = helper_open(&report);
    ck_assert(!report.clean);
    ck_assert(!report.rebuilt);
    ck_assert(helper_has(store, 0));
    AUTO_BUF struct buf value = BUF_INIT(16);
    ck_ok(blobstore_record_get(store, BLOBSTORE_TAGS, "tag", 3, &value));
    ck_assert_str_eq(value.data, "value");
    blobstore_close(store);
}
END_TEST

START_TEST(a_file_that_could_not_be_written_back_is_never_published_nor_kept)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_writer *w = helper_writer(store, 0);
    struct blobstore_batch *b;
    ck_ok(blobstore_batch_begin(store, &b));
    arm_only("fdatasync", EIO);
    ck_assert_int_eq(blobstore_batch_publish(b, w), -EIO);
    ck_assert(disarm());
    ck_assert_int_eq(blobstore_batch_publish(b, w), -EIO); /* the kernel would say 0 now */
    ck_assert_int_eq(blobstore_writer_append(w, "x", 1), -EIO);
    ck_ok(blobstore_batch_commit(b)); /* the blob is left out, the batch is not spoilt */
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    ck_assert_uint_eq(helper_count(helper_path("partial")), 0);
    blobstore_close(store);
}
END_TEST

START_TEST(an_append_that_fails_leaves_the_length_and_can_be_done_again)
{
    struct blobstore *store = helper_open(NULL);
    char bytes[16];
    struct blobstore_writer *w = helper_open_writer(store, 0, 0);
    ck_ok(blobstore_writer_append(w, "abc", 3));
    arm_only("pwrite", EDQUOT);
    ck_assert_int_eq(blobstore_writer_append(w, "defghi", 6), -ENOSPC);
    ck_assert(disarm());
    ck_assert_uint_eq(blobstore_writer_length(w), 3);
    ck_ok(blobstore_writer_append(w, "DEF", 3));
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    w = helper_open_writer(store, 0, 6);
    ck_assert_int_eq(pread(blobstore_writer_fd(w), bytes, sizeof(bytes), 0), 6);
    ck_assert_mem_eq(bytes, "abcDEF", 6);
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    blobstore_close(store);
}
END_TEST

START_TEST(writes_that_are_short_or_interrupted_are_gone_on_with)
{
    struct blobstore *store = helper_open(NULL);
    char bytes[16];
    struct blobstore_writer *w = helper_open_writer(store, 0, 0);
    arm_only("pwrite", EINTR); /* and three bytes a call afterwards */
    ck_ok(blobstore_writer_append(w, "0123456789", 10));
    ck_assert_uint_ge(faults.calls, 5);
    ck_assert(disarm());
    ck_assert_int_eq(pread(blobstore_writer_fd(w), bytes, sizeof(bytes), 0), 10);
    ck_assert_mem_eq(bytes, "0123456789", 10);
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    blobstore_close(store);
}
END_TEST

static const int no_such_rename[] = {EINVAL, ENOSYS};

START_TEST(a_file_system_without_a_rename_that_does_not_replace_will_do)
{
    struct blobstore *store = helper_open(NULL);
    arm(0, no_such_rename[_i], true);
    faults.only = "renameat2";
    (void)helper_store(store, 0);
    ck_assert_ptr_nonnull(strstr(faults.order, "linkat unlinkat"));
    (void)helper_store(store, 0); /* and is told from one that does */
    ck_assert(disarm());
    ck_assert(helper_has(store, 0));
    ck_assert_uint_eq(helper_count(helper_path("partial")), 0);
    blobstore_close(store);
}
END_TEST

START_TEST(a_file_system_that_cannot_reserve_is_as_good)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_writer *w = helper_writer(store, 0);
    arm_only("fallocate", EOPNOTSUPP);
    ck_ok(blobstore_writer_reserve(w, 1 << 20));
    ck_assert(disarm());
    arm_only("fallocate", ENOSPC);
    ck_assert_int_eq(blobstore_writer_reserve(w, 1 << 20), -ENOSPC);
    ck_assert(disarm());
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    blobstore_close(store);
}
END_TEST

START_TEST(a_blob_that_cannot_be_unlinked_is_gone_all_the_same_and_found_by_the_next_start)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_report report;
    struct digest digest = helper_store(store, 0);
    arm_only("unlinkat", EIO);
    ck_ok(blobstore_remove(store, &digest));
    ck_assert(disarm());
    ck_assert(!helper_has(store, 0));
    blobstore_close(store);
    store = helper_open(&report);
    ck_assert(report.clean);
    ck_assert_uint_eq(report.adopted, 1);
    blobstore_close(store);
}
END_TEST

static const int inode_faults[] = {EIO, EUCLEAN};

START_TEST(a_file_that_the_disk_cannot_open_any_more_is_damaged_and_can_be_stored_again)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_info info;
    struct blobstore_content *content;
    struct digest digest = helper_store(store, 0), lost;
    arm(0, inode_faults[_i], true);
    faults.only = "openat";
    ck_assert_int_eq(blobstore_get(store, &digest, &info, &content), -EBADMSG);
    ck_assert(disarm());
    ck_assert_int_eq(blobstore_stat(store, &digest, &info), -ENOENT);
    ck_ok(blobstore_next_lost(store, &lost));
    ck_assert(digest_equal(&lost, &digest));
    (void)helper_store(store, 0);
    ck_assert(helper_has(store, 0));
    blobstore_close(store);
}
END_TEST

static const int denials[] = {EACCES, EPERM};

/* Whichever file it is that may not be opened: at some point it is the blob's, since a rebuild reads all of them. */
START_TEST(a_blob_that_may_not_be_read_ends_the_start_and_stays_where_it_is)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_store(store, 0);
    blobstore_close(store);
    AUTO_FREE char *path = strdup(helper_blob_path(&digest));
    ck_assert_ptr_nonnull(path);
    const char *name = strstr(path, "blobs/");
    unsigned named = 0;
    bool fired = true;
    for (unsigned i = 0; fired; i++) {
        AUTO_BUF struct buf errors = BUF_INIT(4096);
        const struct blobstore_options options = {.root = helper_root(), .rebuild = true, .errors = &errors};
        struct blobstore_report report;
        ck_assert_uint_lt(i, 2000);
        arm(i, denials[_i], false);
        faults.only = "openat";
        int r = blobstore_open(&options, &store, &report);
        fired = disarm();
        if (r == 0)
            blobstore_close(store);
        else
            ck_assert_int_eq(r, -denials[_i]);
        if (errors.len > 0) {
            ck_assert_int_ne(r, 0);
            ck_assert_msg(strncmp(errors.data, name, strlen(name)) == 0, "%s", errors.data);
            ck_assert_ptr_nonnull(strstr(errors.data, "chown -R"));
            named++;
        }
        ck_assert(helper_exists(path));
        ck_assert_uint_eq(helper_count(helper_path("quarantine")), 0);
    }
    ck_assert_uint_eq(named, 1);
    store = helper_open(NULL);
    ck_assert(helper_has(store, 0));
    blobstore_close(store);
}
END_TEST

START_TEST(what_a_failed_commit_had_published_takes_no_room)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_report report;
    struct blobstore_totals totals;
    struct blobstore_batch *b;
    struct digest digest = helper_digest(0);
    struct blobstore_writer *w = helper_writer(store, 0);
    ck_ok(blobstore_batch_begin(store, &b));
    ck_ok(blobstore_batch_publish(b, w));
    arm_only("fdatasync", ENOSPC); /* the index's: the blob is durable */
    ck_assert_int_eq(blobstore_batch_commit(b), -ENOSPC);
    ck_assert(disarm());
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    ck_assert(!helper_exists(helper_blob_path(&digest)));
    ck_assert_uint_eq(helper_count(helper_path("partial")), 0);
    ck_ok(blobstore_totals(store, &totals));
    ck_assert_uint_eq(totals.blobs, 0);
    (void)helper_store(store, 0);
    blobstore_close(store);
    store = helper_open(&report);
    ck_assert(report.clean);
    ck_assert_uint_eq(report.adopted, 0);
    ck_assert(helper_has(store, 0));
    blobstore_close(store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("faults");
    TCase *tc = tcase_create("faults");
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, helper_setup, helper_cleanup);
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, whichever_call_fails_what_was_acknowledged_is_right_and_the_store_goes_on, 0,
                        ARRAY_SIZE(kinds));
    tcase_add_loop_test(tc, whichever_call_fails_while_packing_the_blob_is_there_and_packed_when_it_is_tried_again, 0,
                        ARRAY_SIZE(kinds));
    tcase_add_test(tc, the_order_of_a_packing_is_file_durable_name_directory_index_and_the_plain_name_away);
    tcase_add_loop_test(tc, whichever_call_fails_while_opening_the_next_start_is_right, 0, ARRAY_SIZE(kinds));
    tcase_add_loop_test(tc, whichever_call_fails_while_the_store_is_made_the_next_start_makes_it, 0, ARRAY_SIZE(kinds));
    tcase_add_test(tc, the_order_is_file_durable_name_in_place_directory_durable_index);
    tcase_add_test(tc, a_failed_meta_page_makes_the_index_unusable_and_nothing_crashes);
    tcase_add_test(tc, a_file_that_could_not_be_written_back_is_never_published_nor_kept);
    tcase_add_test(tc, an_append_that_fails_leaves_the_length_and_can_be_done_again);
    tcase_add_test(tc, writes_that_are_short_or_interrupted_are_gone_on_with);
    tcase_add_loop_test(tc, a_file_system_without_a_rename_that_does_not_replace_will_do, 0,
                        ARRAY_SIZE(no_such_rename));
    tcase_add_test(tc, a_file_system_that_cannot_reserve_is_as_good);
    tcase_add_test(tc, a_blob_that_cannot_be_unlinked_is_gone_all_the_same_and_found_by_the_next_start);
    tcase_add_loop_test(tc, a_file_that_the_disk_cannot_open_any_more_is_damaged_and_can_be_stored_again, 0,
                        ARRAY_SIZE(inode_faults));
    tcase_add_loop_test(tc, a_blob_that_may_not_be_read_ends_the_start_and_stays_where_it_is, 0, ARRAY_SIZE(denials));
    tcase_add_test(tc, what_a_failed_commit_had_published_takes_no_room);
    return helper_run(suite);
}
