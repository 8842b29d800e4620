/*
 * Sealing, where the file system can and where it cannot: this program has an ioctl() of its own in the place of the C
 * library's, since few kernels have fs-verity.
 */
#include "helper.h"

#include <errno.h>
#include <linux/fsverity.h>
#include <stdarg.h>
#include <sys/stat.h>

static struct {
    int error;          /* what it fails with, or 0 */
    bool changes_times; /* as no file system is known to do */
    unsigned calls;
    struct fsverity_enable_arg arg;
} verity;

__attribute__((visibility("default"))) int ioctl(int fd, unsigned long request, ...);
__attribute__((visibility("default"))) int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    va_start(ap, request);
    const struct fsverity_enable_arg *arg = va_arg(ap, void *);
    va_end(ap);
    ck_assert_uint_eq(request, FS_IOC_ENABLE_VERITY);
    verity.calls++;
    verity.arg = *arg;
    if (verity.error) {
        errno = verity.error;
        return -1;
    }
    if (verity.changes_times)
        ck_ok(fchmod(fd, 0400));
    return 0;
}

static struct blobstore *store;

static void setup(void)
{
    helper_setup();
    store = helper_open(NULL);
}

static void teardown(void)
{
    blobstore_close(store);
    helper_cleanup();
}

START_TEST(a_sealed_blob_is_the_blob_that_it_was)
{
    struct digest digest = helper_store(store, 1);
    verity.changes_times = _i;
    ck_ok(blobstore_seal(store, &digest));
    ck_assert_uint_eq(verity.calls, 1);
    ck_assert_uint_eq(verity.arg.version, 1);
    ck_assert_uint_eq(verity.arg.hash_algorithm, FS_VERITY_HASH_ALG_SHA256);
    ck_assert_uint_eq(verity.arg.block_size, 4096);
    ck_assert_uint_eq(verity.arg.salt_size + verity.arg.sig_size, 0);
    ck_assert(helper_has(store, 1)); /* its record fits it, whatever has become of its times */
    blobstore_close(store);
    store = helper_open(NULL);
    ck_assert(helper_has(store, 1));
    ck_ok(blobstore_remove(store, &digest));
    ck_assert(!helper_has(store, 1));
}
END_TEST

static const struct {
    int error, result;
} refusals[] = {
    {EEXIST, 0}, /* it is sealed */
    {EOPNOTSUPP, -EOPNOTSUPP},
    {ENOTTY, -EOPNOTSUPP},
    {EINVAL, -EOPNOTSUPP},
    {ETXTBSY, -EBUSY},
    {EIO, -EIO},
    {ENOSPC, -ENOSPC},
    {EROFS, -EROFS},
};

START_TEST(what_cannot_be_sealed_stays_as_it_is)
{
    struct digest digest = helper_store(store, 1);
    verity.error = refusals[_i].error;
    ck_assert_int_eq(blobstore_seal(store, &digest), refusals[_i].result);
    ck_assert(helper_has(store, 1));
}
END_TEST

START_TEST(what_is_not_stored_or_has_another_file_is_not_sealed)
{
    struct digest digest = helper_digest(1);
    ck_assert_int_eq(blobstore_seal(store, &digest), -ENOENT);
    (void)helper_store(store, 1);
    helper_write_file(helper_blob_path(&digest), "other", 5);
    ck_assert_int_eq(blobstore_seal(store, &digest), -EBADMSG);
    ck_assert_uint_eq(verity.calls, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("seal");
    TCase *tests = tcase_create("seal");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, a_sealed_blob_is_the_blob_that_it_was, 0, 2);
    tcase_add_loop_test(tests, what_cannot_be_sealed_stays_as_it_is, 0, (int)ARRAY_SIZE(refusals));
    tcase_add_test(tests, what_is_not_stored_or_has_another_file_is_not_sealed);
    suite_add_tcase(suite, tests);
    return helper_run(suite);
}
