#include "mirror/session_state.h"

#include "base/clock.h"
#include "base/metrics.h"

#include <errno.h>
#include <stdio.h>

/* Somebody who could be served something stale waits for news no longer than this. */
#define REVALIDATION_PATIENCE_MS 2000

int64_t session_due(const struct mirror_session *s, bool knows_something)
{
    int64_t soon = s->opened + REVALIDATION_PATIENCE_MS;
    return knows_something && s->class == UPSTREAM_LIVE && soon < s->deadline ? soon : s->deadline;
}

void session_leave_question(struct mirror_session *s)
{
    if (!s->question)
        return;
    if (s->question_is_mine)
        s->requests += question_requests(s->question);
    gate_forget(&s->waiter);
    question_unref(TAKE_PTR(s->question));
}

void session_leave_flight(struct mirror_session *s)
{
    if (!s->flight)
        return;
    s->flight_round = 0;
    if (s->flight_is_mine)
        s->requests += flight_requests(s->flight);
    gate_forget(&s->waiter);
    flight_unref(TAKE_PTR(s->flight));
}

/* The first who asked pays, the others come along. */
void session_note_outcome(struct mirror_session *s, bool mine)
{
    if (s->outcome != MIRROR_MISS)
        s->outcome = mine ? MIRROR_MISS : MIRROR_JOINED;
}

int session_fail(struct mirror_session *s, int error, const char *message)
{
    s->failure = (struct failure){.error = error, .until = clock_monotonic_ms()};
    (void)snprintf(s->failure.message, sizeof(s->failure.message), "%s", message);
    return error;
}

/* The time is over; where it went wrong before, that says more. */
int session_fail_late(struct mirror_session *s, const char *message)
{
    return failure_is_passing(&s->failure) ? s->failure.error : session_fail(s, -ETIMEDOUT, message);
}

int session_fail_cut(struct mirror_session *s)
{
    return session_fail(s, -ECANCELED, "the mirror is shutting down");
}

/* Waits until `when` has come. */
int session_hold(struct mirror_session *s, int64_t when)
{
    struct gate *g = &s->mirror->holding;
    gate_lock(g);
    bool waits = gate_wait(g, &s->waiter, when);
    gate_unlock(g);
    return waits ? MIRROR_WAIT : session_fail_cut(s);
}

/* What failed a moment ago is not asked for again: 0 nothing did, MIRROR_WAIT it may be asked for before `until`, else
 * the failure. */
int session_mind_recent(struct mirror_session *s, const char *key, int64_t until)
{
    if (!recent_get(s->mirror->recent, key, &s->failure))
        return 0;
    bool is_absent = failure_is_absence(&s->failure);
    if (is_absent)
        metrics_add(METRIC_NEGATIVE_HITS, 1, LABELS(s->registry));
    if (is_absent || s->failure.until > until)
        return s->failure.error;
    return session_hold(s, s->failure.until);
}

/* Joins the question, or asks it unless only what is cached is wanted. -EALREADY: it has failed just now. */
static int join_question(struct mirror_session *s, const struct question_target *target)
{
    struct questions *questions = s->mirror->questions;
    if (s->only_if_cached) {
        s->question = question_find(questions, target);
        s->question_is_mine = false;
        return s->question ? 0 : session_fail(s, -ESTALE, "not cached here");
    }
    int r = question_join(questions, target, &s->question_is_mine, &s->question);
    if (r == 0 || r == -EALREADY)
        return r;
    return session_fail(s, r, r == -ECANCELED ? "the mirror is shutting down" : "no memory");
}

/* Somebody who has something to serve already leaves more of a pull limit than one who waits for it. */
static enum upstream_class class_of(const struct mirror_session *s, bool is_about_seeing, bool holds)
{
    return s->class != UPSTREAM_LIVE ? s->class : holds || is_about_seeing ? UPSTREAM_LIVE : UPSTREAM_REVALIDATION;
}

/*
 * 0: s->question is answered, and well; leave_question() when done with it. MIRROR_WAIT. Else s->failure. With `holds`,
 * what failed is asked for again while there is time until `until`.
 */
int session_ask(struct mirror_session *s, enum question_kind kind, const char *reference, int64_t until, bool holds)
{
    const bool is_about_seeing = kind == QUESTION_PUBLIC || kind == QUESTION_LOGIN;
    holds = holds && s->class == UPSTREAM_LIVE;
    const struct question_target target = {
        .kind = kind,
        .registry = s->registry,
        .repository = s->repository,
        .reference = reference,
        .login = kind == QUESTION_LOGIN ? s->login : NULL,
        .login_key = kind == QUESTION_LOGIN ? s->login_key : NULL,
        .of_blob = is_about_seeing && s->object == MIRROR_BLOB,
        .class = class_of(s, is_about_seeing, holds),
        .is_private = s->is_private,
        .as_public = s->as_public,
        .has_others = s->has_others,
        .prefetch = s->head ? 0 : s->prefetch,
        .flight_rules = s->flight_rules,
        .client = s->client,
    };
    int r;
    for (;;) {
        if (!s->question) {
            char key[RECENT_KEY_MAX];
            question_key(&target, key);
            r = session_mind_recent(s, key, holds && !s->only_if_cached ? until : 0);
            if (r == 0)
                r = join_question(s, &target);
            if (r == -EALREADY)
                continue;
            if (r != 0)
                return r;
            session_note_outcome(s, s->question_is_mine);
        }
        bool late = clock_monotonic_ms() >= until;
        r = question_wait(s->question, s->asker, late ? NULL : &s->waiter, until);
        if (r == -ESTALE) {
            session_leave_question(s);
            return session_fail(s, r, "not cached here, and a sibling's word is waited for");
        }
        if (r < 0)
            return session_fail_cut(s);
        if (r == MIRROR_WAIT && !late)
            return r;
        if (r == MIRROR_WAIT) {
            session_leave_question(s);
            return session_fail_late(s, "the upstream has not answered yet");
        }
        s->failure = *question_failure(s->question);
        if (s->failure.error == 0)
            return 0;
        session_leave_question(s);
        if (!holds || !failure_is_passing(&s->failure))
            return s->failure.error;
    }
}
