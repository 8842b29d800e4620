#include "mirror/session_state.h"

#include "base/clock.h"
#include "upstream/upstream.h"

#include <errno.h>

/* It is private: may the client see it by an account of his own? 0, MIRROR_WAIT, or s->failure. */
static int greet(struct mirror_session *s)
{
    struct guests *guests = s->mirror->guests;
    const struct guest who = {.registry = s->registry, .repository = s->repository, .login = s->login_key};
    int64_t age;
    if (s->asker != ASKER_CLIENT)
        return session_fail(s, -ESTALE, "private: not for another mirror");
    if (!s->login) {
        s->hidden = true;
        return session_fail(s, -EACCES, "private, and not open to everybody here (registries.NAME.open)");
    }
    bool known = guests_know(guests, &who, clock_monotonic_ms(), &age);
    if (known && age < s->guest_ttl_ms && !s->greeting)
        return 0;
    s->greeting = true;
    bool may_stay = known && age < s->guest_stale_for_ms;
    int r = session_ask(s, QUESTION_LOGIN, s->reference, session_due(s, may_stay), !may_stay);
    if (r == MIRROR_WAIT || r == -ECANCELED)
        return r;
    if (r == 0) {
        session_leave_question(s);
        guests_welcome(guests, &who, clock_monotonic_ms());
        return 0;
    }
    if (may_stay && failure_is_passing(&s->failure))
        return 0;
    if (r == -EACCES) {
        guests_forget(guests, &who);
        s->hidden = true;
    }
    return r;
}

/*
 * Is what the repository holds everybody's? That is asked where an account may have seen more of it than everybody may:
 * now, or before it was taken away. Where nobody says so, the session is one of those that everybody is: it shows no
 * account, even if the registry gets one while it lasts. 0, MIRROR_WAIT, or s->failure.
 */
static int look(struct mirror_session *s)
{
    struct mirror *m = s->mirror;
    bool fresh = false, has_accounts = upstream_has_accounts(m->upstream, s->registry);
    enum visibility v = VISIBILITY_UNKNOWN;
    if (has_accounts || privacy_is_needed(m->privacy))
        v = visibility_get(m->visibilities, s->registry, s->repository, &fresh);
    if (!s->question && !has_accounts && v != VISIBILITY_PRIVATE) {
        s->as_public = v == VISIBILITY_UNKNOWN;
        return 0;
    }
    if (!fresh || s->question) {
        int64_t due = session_due(s, v != VISIBILITY_UNKNOWN);
        int r = session_ask(s, QUESTION_PUBLIC, s->reference, due, v == VISIBILITY_UNKNOWN && !s->is_open);
        if (r == MIRROR_WAIT || r == -ECANCELED)
            return r;
        bool sure = r == 0 && !question_is_unsure(s->question);
        if (r == 0)
            session_leave_question(s);
        if (sure || r == -EACCES)
            v = sure ? VISIBILITY_PUBLIC : VISIBILITY_PRIVATE;
        else if (v == VISIBILITY_UNKNOWN && !s->is_open && r < 0)
            return r; /* nobody knows: then nobody sees it */
        s->as_public = v == VISIBILITY_UNKNOWN && !s->is_open;
    }
    s->is_private = v != VISIBILITY_PUBLIC && !s->as_public;
    return 0;
}

/* May the repository be seen, and is what it holds everybody's? 0, MIRROR_WAIT, or s->failure. */
int session_see(struct mirror_session *s)
{
    if (s->seen)
        return 0;
    int r = s->greeting ? 0 : look(s);
    if (r == 0 && s->is_private && !s->is_open)
        r = greet(s);
    s->seen = r == 0;
    return r;
}

bool session_may_have(struct mirror_session *s, const struct digest *digest)
{
    bool of_all = s->as_public && !s->is_open; /* what is linked to this very repository is not its either */
    return privacy_allows(s->mirror->privacy, digest, of_all ? "" : s->registry, of_all ? "" : s->repository);
}

/*
 * May what is stored under the digest be served under this name? What came from somebody else's private repository may
 * not, unless an upstream shows it under this name as well. 0, MIRROR_WAIT, or s->failure.
 */
int session_prove(struct mirror_session *s, const struct digest *digest)
{
    struct privacy *p = s->mirror->privacy;
    char text[DIGEST_TEXT_MAX];
    if (s->proven || session_may_have(s, digest))
        return 0;
    int r = session_ask(s, s->object == MIRROR_BLOB ? QUESTION_SIZE : QUESTION_TAG, digest_format(digest, text),
                        s->deadline, true);
    if (r != 0)
        return r;
    session_leave_question(s);
    if (s->is_private)
        r = privacy_link(p, digest, s->registry, s->repository);
    else
        privacy_publish(p, digest);
    if (r < 0)
        return session_fail(s, r, "no memory");
    s->proven = true;
    return 0;
}
