#include "mirror/gate.h"

#include "scratch.h"

#include "base/clock.h"

#include <errno.h>
#include <time.h>

/* --- a connection that can be suspended --------------------------------------------------------------------- */

struct seat {
    struct waiter waiter;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    /* under lock */
    bool suspended;
    unsigned suspends, wakes, wrong; /* wrong: suspended twice, or woken while awake */
    int64_t woken_at;
};

static void suspend(void *arg)
{
    struct seat *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    s->wrong += s->suspended;
    s->suspended = true;
    s->suspends++;
    (void)pthread_mutex_unlock(&s->lock);
}

static void wake(void *arg)
{
    struct seat *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    s->wrong += !s->suspended;
    s->suspended = false;
    s->wakes++;
    s->woken_at = clock_monotonic_ms();
    (void)pthread_cond_signal(&s->woken);
    (void)pthread_mutex_unlock(&s->lock);
}

static void seat_init(struct seat *s)
{
    *s = (struct seat){.waiter.call = {.suspend = suspend, .wake = wake, .arg = s}};
    ck_ok(pthread_mutex_init(&s->lock, NULL));
    ck_ok(pthread_cond_init(&s->woken, NULL));
}

static void seat_sit(struct seat *s)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    int r = 0;
    (void)pthread_mutex_lock(&s->lock);
    while (s->suspended && r == 0)
        r = pthread_cond_timedwait(&s->woken, &s->lock, &until);
    (void)pthread_mutex_unlock(&s->lock);
    ck_assert_msg(r == 0, "nobody woke it");
}

/* Suspended and woken so often, neither of them wrong. */
static void seat_check(struct seat *s, unsigned suspends, unsigned wakes)
{
    (void)pthread_mutex_lock(&s->lock);
    ck_assert_uint_eq(s->suspends, suspends);
    ck_assert_uint_eq(s->wakes, wakes);
    ck_assert_uint_eq(s->wrong, 0);
    (void)pthread_mutex_unlock(&s->lock);
}

/* --- the gates of a test ------------------------------------------------------------------------------------ */

static struct gates gates;
static struct gate gate;
static struct seat seats[8];

static void setup(void)
{
    ck_ok(gates_start(&gates));
    gate_init(&gate, &gates);
    for (size_t i = 0; i < ARRAY_SIZE(seats); i++)
        seat_init(&seats[i]);
}

static void cleanup(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(seats); i++) {
        gate_forget(&seats[i].waiter);
        ck_assert_uint_eq(seats[i].wrong, 0);
    }
    gate_finish(&gate);
    gates_stop(&gates);
}

static bool enter(struct gate *g, struct seat *s, int64_t due)
{
    gate_lock(g);
    bool waits = gate_wait(g, &s->waiter, due);
    gate_unlock(g);
    return waits;
}

static void open_gate(struct gate *g)
{
    gate_lock(g);
    gate_wake(g);
    gate_unlock(g);
}

START_TEST(everybody_who_waits_is_woken_once)
{
    for (size_t i = 0; i < ARRAY_SIZE(seats); i++)
        ck_assert(enter(&gate, &seats[i], INT64_MAX));
    open_gate(&gate);
    for (size_t i = 0; i < ARRAY_SIZE(seats); i++)
        seat_check(&seats[i], 1, 1);
    open_gate(&gate);
    for (size_t i = 0; i < ARRAY_SIZE(seats); i++)
        seat_check(&seats[i], 1, 1);
}
END_TEST

START_TEST(who_was_woken_may_wait_again_here_or_elsewhere)
{
    struct gate other;
    gate_init(&other, &gates);
    for (unsigned i = 1; i <= 3; i++) {
        ck_assert(enter(&gate, &seats[0], INT64_MAX));
        open_gate(&gate);
        ck_assert(enter(&other, &seats[0], INT64_MAX));
        open_gate(&other);
        seat_check(&seats[0], 2 * i, 2 * i);
    }
    gate_forget(&seats[0].waiter);
    gate_finish(&other);
}
END_TEST

START_TEST(a_gate_wakes_only_its_own)
{
    struct gate other;
    gate_init(&other, &gates);
    ck_assert(enter(&gate, &seats[0], INT64_MAX));
    open_gate(&other);
    seat_check(&seats[0], 1, 0);
    gate_finish(&other);
}
END_TEST

START_TEST(who_was_forgotten_is_not_woken_any_more)
{
    /* first, last, and in the middle of the line */
    static const unsigned leaving[] = {0, 7, 3, 4};
    for (size_t i = 0; i < ARRAY_SIZE(seats); i++)
        ck_assert(enter(&gate, &seats[i], INT64_MAX));
    for (size_t i = 0; i < ARRAY_SIZE(leaving); i++)
        gate_forget(&seats[leaving[i]].waiter);
    gate_forget(&seats[0].waiter);
    open_gate(&gate);
    gates_cut(&gates);
    for (unsigned i = 0; i < ARRAY_SIZE(seats); i++)
        seat_check(&seats[i], 1, i != 0 && i != 7 && i != 3 && i != 4);
    gate_forget(&seats[1].waiter); /* woken already: nothing to take out */
    seat_check(&seats[1], 1, 1);
    struct waiter never = {0};
    gate_forget(&never);
}
END_TEST

START_TEST(nobody_is_woken_before_his_time_and_everybody_at_last)
{
    int64_t due = clock_monotonic_ms() + 30;
    ck_assert(enter(&gate, &seats[0], INT64_MAX));
    ck_assert(enter(&gate, &seats[1], due));
    ck_assert(enter(&gate, &seats[2], 0)); /* long past */
    seat_sit(&seats[2]);
    seat_sit(&seats[1]);
    ck_assert_int_ge(seats[1].woken_at, due);
    seat_sit(&seats[0]); /* patience has an end */
    for (unsigned i = 0; i < 3; i++)
        seat_check(&seats[i], 1, 1);
    ck_assert_int_le(seats[2].woken_at, seats[1].woken_at);
    ck_assert_int_lt(seats[1].woken_at, seats[0].woken_at);
}
END_TEST

START_TEST(after_a_cut_everybody_is_awake_and_nobody_waits_again)
{
    struct gate other;
    gate_init(&other, &gates);
    ck_assert(enter(&gate, &seats[0], INT64_MAX));
    ck_assert(enter(&other, &seats[1], INT64_MAX));
    ck_assert(!gates_are_cut(&gates));
    gates_cut(&gates);
    gates_cut(&gates);
    ck_assert(gates_are_cut(&gates));
    seat_check(&seats[0], 1, 1);
    seat_check(&seats[1], 1, 1);
    ck_assert(!enter(&gate, &seats[0], INT64_MAX));
    ck_assert(!enter(&gate, &seats[2], 0));
    seat_check(&seats[0], 1, 1);
    seat_check(&seats[2], 0, 0);
    gate_forget(&seats[1].waiter);
    gate_finish(&other);
}
END_TEST

/* --- threads ------------------------------------------------------------------------------------------------ */

/*
 * A lost wake-up would be made good by the gates' own thread a second later, so that so many rounds would not end
 * within the test's time limit.
 */
#define ROUNDS 2000

static unsigned progress; /* under the gate's lock */

static void *follower(void *arg)
{
    struct seat *s = arg;
    for (unsigned seen = 0; seen < ROUNDS;) {
        gate_lock(&gate);
        bool waits = progress == seen && gate_wait(&gate, &s->waiter, INT64_MAX);
        seen = progress;
        gate_unlock(&gate);
        if (waits)
            seat_sit(s);
    }
    return NULL;
}

static void *leaver(void *arg)
{
    struct seat *s = arg;
    for (unsigned i = 0; i < ROUNDS / 4; i++) {
        struct gate own;
        gate_init(&own, &gates);
        (void)enter(&own, s, clock_monotonic_ms() + i % 3);
        if (i % 2)
            seat_sit(s);
        gate_forget(&s->waiter); /* with the gates' thread about to wake it, or just having done so */
        (void)pthread_mutex_lock(&s->lock);
        s->suspended = false;
        (void)pthread_mutex_unlock(&s->lock);
        gate_finish(&own);
    }
    return NULL;
}

START_TEST(no_wake_up_is_lost_and_none_comes_too_much)
{
    pthread_t threads[ARRAY_SIZE(seats)];
    for (size_t i = 0; i < ARRAY_SIZE(seats); i++)
        ck_ok(pthread_create(&threads[i], NULL, i < 6 ? follower : leaver, &seats[i]));
    for (unsigned i = 0; i < ROUNDS; i++) {
        gate_lock(&gate);
        progress++;
        gate_wake(&gate);
        gate_unlock(&gate);
        if (i % 16 == 0)
            (void)sched_yield();
    }
    for (size_t i = 0; i < ARRAY_SIZE(seats); i++)
        ck_ok(pthread_join(threads[i], NULL));
    for (size_t i = 0; i < 6; i++)
        seat_check(&seats[i], seats[i].suspends, seats[i].suspends);
}
END_TEST

static void *cutter(void *arg)
{
    (void)arg;
    gates_cut(&gates);
    return NULL;
}

START_TEST(a_cut_misses_nobody_who_is_just_sitting_down)
{
    pthread_t thread;
    unsigned entered = 0;
    ck_ok(pthread_create(&thread, NULL, cutter, NULL));
    while (enter(&gate, &seats[0], INT64_MAX)) {
        entered++;
        open_gate(&gate);
    }
    ck_ok(pthread_join(thread, NULL));
    seat_check(&seats[0], entered, entered);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gate");
    TCase *tests = tcase_create("gate");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, everybody_who_waits_is_woken_once);
    tcase_add_test(tests, who_was_woken_may_wait_again_here_or_elsewhere);
    tcase_add_test(tests, a_gate_wakes_only_its_own);
    tcase_add_test(tests, who_was_forgotten_is_not_woken_any_more);
    tcase_add_test(tests, nobody_is_woken_before_his_time_and_everybody_at_last);
    tcase_add_test(tests, after_a_cut_everybody_is_awake_and_nobody_waits_again);
    tcase_add_test(tests, no_wake_up_is_lost_and_none_comes_too_much);
    tcase_add_test(tests, a_cut_misses_nobody_who_is_just_sitting_down);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
