#include "server/watch.h"

#include "folder.h"
#include "suite.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Far beyond the end of a test: what is seen by then was told, not found by the clock. */
#define NEVER_MS 3600000

static char file[256];
static const char *const files[] = {file};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char text[64]; /* of the file, when it was looked at last */
    unsigned looks;
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void look(void *arg)
{
    (void)arg;
    (void)pthread_mutex_lock(&seen.lock);
    AUTO_FCLOSE FILE *f = fopen(file, "r");
    if (!f || !fgets(seen.text, sizeof(seen.text), f))
        seen.text[0] = '\0';
    seen.looks++;
    (void)pthread_cond_broadcast(&seen.changed);
    (void)pthread_mutex_unlock(&seen.lock);
}

/* Fails the test when it takes a minute. */
static void await(const char *text)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    (void)pthread_mutex_lock(&seen.lock);
    while (seen.looks == 0 || strcmp(seen.text, text) != 0)
        ck_assert_msg(pthread_cond_timedwait(&seen.changed, &seen.lock, &until) == 0, "%s is not seen", text);
    (void)pthread_mutex_unlock(&seen.lock);
}

static struct watch *watch;

static void setup(void)
{
    folder_create();
    (void)snprintf(file, sizeof(file), "%s", folder_path("file"));
}

static void start(int64_t every_ms)
{
    ck_assert_int_eq(watch_create(files, 1, every_ms, look, NULL, &watch), 0);
}

static void teardown(void)
{
    watch_destroy(watch);
    folder_remove();
}

START_TEST(a_file_that_is_written_anew_is_seen)
{
    folder_put("file", "one");
    start(NEVER_MS);
    await("one");
    folder_put("file", "two");
    await("two");
}
END_TEST

START_TEST(a_file_that_takes_the_place_of_another_is_seen)
{
    folder_put("file", "one");
    start(NEVER_MS);
    await("one");
    folder_put("new", "two");
    folder_rename("new", "file");
    await("two");
    ck_assert_int_eq(unlink(file), 0);
    await("");
    folder_put("file", "three");
    await("three");
}
END_TEST

START_TEST(a_swap_of_links_as_kubernetes_makes_it_is_seen)
{
    folder_make("..1");
    folder_put("..1/file", "turn 1");
    folder_link("..1", "..data");
    folder_link("..data/file", "file");
    start(NEVER_MS);
    await("turn 1");
    for (int i = 2; i < 5; i++) {
        char text[32], folder[16], name[32];
        (void)snprintf(text, sizeof(text), "turn %d", i);
        (void)snprintf(folder, sizeof(folder), "..%d", i);
        (void)snprintf(name, sizeof(name), "..%d/file", i);
        folder_make(folder);
        folder_put(name, text);
        folder_link(folder, "..tmp");
        folder_rename("..tmp", "..data");
        await(text);
    }
}
END_TEST

START_TEST(the_target_of_a_link_to_elsewhere_is_watched_too)
{
    folder_make("elsewhere");
    folder_put("elsewhere/target", "one");
    folder_link("elsewhere/target", "file");
    start(NEVER_MS);
    await("one");
    folder_put("elsewhere/target", "two");
    await("two");
}
END_TEST

START_TEST(what_nobody_tells_is_found_by_the_clock)
{
    /* Its directory is not there at the beginning, so that there is nothing to watch. */
    (void)snprintf(file, sizeof(file), "%s", folder_path("later/file"));
    start(10);
    await("");
    folder_make("later");
    folder_put("later/file", "one");
    await("one");
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("watch");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 90);
    tcase_add_test(t, a_file_that_is_written_anew_is_seen);
    tcase_add_test(t, a_file_that_takes_the_place_of_another_is_seen);
    tcase_add_test(t, a_swap_of_links_as_kubernetes_makes_it_is_seen);
    tcase_add_test(t, the_target_of_a_link_to_elsewhere_is_watched_too);
    tcase_add_test(t, what_nobody_tells_is_found_by_the_clock);
    Suite *s = suite_create("watch");
    suite_add_tcase(s, t);
    return suite_run(s);
}
