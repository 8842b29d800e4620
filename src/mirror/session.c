/*
 * One client request, decided step by step. Every step starts from what is stored and asks for what is missing, so that
 * it may be repeated after each wait:
 *
 *   manifest by tag      pointer fresh, or asked for (or stale, when nobody answers) ──► manifest by digest
 *   manifest by digest   in the library, or asked for
 *   blob                 in the store, or on a flight
 *   tags, referrers      the list's pointer and document, or asked for (or stale)
 */
#include "mirror/mirror.h"

#include "base/clock.h"
#include "base/log.h"
#include "mirror/listing.h"
#include "mirror/reference.h"
#include "mirror/state.h"
#include "mirror/trouble.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Somebody who could be served something stale waits for news no longer than this. */
#define REVALIDATION_PATIENCE_MS 2000
/* A partial file that is being closed is looked for again after this. */
#define BUSY_PAUSE_MS 20
#define WARNING_MAX 512

struct mirror_session {
    struct mirror *mirror;
    struct waiter waiter;

    /* set at create */
    enum mirror_object object;
    bool head;
    bool by_digest;
    struct digest digest;
    int64_t page_size, ttl_ms, patience_ms;
    int64_t opened, deadline; /* monotonic ms */
    char registry[LIMIT_NAME + 1], repository[LIMIT_NAME + 1], reference[DIGEST_TEXT_MAX];
    char *artifact_type, *last;

    /* what it holds */
    struct question *question;
    bool question_is_mine;
    struct flight *flight;
    bool flight_is_mine;
    struct document *document;
    int fd;
    struct pointer pointer;
    bool resolved; /* the pointer is what the tag stands for */
    bool answered;
    struct mirror_answer answer;
    struct failure failure;
    struct trouble trouble; /* status other than 0: this is the answer */
    struct buf body, link;
    char digest_text[DIGEST_TEXT_MAX], warning[WARNING_MAX];

    enum mirror_outcome outcome;
    unsigned requests;
};

/* --- waiting and asking ------------------------------------------------------------------------------------- */

static void leave_question(struct mirror_session *s)
{
    if (!s->question)
        return;
    if (s->question_is_mine)
        s->requests += question_requests(s->question);
    gate_forget(&s->waiter);
    question_unref(TAKE_PTR(s->question));
}

static void leave_flight(struct mirror_session *s)
{
    if (!s->flight)
        return;
    if (s->flight_is_mine)
        s->requests += flight_requests(s->flight);
    gate_forget(&s->waiter);
    flight_unref(TAKE_PTR(s->flight));
}

/* The first who asked pays, the others come along. */
static void note_outcome(struct mirror_session *s, bool mine)
{
    if (s->outcome != MIRROR_MISS)
        s->outcome = mine ? MIRROR_MISS : MIRROR_JOINED;
}

static int fail(struct mirror_session *s, int error, const char *message)
{
    s->failure = (struct failure){.error = error, .until = clock_monotonic_ms()};
    (void)snprintf(s->failure.message, sizeof(s->failure.message), "%s", message);
    return error;
}

static int fail_cut(struct mirror_session *s)
{
    return fail(s, -ECANCELED, "the mirror is shutting down");
}

/* Waits until `when` has come. */
static int hold(struct mirror_session *s, int64_t when)
{
    struct gate *g = &s->mirror->holding;
    gate_lock(g);
    bool waits = gate_wait(g, &s->waiter, when);
    gate_unlock(g);
    return waits ? MIRROR_WAIT : fail_cut(s);
}

/* What failed a moment ago is not asked for again: 0 nothing did, MIRROR_WAIT it may be asked for before `until`, else
 * the failure. */
static int mind_recent(struct mirror_session *s, const char *key, int64_t until)
{
    if (!recent_get(s->mirror->recent, key, &s->failure))
        return 0;
    if (failure_is_absence(&s->failure) || s->failure.until > until)
        return s->failure.error;
    return hold(s, s->failure.until);
}

/*
 * 0: s->question is answered, and well; leave_question() when done with it. MIRROR_WAIT. Else s->failure. With `holds`,
 * what failed is asked for again while there is time until `until`.
 */
static int ask(struct mirror_session *s, enum question_kind kind, const char *reference, int64_t until, bool holds)
{
    const struct question_target target = {
        .kind = kind, .registry = s->registry, .repository = s->repository, .reference = reference};
    int r;
    for (;;) {
        if (!s->question) {
            char key[RECENT_KEY_MAX];
            question_key(&target, key);
            r = mind_recent(s, key, holds ? until : 0);
            if (r != 0)
                return r;
            r = question_join(s->mirror->questions, &target, &s->question_is_mine, &s->question);
            if (r < 0)
                return fail(s, r, r == -ECANCELED ? "the mirror is shutting down" : "no memory");
            note_outcome(s, s->question_is_mine);
        }
        bool late = clock_monotonic_ms() >= until;
        r = question_wait(s->question, late ? NULL : &s->waiter, until);
        if (r < 0)
            return fail_cut(s);
        if (r == MIRROR_WAIT && !late)
            return r;
        if (r == MIRROR_WAIT) {
            leave_question(s);
            return fail(s, -ETIMEDOUT, "the upstream has not answered yet");
        }
        s->failure = *question_failure(s->question);
        if (s->failure.error == 0)
            return 0;
        leave_question(s);
        if (!holds || !failure_is_passing(&s->failure))
            return s->failure.error;
    }
}

/* --- pointers ----------------------------------------------------------------------------------------------- */

static void serve_stale(struct mirror_session *s)
{
    int64_t age = clock_real_ms() - s->pointer.checked_at;
    s->outcome = MIRROR_STALE;
    trouble_warning(&s->failure, age, s->warning, sizeof(s->warning));
    log_event(LOG_INFO, "stale", LOG_S("registry", s->registry), LOG_S("repository", s->repository),
              LOG_S("reference", s->reference), LOG_I("age_s", age / CLOCK_SECOND), LOG_S("cause", s->failure.message));
}

static bool is_fresh(const struct mirror_session *s, const struct pointer *p)
{
    int64_t age = clock_real_ms() - p->checked_at;
    return age >= 0 && age < s->ttl_ms; /* a clock that was set back makes it old */
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
        known = s->document || library_get(s->mirror->library, &s->pointer.digest, &s->document) == 0;
    if (!known || (s->question || !is_fresh(s, &s->pointer))) {
        int64_t until = known ? s->opened + REVALIDATION_PATIENCE_MS : s->deadline;
        int r = ask(s, question_kind, s->reference, until < s->deadline ? until : s->deadline, !known);
        if (r == MIRROR_WAIT)
            return r;
        if (r == 0) {
            struct document *d = question_document(s->question);
            s->pointer = *question_pointer(s->question);
            document_unref(s->document);
            s->document = d ? document_ref(d) : NULL;
            leave_question(s);
        } else if (!known || r == -ENOENT || r == -ECANCELED) {
            return r;
        } else {
            serve_stale(s);
        }
    }
    s->resolved = true;
    return 0;
}

/* --- answers ------------------------------------------------------------------------------------------------ */

static int answer(struct mirror_session *s, enum mirror_body body, uint64_t size, const char *type,
                  const struct digest *digest)
{
    s->answer = (struct mirror_answer){
        .status = 200,
        .body = body,
        .size = size,
        .fd = -1,
        .content_type = type,
        .digest = digest ? digest_format(digest, s->digest_text) : NULL,
        .warning = s->warning[0] ? s->warning : NULL,
        .retry_after_s = -1,
    };
    if (s->outcome == MIRROR_NONE)
        s->outcome = MIRROR_HIT;
    s->answered = true;
    return 0;
}

static int answer_document(struct mirror_session *s)
{
    (void)answer(s, MIRROR_MEMORY, s->document->len, s->document->media_type, &s->document->digest);
    s->answer.memory = s->document->data;
    return 0;
}

static int answer_trouble(struct mirror_session *s)
{
    s->outcome = MIRROR_ERROR;
    s->answer = (struct mirror_answer){
        .status = s->trouble.status,
        .fd = -1,
        .error_code = s->trouble.code,
        .error_message = s->trouble.message,
        .retry_after_s = s->trouble.retry_after_s,
    };
    s->answered = true;
    return 0;
}

/* --- manifests ---------------------------------------------------------------------------------------------- */

/* A HEAD of what is not stored: what the upstream says of it is enough. */
static int step_cold_head(struct mirror_session *s, const struct digest *digest)
{
    if (!s->resolved) {
        int r = ask(s, QUESTION_TAG, s->reference, s->deadline, true);
        if (r != 0)
            return r;
        s->pointer = *question_pointer(s->question);
        leave_question(s);
        s->resolved = true;
    }
    return s->pointer.size ? answer(s, MIRROR_NO_BODY, s->pointer.size, s->pointer.media_type, digest) : -ENODATA;
}

static int step_manifest(struct mirror_session *s)
{
    const struct digest *digest = s->by_digest ? &s->digest : &s->pointer.digest;
    int r = s->by_digest ? 0 : resolve(s, POINTER_TAG, QUESTION_TAG);
    if (r != 0)
        return r;
    if (s->document)
        return answer_document(s);
    if (!s->question && library_get(s->mirror->library, digest, &s->document) == 0 &&
        media_type_is_manifest(s->document->media_type))
        return answer_document(s);
    document_unref(TAKE_PTR(s->document));
    if (s->head) {
        r = step_cold_head(s, digest);
        if (r != -ENODATA)
            return r;
    }
    char text[DIGEST_TEXT_MAX];
    r = ask(s, QUESTION_MANIFEST, digest_format(digest, text), s->deadline, true);
    if (r != 0)
        return r;
    s->document = document_ref(question_document(s->question));
    leave_question(s);
    return answer_document(s);
}

/* --- blobs -------------------------------------------------------------------------------------------------- */

static const char blob_type[] = "application/octet-stream";

static int step_cold_blob_head(struct mirror_session *s)
{
    uint64_t size = 0;
    struct flight *f = flight_find(s->mirror->flights, &s->digest);
    bool known = f && flight_size(f, &size);
    flight_unref(f);
    if (known) {
        note_outcome(s, false);
    } else {
        int r = ask(s, QUESTION_SIZE, s->reference, s->deadline, true);
        if (r != 0)
            return r;
        size = question_pointer(s->question)->size;
        leave_question(s);
    }
    return answer(s, MIRROR_NO_BODY, size, blob_type, &s->digest);
}

/* Gets on the flight of the blob. 0: s->flight. -EEXIST: it is stored by now. */
static int board(struct mirror_session *s)
{
    const struct flight_target target = {
        .registry = s->registry, .repository = s->repository, .digest = &s->digest, .patience_ms = s->patience_ms};
    char key[RECENT_KEY_MAX];
    flight_key(&target, key);
    int r = mind_recent(s, key, s->deadline);
    if (r != 0)
        return r;
    r = flight_join(s->mirror->flights, &target, &s->flight_is_mine, &s->flight);
    if (r == -EBUSY && clock_monotonic_ms() < s->deadline)
        return hold(s, clock_monotonic_ms() + BUSY_PAUSE_MS);
    if (r < 0 && r != -EEXIST)
        return fail(s, r, r == -ENOSPC ? "the store is full" : "the store cannot take the blob");
    if (r == 0)
        note_outcome(s, s->flight_is_mine);
    return r;
}

static int step_flight(struct mirror_session *s)
{
    for (;;) {
        uint64_t size;
        int r = s->flight ? 0 : board(s);
        if (r != 0)
            return r;
        bool late = clock_monotonic_ms() >= s->deadline;
        r = flight_wait(s->flight, late ? NULL : &s->waiter, s->deadline, &size, &s->failure);
        if (r == MIRROR_WAIT && !late)
            return r;
        if (r == MIRROR_WAIT) {
            leave_flight(s);
            return fail(s, -ETIMEDOUT, "the upstream has not begun to send the blob yet");
        }
        if (r == -ECANCELED)
            return fail_cut(s);
        if (r == 0 && flight_is_verified(s->flight)) {
            (void)answer(s, MIRROR_FILE, size, blob_type, &s->digest);
            s->answer.fd = flight_fd(s->flight);
            return 0;
        }
        if (r == 0)
            return answer(s, MIRROR_FLIGHT, size, blob_type, &s->digest);
        /* What another repository does not have may be in this one; what failed is tried again while there is time. */
        bool is_own = flight_is_of(s->flight, s->registry, s->repository);
        leave_flight(s);
        if (!failure_is_passing(&s->failure) && (is_own || !failure_is_absence(&s->failure)))
            return s->failure.error;
    }
}

static int step_blob(struct mirror_session *s)
{
    int r = -EEXIST;
    for (unsigned i = 0; r == -EEXIST && i < 3; i++) {
        struct blobstore_info info;
        if (!s->flight && blobstore_get(s->mirror->store, &s->digest, &info, &s->fd) == 0) {
            blobstore_touch(s->mirror->store, &s->digest);
            (void)answer(s, MIRROR_FILE, info.size, blob_type, &s->digest);
            s->answer.fd = s->fd;
            return 0;
        }
        r = s->head ? step_cold_blob_head(s) : step_flight(s);
    }
    return r == -EEXIST ? fail(s, -EIO, "the stored blob cannot be opened") : r;
}

/* --- lists -------------------------------------------------------------------------------------------------- */

static int step_tags(struct mirror_session *s)
{
    int r = resolve(s, POINTER_TAGS_LIST, QUESTION_TAGS_LIST);
    if (r != 0)
        return r;
    r = listing_page_of_tags(s->document->data, s->document->len, s->repository, s->page_size, s->last, &s->body,
                             &s->link);
    if (r < 0)
        return fail(s, r, "no memory");
    (void)answer(s, MIRROR_MEMORY, s->body.len, MEDIA_TYPE_JSON, NULL);
    s->answer.memory = s->body.data;
    s->answer.link = s->link.len ? s->link.data : NULL;
    return 0;
}

static int step_referrers(struct mirror_session *s)
{
    int r = resolve(s, POINTER_REFERRERS, QUESTION_REFERRERS);
    if (r != 0)
        return r;
    if (!s->artifact_type) {
        (void)answer_document(s);
        s->answer.digest = NULL;
        return 0;
    }
    r = listing_filter_referrers(s->document->data, s->document->len, s->artifact_type, &s->body);
    if (r < 0)
        return fail(s, r, "no memory");
    (void)answer(s, MIRROR_MEMORY, s->body.len, MEDIA_TYPE_OCI_INDEX, NULL);
    s->answer.memory = s->body.data;
    s->answer.filters = "artifactType";
    return 0;
}

/* --- the door ----------------------------------------------------------------------------------------------- */

static int trouble(struct mirror_session *s, int status, const char *code, const char *message)
{
    trouble_of_request(status, code, message, &s->trouble);
    return 0;
}

static int read_reference(struct mirror_session *s, const struct mirror_request *request)
{
    const char *text = request->reference ? request->reference : "";
    size_t len = strlen(text);
    if (request->object == MIRROR_TAGS)
        return 0;
    bool must_be_digest = request->object != MIRROR_MANIFEST;
    if (must_be_digest || strchr(text, ':')) {
        int r = digest_parse(text, len, &s->digest);
        if (r < 0)
            return trouble(s, 400, "DIGEST_INVALID",
                           r == -ENOTSUP ? "a digest of an algorithm that is not supported" : "not a digest");
        s->by_digest = true;
    } else if (!tag_is_valid(text)) {
        return trouble(s, 400, "MANIFEST_INVALID", "neither a tag nor a digest");
    }
    memcpy(s->reference, text, len + 1);
    return 0;
}

static int read_names(struct mirror_session *s, const struct mirror_request *request, const struct config *config)
{
    struct repository_name name;
    int r = repository_resolve(config, request->ns, request->name, &name);
    if (r == -ENOENT)
        return trouble(s, 404, "NAME_UNKNOWN", "no registry of the name in ns is configured here");
    if (r < 0)
        return trouble(s, 400, "NAME_INVALID", "not a repository name");
    (void)stpcpy(s->registry, name.registry->name);
    (void)stpcpy(s->repository, name.path);
    (void)read_reference(s, request);
    s->ttl_ms = config_tag_ttl_ms(config, name.registry, s->repository, s->reference);
    s->deadline = s->opened + config->server.answer_timeout_ms;
    s->patience_ms = config->upstream.flight_timeout_ms;
    return 0;
}

int mirror_open(struct mirror *m, const struct mirror_request *request, struct mirror_session **ret_session)
{
    AUTO(auto_mirror_close) struct mirror_session *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->mirror = m;
    s->waiter.call = request->waiter;
    s->object = request->object;
    s->head = request->head;
    s->page_size = request->page_size;
    s->opened = clock_monotonic_ms();
    s->fd = -1;
    s->body = BUF_INIT(LIMIT_DOCUMENT);
    s->link = BUF_INIT(4 * KIB);
    if ((request->artifact_type && !(s->artifact_type = strdup(request->artifact_type))) ||
        (request->last && !(s->last = strdup(request->last))))
        return -ENOMEM;
    (void)pthread_rwlock_rdlock(&m->config_lock);
    (void)read_names(s, request, m->config);
    (void)pthread_rwlock_unlock(&m->config_lock);
    *ret_session = TAKE_PTR(s);
    return 0;
}

int mirror_step(struct mirror_session *s, struct mirror_answer *ret_answer)
{
    int r = 0;
    if (!s->answered && s->trouble.status == 0) {
        switch (s->object) {
        case MIRROR_MANIFEST:
            r = step_manifest(s);
            break;
        case MIRROR_BLOB:
            r = step_blob(s);
            break;
        case MIRROR_TAGS:
            r = step_tags(s);
            break;
        case MIRROR_REFERRERS:
            r = step_referrers(s);
            break;
        }
        if (r == MIRROR_WAIT)
            return r;
        if (r < 0)
            trouble_of_failure(&s->failure, s->object, s->registry, clock_monotonic_ms(), &s->trouble);
    }
    if (!s->answered)
        (void)answer_trouble(s);
    *ret_answer = s->answer;
    return 0;
}

ssize_t mirror_read(struct mirror_session *s, uint64_t offset, void *data, size_t len)
{
    const struct mirror_answer *a = &s->answer;
    ssize_t n;
    if (a->body == MIRROR_FLIGHT)
        return flight_read(s->flight, &s->waiter, offset, data, len);
    if (len > a->size - offset)
        len = (size_t)(a->size - offset);
    if (a->body == MIRROR_MEMORY) {
        memcpy(data, (const char *)a->memory + offset, len);
        return (ssize_t)len;
    }
    do
        n = pread(a->fd, data, len, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n > 0 ? n : -EIO; /* shorter than it was published */
}

void mirror_account(const struct mirror_session *s, struct mirror_account *ret_account)
{
    unsigned requests = s->requests;
    if (s->question && s->question_is_mine)
        requests += question_requests(s->question);
    if (s->flight && s->flight_is_mine)
        requests += flight_requests(s->flight);
    *ret_account = (struct mirror_account){
        .registry = s->registry,
        .repository = s->repository,
        .outcome = s->outcome,
        .upstream_requests = requests,
    };
}

void mirror_close(struct mirror_session *s)
{
    if (!s)
        return;
    gate_forget(&s->waiter);
    question_unref(s->question);
    flight_unref(s->flight);
    document_unref(s->document);
    if (s->fd >= 0)
        (void)close(s->fd);
    buf_finish(&s->body);
    buf_finish(&s->link);
    free(s->artifact_type);
    free(s->last);
    free(s);
}
