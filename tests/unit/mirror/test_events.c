/* The clock is the test's own: this file defines the functions of base/clock.h. */
#include "mirror/events.h"

#include "scratch.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

static int64_t now = 5000000;

int64_t clock_monotonic_ms(void)
{
    return now;
}

int64_t clock_real_ms(void)
{
    return 1750000000000 + now;
}

static struct blobstore *store;
static struct events *events;
static struct event listed[EVENTS_MAX];

static void setup(void)
{
    scratch_setup();
    store = scratch_store();
    ck_ok(events_create(store, &events));
}

static void cleanup(void)
{
    events_destroy(events);
    blobstore_close(store);
    scratch_cleanup();
}

static void note(const char *repository, const char *reference, const char *message, const char *client)
{
    struct event e = {.kind = EVENT_FAILED, .object = MIRROR_MANIFEST, .status = 503};
    (void)snprintf(e.registry, sizeof(e.registry), "docker.io");
    (void)snprintf(e.repository, sizeof(e.repository), "%s", repository);
    (void)snprintf(e.reference, sizeof(e.reference), "%s", reference);
    (void)snprintf(e.message, sizeof(e.message), "%s", message);
    events_note(events, &e, client);
}

static size_t list(const char *repository)
{
    return events_list(events, repository ? "docker.io" : NULL, repository, listed, EVENTS_MAX);
}

static void write_down(void)
{
    struct blobstore_batch *batch;
    ck_ok(blobstore_batch_begin(store, &batch));
    events_checkpoint(events, batch);
    ck_ok(blobstore_batch_commit(batch));
}

START_TEST(the_same_trouble_is_one_event_with_those_whom_it_met)
{
    note("library/alpine", "3", "away", "10.0.0.1");
    now += 1000;
    note("library/alpine", "3", "away", "10.0.0.2");
    note("library/alpine", "3", "away", "10.0.0.2");
    note("library/alpine", "4", "away", "10.0.0.2");
    ck_assert_uint_eq(list("library/alpine"), 2);
    const struct event *e = strcmp(listed[0].reference, "3") == 0 ? &listed[0] : &listed[1];
    ck_assert_uint_eq(e->count, 3);
    ck_assert_uint_eq(e->client_count, 2);
    ck_assert_str_eq(e->clients[1], "10.0.0.2");
    ck_assert_int_eq(e->last_at - e->first_at, 1000);
    ck_assert_uint_eq(list("library/other"), 0);
}
END_TEST

START_TEST(after_an_hour_of_rest_it_is_another_event)
{
    note("a", "1", "away", "");
    now += 60 * CLOCK_MINUTE;
    note("a", "1", "away", "");
    ck_assert_uint_eq(list("a"), 2);
    ck_assert_int_gt(listed[0].first_at, listed[1].first_at);
}
END_TEST

START_TEST(there_are_so_many_and_the_oldest_goes)
{
    for (unsigned i = 0; i <= EVENTS_MAX; i++) {
        char tag[16];
        (void)snprintf(tag, sizeof(tag), "%u", i);
        now++;
        note("a", tag, "away", "");
    }
    ck_assert_uint_eq(list(NULL), EVENTS_MAX);
    ck_assert_str_eq(listed[0].reference, "256");
    ck_assert_str_eq(listed[EVENTS_MAX - 1].reference, "1");
}
END_TEST

START_TEST(so_many_clients_are_named)
{
    for (unsigned i = 0; i < EVENT_CLIENTS + 5; i++) {
        char client[16];
        (void)snprintf(client, sizeof(client), "10.0.0.%u", i);
        note("a", "1", "away", client);
    }
    ck_assert_uint_eq(list("a"), 1);
    ck_assert_uint_eq(listed[0].client_count, EVENT_CLIENTS);
    ck_assert_uint_eq(listed[0].count, EVENT_CLIENTS + 5);
}
END_TEST

START_TEST(they_are_there_after_a_restart_and_go_on)
{
    note("a", "1", "away", "10.0.0.1");
    note("b", "2", "limit reached", "fd00::1");
    write_down();
    struct event before[2];
    ck_assert_uint_eq(list(NULL), 2);
    memcpy(before, listed, sizeof(before));
    events_destroy(events);
    ck_ok(events_create(store, &events));
    ck_assert_uint_eq(list(NULL), 2);
    for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
        ck_assert_str_eq(listed[i].repository, before[i].repository);
        ck_assert_str_eq(listed[i].reference, before[i].reference);
        ck_assert_str_eq(listed[i].message, before[i].message);
        ck_assert_int_eq(listed[i].first_at, before[i].first_at);
        ck_assert_int_eq(listed[i].last_at, before[i].last_at);
        ck_assert_uint_eq(listed[i].count, before[i].count);
        ck_assert_str_eq(listed[i].clients[0], before[i].clients[0]);
    }
    note("a", "1", "away", "10.0.0.1");
    ck_assert_uint_eq(list("a"), 1);
    ck_assert_uint_eq(listed[0].count, 2);
    ck_assert_uint_eq(listed[0].client_count, 1);
}
END_TEST

static void put(const char *key, size_t key_len, const char *value, size_t value_len)
{
    struct blobstore_batch *batch;
    ck_ok(blobstore_batch_begin(store, &batch));
    blobstore_batch_put(batch, BLOBSTORE_JOBS, key, key_len, value, value_len);
    ck_ok(blobstore_batch_commit(batch));
}

START_TEST(records_that_cannot_be_read_are_none)
{
    static const char whole[] = "\1\1\0\1\367\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1a\0b\0c\0d\0";
    for (size_t len = 0; len < sizeof(whole) - 1; len++) {
        put("event/\0\3", 8, whole, len);
        events_destroy(events);
        ck_ok(events_create(store, &events));
        ck_assert_uint_eq(list(NULL), 0);
    }
    put("event/\0\3", 8, whole, sizeof(whole) - 1);
    put("event/\377\3", 8, whole, sizeof(whole) - 1);
    put("event/\3", 7, whole, sizeof(whole) - 1);
    events_destroy(events);
    ck_ok(events_create(store, &events));
    ck_assert_uint_eq(list(NULL), 1);
    ck_assert_str_eq(listed[0].message, "d");
    ck_assert_int_eq(listed[0].status, 503);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("events");
    tcase_add_checked_fixture(t, setup, cleanup);
    tcase_add_test(t, the_same_trouble_is_one_event_with_those_whom_it_met);
    tcase_add_test(t, after_an_hour_of_rest_it_is_another_event);
    tcase_add_test(t, there_are_so_many_and_the_oldest_goes);
    tcase_add_test(t, so_many_clients_are_named);
    tcase_add_test(t, they_are_there_after_a_restart_and_go_on);
    tcase_add_test(t, records_that_cannot_be_read_are_none);
    Suite *s = suite_create("events");
    suite_add_tcase(s, t);
    return suite_run(s);
}
