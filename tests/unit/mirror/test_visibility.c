/* Which repositories everybody may see: for how long an answer counts, and what a start still knows. */
#include "mirror/visibility.h"

#include "world.h"

#include "base/clock.h"

#include <string.h>

#define HUB "docker.io"
#define REPOSITORY "acme/secret"

static void note(const char *repository, enum visibility what)
{
    visibility_note(world.mirror->visibilities, HUB, repository, what);
}

static void expect(const char *repository, enum visibility what, bool fresh)
{
    bool is_fresh = !fresh;
    ck_assert_int_eq(visibility_get(world.mirror->visibilities, HUB, repository, &is_fresh), what);
    ck_assert(is_fresh == fresh);
}

static void restart(void)
{
    world_stop();
    world_start();
}

/* As docs/store-format.md has it. */
static void put_record(const void *value, size_t len)
{
    static const char key[] = HUB "\0" REPOSITORY; /* and the NUL at the end */
    struct blobstore_batch *batch;
    world_settle();
    ck_ok(blobstore_batch_begin(world.store, &batch));
    blobstore_batch_put(batch, BLOBSTORE_REPOSITORIES, key, sizeof(key), value, len);
    ck_ok(blobstore_batch_commit(batch));
}

static const enum visibility answers[] = {VISIBILITY_PUBLIC, VISIBILITY_PRIVATE};

START_TEST(what_was_never_asked_is_unknown)
{
    expect(REPOSITORY, VISIBILITY_UNKNOWN, false);
    note("acme/secret2", VISIBILITY_PUBLIC);
    note("acme/secre", VISIBILITY_PUBLIC);
    expect(REPOSITORY, VISIBILITY_UNKNOWN, false);
    restart();
    expect(REPOSITORY, VISIBILITY_UNKNOWN, false);
}
END_TEST

START_TEST(an_answer_counts_for_an_hour_and_is_remembered_afterwards)
{
    note(REPOSITORY, answers[_i]);
    expect(REPOSITORY, answers[_i], true);
    world_advance(VISIBILITY_TTL_MS - 1);
    expect(REPOSITORY, answers[_i], true);
    world_advance(1);
    expect(REPOSITORY, answers[_i], false);
    note(REPOSITORY, answers[_i]);
    expect(REPOSITORY, answers[_i], true);
}
END_TEST

START_TEST(a_clock_that_is_set_back_makes_an_answer_old)
{
    note(REPOSITORY, answers[_i]);
    world_advance(-1);
    expect(REPOSITORY, answers[_i], false);
    world_advance(1);
    expect(REPOSITORY, answers[_i], true);
}
END_TEST

START_TEST(an_answer_survives_a_restart_with_its_age)
{
    note(REPOSITORY, answers[_i]);
    restart();
    expect(REPOSITORY, answers[_i], true);
    world_advance(VISIBILITY_TTL_MS);
    restart();
    expect(REPOSITORY, answers[_i], false);
}
END_TEST

START_TEST(the_last_answer_is_the_one_that_counts)
{
    note(REPOSITORY, VISIBILITY_PUBLIC);
    note(REPOSITORY, VISIBILITY_PRIVATE);
    expect(REPOSITORY, VISIBILITY_PRIVATE, true);
    restart();
    expect(REPOSITORY, VISIBILITY_PRIVATE, true);
    note(REPOSITORY, VISIBILITY_PUBLIC);
    restart();
    expect(REPOSITORY, VISIBILITY_PUBLIC, true);
}
END_TEST

START_TEST(more_than_there_are_places_for_are_found_in_the_index)
{
    char repository[32];
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(repository, sizeof(repository), "acme/%u", i);
        note(repository, answers[i % 2]);
    }
    world_settle();
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(repository, sizeof(repository), "acme/%u", i);
        expect(repository, answers[i % 2], true);
    }
}
END_TEST

START_TEST(the_record_is_as_documented)
{
    AUTO_BUF struct buf value = BUF_INIT(64);
    static const uint8_t wanted[] = {1, 2, 0x00, 0x00, 0x01, 0x97, 0x74, 0x20, 0xdc, 0x00};
    note(REPOSITORY, VISIBILITY_PRIVATE);
    world_settle();
    ck_ok(blobstore_record_get(world.store, BLOBSTORE_REPOSITORIES, HUB "\0" REPOSITORY, sizeof(HUB "\0" REPOSITORY),
                               &value));
    ck_assert_uint_eq(value.len, sizeof(wanted));
    ck_assert_mem_eq(value.data, wanted, sizeof(wanted));
}
END_TEST

static const struct {
    uint8_t bytes[16];
    size_t len;
} damaged[] = {
    {{0}, 0},                                     /* nothing */
    {{1, 1, 0, 0, 1, 0x97, 0x74, 0x20, 0xdc}, 9}, /* cut short */
    {{1, 1, 0, 0, 1, 0x97, 0x74, 0x20, 0xdc, 0, 0}, 11},
    {{2, 1, 0, 0, 1, 0x97, 0x74, 0x20, 0xdc, 0}, 10}, /* another version */
    {{1, 0, 0, 0, 1, 0x97, 0x74, 0x20, 0xdc, 0}, 10}, /* no answer */
    {{1, 3, 0, 0, 1, 0x97, 0x74, 0x20, 0xdc, 0}, 10},
    {{1, 1, 0x80, 0, 0, 0, 0, 0, 0, 0}, 10}, /* before all time */
};

START_TEST(a_record_that_cannot_be_read_is_none)
{
    put_record(damaged[_i].bytes, damaged[_i].len);
    expect(REPOSITORY, VISIBILITY_UNKNOWN, false);
}
END_TEST

START_TEST(a_record_from_the_future_is_remembered_and_asked_again)
{
    static const uint8_t future[] = {1, 1, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    put_record(future, sizeof(future));
    expect(REPOSITORY, VISIBILITY_PUBLIC, false);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("visibility");
    TCase *tests = tcase_create("visibility");
    tcase_add_checked_fixture(tests, world_setup, world_cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, what_was_never_asked_is_unknown);
    tcase_add_loop_test(tests, an_answer_counts_for_an_hour_and_is_remembered_afterwards, 0, ARRAY_SIZE(answers));
    tcase_add_loop_test(tests, a_clock_that_is_set_back_makes_an_answer_old, 0, ARRAY_SIZE(answers));
    tcase_add_loop_test(tests, an_answer_survives_a_restart_with_its_age, 0, ARRAY_SIZE(answers));
    tcase_add_test(tests, the_last_answer_is_the_one_that_counts);
    tcase_add_test(tests, more_than_there_are_places_for_are_found_in_the_index);
    tcase_add_test(tests, the_record_is_as_documented);
    tcase_add_loop_test(tests, a_record_that_cannot_be_read_is_none, 0, ARRAY_SIZE(damaged));
    tcase_add_test(tests, a_record_from_the_future_is_remembered_and_asked_again);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
