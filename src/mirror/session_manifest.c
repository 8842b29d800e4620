#include "mirror/session_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "mirror/listing.h"

#include <errno.h>

/* For how long a name whose manifest is not stored is taken to mean the same digest, at the most. */
#define NOT_STORED_TTL_MS (10 * CLOCK_SECOND)

/* --- pointers ----------------------------------------------------------------------------------------------- */

static void serve_stale(struct mirror_session *s)
{
    int64_t age = clock_real_ms() - s->pointer.checked_at;
    s->outcome = MIRROR_STALE;
    metrics_add(METRIC_STALE_SERVED, 1, LABELS(s->registry));
    session_note_event(s, EVENT_STALE, 200);
    trouble_warning(&s->failure, age, s->warning, sizeof(s->warning));
    log_event(LOG_INFO, "stale", LOG_S("registry", s->registry), LOG_S("repository", s->repository),
              LOG_S("reference", s->reference), LOG_I("age_s", age / CLOCK_SECOND), LOG_S("cause", s->failure.message));
}

/* Where it is not stored the upstream is asked for it anyway, and may have given it up for something else. */
static bool is_fresh(const struct mirror_session *s, const struct pointer *p)
{
    int64_t age = clock_real_ms() - p->checked_at; /* a clock that was set back makes it old */
    return age >= 0 && age < s->ttl_ms && (age < NOT_STORED_TTL_MS || library_has(s->mirror->library, &p->digest));
}

/* Whether a failure to ask is a reason to serve what was true a while ago. */
static bool may_be_stale(const struct mirror_session *s, int error)
{
    int64_t age = clock_real_ms() - s->pointer.checked_at;
    if (error == -ECANCELED || (error == -ENOENT && !s->stale_on_absence))
        return false;
    /* a clock that was set back is no reason not to serve */
    return s->stale_for_ms > 0 && age < s->stale_for_ms;
}

/* Asks without waiting for it; what comes of it is for the next who asks. */
static void revalidate_behind(struct mirror_session *s, enum question_kind kind)
{
    int r = session_ask(s, kind, s->reference, /* until= */ 0, /* holds= */ false);
    if (r == 0)
        session_leave_question(s);
    (void)session_fail(s, -ETIMEDOUT, "being checked now");
}

/* Makes s->pointer what the name stands for, and s->document what it points to if that came along. */
static int resolve(struct mirror_session *s, enum pointer_kind pointer_kind, enum question_kind question_kind)
{
    struct pointer_key key;
    if (s->resolved)
        return 0;
    pointer_key_make(&key, s->registry, s->repository, pointer_kind, s->reference);
    bool known = pointers_get(s->mirror->pointers, &key, &s->pointer) == 0;
    if (known && pointer_kind != POINTER_TAG) /* a list is what it points to */
        known = s->document || (session_may_have(s, &s->pointer.digest) &&
                                library_get(s->mirror->library, &s->pointer.digest, &s->document) == 0);
    if (known && !s->question && is_fresh(s, &s->pointer)) {
        s->resolved = true;
        return 0;
    }
    if (known && !s->question && s->stale_while_revalidate && may_be_stale(s, 0)) {
        revalidate_behind(s, question_kind);
        serve_stale(s);
        s->resolved = true;
        return 0;
    }
    bool has_stale = known && may_be_stale(s, 0);
    int r = session_ask(s, question_kind, s->reference, session_due(s, has_stale), !has_stale);
    if (r == MIRROR_WAIT)
        return r;
    if (r == 0) {
        struct document *d = question_document(s->question);
        s->pointer = *question_pointer(s->question);
        document_unref(s->document);
        s->document = d ? document_ref(d) : NULL;
        session_leave_question(s);
    } else if (!has_stale || !may_be_stale(s, r)) {
        return r;
    } else {
        serve_stale(s);
    }
    s->resolved = true;
    return 0;
}

/* --- manifests ---------------------------------------------------------------------------------------------- */

/* A HEAD of what is not stored: what the upstream says of it is enough. */
static int step_cold_head(struct mirror_session *s, const struct digest *digest)
{
    if (!s->resolved) {
        int r = session_ask(s, QUESTION_TAG, s->reference, s->deadline, true);
        if (r != 0)
            return r;
        s->pointer = *question_pointer(s->question);
        session_leave_question(s);
        s->resolved = true;
    }
    return s->pointer.size ? session_answer(s, MIRROR_NO_BODY, s->pointer.size, s->pointer.media_type, digest)
                           : -ENODATA;
}

/* 0: answered with what is stored. -ENODATA: it is not, or is no manifest. MIRROR_WAIT, or s->failure. */
static int find_document(struct mirror_session *s, const struct digest *digest)
{
    AUTO(auto_document_unref) struct document *d = NULL;
    if (library_get(s->mirror->library, digest, &d) < 0 || !media_type_is_manifest(d->media_type))
        return -ENODATA;
    int r = session_prove(s, digest);
    s->proving = r == MIRROR_WAIT;
    if (r != 0)
        return r;
    s->document = TAKE_PTR(d);
    return session_answer_document(s);
}

int session_manifest(struct mirror_session *s)
{
    const struct digest *digest = s->by_digest ? &s->digest : &s->pointer.digest;
    int r = s->by_digest ? 0 : resolve(s, POINTER_TAG, QUESTION_TAG);
    if (r != 0)
        return r;
    if (s->document)
        return session_answer_document(s);
    if (!s->question || s->proving) {
        r = find_document(s, digest);
        if (r != -ENODATA)
            return r;
    }
    if (s->head) {
        r = step_cold_head(s, digest);
        if (r != -ENODATA)
            return r;
    }
    char text[DIGEST_TEXT_MAX];
    r = session_ask(s, QUESTION_MANIFEST, digest_format(digest, text), s->deadline, true);
    if (r != 0)
        return r;
    s->document = document_ref(question_document(s->question));
    session_leave_question(s);
    return session_answer_document(s);
}

/* --- lists -------------------------------------------------------------------------------------------------- */

int session_tags(struct mirror_session *s)
{
    int r = resolve(s, POINTER_TAGS_LIST, QUESTION_TAGS_LIST);
    if (r != 0)
        return r;
    r = listing_page_of_tags(s->document->data, s->document->len, s->repository, s->page_size, s->last, &s->body,
                             &s->link);
    if (r < 0)
        return session_fail(s, r, "no memory");
    (void)session_answer(s, MIRROR_MEMORY, s->body.len, MEDIA_TYPE_JSON, NULL);
    s->answer.memory = s->body.data;
    s->answer.link = s->link.len ? s->link.data : NULL;
    return 0;
}

int session_referrers(struct mirror_session *s)
{
    int r = resolve(s, POINTER_REFERRERS, QUESTION_REFERRERS);
    if (r != 0)
        return r;
    if (!s->artifact_type) {
        (void)session_answer_document(s);
        s->answer.digest = NULL;
        return 0;
    }
    r = listing_filter_referrers(s->document->data, s->document->len, s->artifact_type, &s->body);
    if (r < 0)
        return session_fail(s, r, "no memory");
    (void)session_answer(s, MIRROR_MEMORY, s->body.len, MEDIA_TYPE_OCI_INDEX, NULL);
    s->answer.memory = s->body.data;
    s->answer.filters = "artifactType";
    return 0;
}
