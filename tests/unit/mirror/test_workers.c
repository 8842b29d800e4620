#include "mirror/workers.h"

#include "scratch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

/* --- pieces of work that write down their turn -------------------------------------------------------------- */

#define PIECES 64

struct piece {
    struct work work;
    struct day *day;
    unsigned again;     /* posts itself again so often */
    bool until_the_end; /* or until it is told to give up */
    struct piece *also; /* posts this one */
    unsigned runs;
};

struct day {
    struct workers *workers;
    struct piece pieces[PIECES];
    atomic_uint turns;
    unsigned order[PIECES * 2]; /* piece number of each turn */
    pthread_barrier_t *meet;    /* every piece waits here */
    atomic_bool saw_the_end;
};

static void run(struct work *work)
{
    struct piece *p = (struct piece *)work;
    struct day *day = p->day;
    unsigned turn = day->turns++;
    if (turn < ARRAY_SIZE(day->order))
        day->order[turn] = (unsigned)(p - day->pieces);
    p->runs++;
    if (day->meet)
        (void)pthread_barrier_wait(day->meet);
    if (workers_are_stopping(day->workers))
        day->saw_the_end = true;
    if (p->also)
        workers_post(day->workers, &p->also->work);
    if (p->again > 0 && !(p->until_the_end && day->saw_the_end)) {
        p->again -= !p->until_the_end;
        workers_post(day->workers, work); /* the last touch: another thread may have it now */
    }
}

static struct day *day_begin(unsigned threads)
{
    struct day *day = calloc(1, sizeof(*day));
    ck_assert_ptr_nonnull(day);
    for (unsigned i = 0; i < PIECES; i++)
        day->pieces[i] = (struct piece){.work.run = run, .day = day};
    ck_ok(workers_start(threads, &day->workers));
    return day;
}

START_TEST(work_is_done_in_the_order_it_was_posted)
{
    AUTO_FREE struct day *day = day_begin(1);
    for (unsigned i = 0; i < PIECES; i++)
        workers_post(day->workers, &day->pieces[PIECES - 1 - i].work);
    workers_stop(day->workers);
    ck_assert_uint_eq(day->turns, PIECES);
    for (unsigned i = 0; i < PIECES; i++)
        ck_assert_uint_eq(day->order[i], PIECES - 1 - i);
}
END_TEST

START_TEST(several_pieces_are_worked_on_at_once)
{
    pthread_barrier_t meet;
    ck_ok(pthread_barrier_init(&meet, NULL, 4)); /* nobody gets past it unless all four are there */
    AUTO_FREE struct day *day = day_begin(4);
    day->meet = &meet;
    for (unsigned i = 0; i < PIECES; i++)
        workers_post(day->workers, &day->pieces[i].work);
    workers_stop(day->workers);
    ck_assert_uint_eq(day->turns, PIECES);
    ck_ok(pthread_barrier_destroy(&meet));
}
END_TEST

START_TEST(what_posts_itself_again_lets_others_have_their_turn)
{
    pthread_barrier_t meet;
    ck_ok(pthread_barrier_init(&meet, NULL, 2));
    AUTO_FREE struct day *day = day_begin(1);
    day->meet = &meet;
    day->pieces[0].again = 2;
    for (unsigned i = 0; i < 3; i++)
        workers_post(day->workers,
                     &day->pieces[i].work); /* the first waits for us: all are in line before it goes on */
    for (unsigned i = 0; i < 5; i++)
        (void)pthread_barrier_wait(&meet);
    workers_stop(day->workers);
    static const unsigned wanted[] = {0, 1, 2, 0, 0};
    ck_assert_uint_eq(day->turns, ARRAY_SIZE(wanted));
    for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++)
        ck_assert_uint_eq(day->order[i], wanted[i]);
    ck_ok(pthread_barrier_destroy(&meet));
}
END_TEST

START_TEST(stopping_waits_for_what_was_posted_and_for_what_that_posts)
{
    AUTO_FREE struct day *day = day_begin(3);
    for (unsigned i = 0; i + 1 < PIECES; i++)
        day->pieces[i].also = &day->pieces[i + 1];
    workers_post(day->workers, &day->pieces[0].work);
    workers_stop(day->workers);
    ck_assert_uint_eq(day->turns, PIECES);
    for (unsigned i = 0; i < PIECES; i++)
        ck_assert_uint_eq(day->pieces[i].runs, 1);
}
END_TEST

START_TEST(long_work_sees_that_it_should_give_up)
{
    AUTO_FREE struct day *day = day_begin(1);
    ck_assert(!workers_are_stopping(day->workers));
    day->pieces[0].again = 1;
    day->pieces[0].until_the_end = true;
    workers_post(day->workers, &day->pieces[0].work);
    workers_stop(day->workers); /* comes back only because the work gives up */
    ck_assert(day->saw_the_end);
}
END_TEST

START_TEST(stopping_without_work_ends)
{
    struct workers *w;
    ck_ok(workers_start(4, &w));
    workers_stop(w);
    workers_stop(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("workers");
    TCase *tests = tcase_create("workers");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, work_is_done_in_the_order_it_was_posted);
    tcase_add_test(tests, several_pieces_are_worked_on_at_once);
    tcase_add_test(tests, what_posts_itself_again_lets_others_have_their_turn);
    tcase_add_test(tests, stopping_waits_for_what_was_posted_and_for_what_that_posts);
    tcase_add_test(tests, long_work_sees_that_it_should_give_up);
    tcase_add_test(tests, stopping_without_work_ends);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
