#include "mirror/jobs.h"

#include "scratch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct blobstore *store;

static void setup(void)
{
    scratch_setup();
    store = scratch_store();
}

static void cleanup(void)
{
    blobstore_close(store);
    scratch_cleanup();
}

static void put(const struct job_report *report)
{
    struct blobstore_batch *batch;
    ck_ok(blobstore_batch_begin(store, &batch));
    job_report_put(batch, "another", report);
    ck_ok(blobstore_batch_commit(batch));
}

START_TEST(what_was_never_done_is_absent)
{
    struct job_report got;
    ck_assert_int_eq(job_report_get(store, "another", &got), -ENOENT);
}
END_TEST

START_TEST(a_report_comes_back_as_it_was)
{
    struct job_report report = {
        .began_at = 1, .ended_at = 1750000000000, .blobs = 3, .bytes = 1ULL << 40, .failures = 5, .text = "full"};
    struct job_report got;
    put(&report);
    ck_ok(job_report_get(store, "another", &got));
    ck_assert_int_eq(memcmp(&got, &report, sizeof(got)), 0);
    ck_assert_int_eq(job_report_get(store, JOB_SCRUB, &got), -ENOENT);
    memset(report.text, 'x', sizeof(report.text));
    put(&report);
    ck_ok(job_report_get(store, "another", &got));
    ck_assert_uint_eq(strlen(got.text), JOB_TEXT_MAX - 1);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("jobs");
    tcase_add_checked_fixture(t, setup, cleanup);
    tcase_add_test(t, what_was_never_done_is_absent);
    tcase_add_test(t, a_report_comes_back_as_it_was);
    Suite *s = suite_create("jobs");
    suite_add_tcase(s, t);
    return suite_run(s);
}
