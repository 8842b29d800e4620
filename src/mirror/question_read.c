#include "mirror/question_state.h"

#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* A broken answer is asked for again so often, after so long (with chance in it). */
#define QUESTION_ATTEMPTS 3
#define QUESTION_PAUSE_MS 100

/* Another attempt may go better, as opposed to a status by which an upstream says that it has no such thing. */
static bool is_broken(int status)
{
    return status >= 500 && status != 501;
}

static void fail_as_upstream(struct question *q)
{
    question_fail(q, q->result.error, q->message);
}

static enum pointer_kind pointer_kind(const struct question *q)
{
    return q->kind == QUESTION_TAG         ? POINTER_TAG
           : q->kind == QUESTION_TAGS_LIST ? POINTER_TAGS_LIST
                                           : POINTER_REFERRERS;
}

/* What was learned about a name is noted for everybody; of a digest there is nothing to note. */
static void note_pointer(struct question *q)
{
    struct pointer_key key;
    if (q->kind == QUESTION_TAG && strchr(q->reference, ':'))
        return;
    q->pointer.checked_at = clock_real_ms();
    pointer_key_make(&key, q->registry, q->repository, pointer_kind(q), q->reference);
    pointers_put(q->all->needs.pointers, &key, &q->pointer);
}

static void ask_next(struct question *q, enum step step)
{
    q->step = step;
    q->attempts = 0;
    buf_reset(&q->query);
    question_ask(q, 0);
}

static const char schema1[] = "application/vnd.docker.distribution.manifest.v1";

static int check_type(const char *content_type)
{
    if (strncmp(content_type, schema1, sizeof(schema1) - 1) == 0)
        return -ENOTSUP;
    return strncmp(content_type, "text/html", 9) == 0 ? -EPROTO : 0;
}

/* A wrong manifest of one source may be right at another. */
static bool try_elsewhere(struct question *q, int error)
{
    if (!q->has_others || (error != -EBADMSG && error != -EPROTO) || q->result.source >= 32 ||
        q->avoid & 1U << q->result.source)
        return false;
    q->avoid |= 1U << q->result.source;
    q->wrong = error;
    question_ask(q, 0);
    return true;
}

/* A page, or what is not supported. */
static void refuse_type(struct question *q, int error)
{
    if (try_elsewhere(q, error))
        return;
    question_fail(q, error,
                  error == -ENOTSUP ? "the upstream has only Docker's schema 1 of this manifest"
                                    : "the upstream answered with a page instead of a manifest");
}

/* Nobody may find under another name what only this repository's friends may see. */
static int keep_private(struct question *q, const struct digest *digest)
{
    struct privacy *p = q->all->needs.privacy;
    if (q->is_private)
        return privacy_link(p, digest, q->registry, q->repository);
    privacy_publish(p, digest);
    return 0;
}

/* Whoever has asked for a manifest asks for its blobs next. The manifests of an index are other platforms'. */
static void prefetch(struct question *q, const struct manifest *m)
{
    struct flight_target target = {.registry = q->registry,
                                   .repository = q->repository,
                                   .is_private = q->is_private,
                                   .as_public = q->as_public,
                                   .has_others = q->has_others,
                                   .rules = q->flight_rules};
    for (size_t i = 0; m && q->prefetch > 0 && i < m->child_count; i++) {
        const struct manifest_child *c = &m->children[i];
        target.digest = &c->digest;
        if (!c->is_manifest && !c->is_elsewhere && c->size > 0)
            flight_prefetch(q->all->needs.flights, &target, q->prefetch);
    }
}

/* The body is the manifest with this digest, or any when `digest` is NULL: then it must read like one. */
static int take_manifest(struct question *q, const struct digest *digest, struct digest *ret_digest)
{
    struct digest actual;
    int r =
        digest_of(digest ? digest->algorithm : DIGEST_SHA256, q->body.data ? q->body.data : "", q->body.len, &actual);
    if (r == 0 && digest && !digest_equal(&actual, digest))
        r = -EBADMSG;
    if (r < 0)
        return r;
    AUTO(auto_manifest_destroy) struct manifest *m = NULL;
    r = manifest_parse(q->body.data ? q->body.data : "", q->body.len, &m);
    if (r == -ENOTSUP || r == -ENOMEM || (r < 0 && !digest))
        return r == -EINVAL ? -EPROTO : r;
    const char *type = media_type_is_manifest(q->content_type) ? q->content_type : m ? m->media_type : NULL;
    if (!type)
        return -EPROTO;
    AUTO(auto_document_unref) struct document *d = NULL;
    r = document_create(&actual, type, q->body.data, q->body.len, &d);
    if (r == 0)
        r = keep_private(q, &actual);
    if (r < 0)
        return r;
    library_add(q->all->needs.library, d, m, q->registry, q->repository);
    prefetch(q, m);
    q->document = TAKE_PTR(d);
    *ret_digest = actual;
    return 0;
}

static void fail_manifest(struct question *q, int error)
{
    const char *message = error == -EBADMSG   ? "the upstream's manifest does not have the digest it should have"
                          : error == -ENOTSUP ? "the upstream has only Docker's schema 1 of this manifest"
                          : error == -EPROTO  ? "the upstream's answer is no manifest"
                                              : "no memory for the manifest";
    question_fail(q, error, message);
}

/* Whether the name stands for something else than before, and what it stood for can still be served. */
static bool would_replace(struct question *q)
{
    struct pointer_key key;
    struct pointer old;
    pointer_key_make(&key, q->registry, q->repository, POINTER_TAG, q->reference);
    return pointers_get(q->all->needs.pointers, &key, &old) == 0 && !digest_equal(&old.digest, &q->pointer.digest) &&
           library_has(q->all->needs.library, &old.digest);
}

static void read_tag_head(struct question *q)
{
    if (q->result.status == 405 || q->result.status == 501) {
        ask_next(q, STEP_GET);
        return;
    }
    int r = q->result.error ? 0 : check_type(q->content_type);
    if (q->result.error) {
        fail_as_upstream(q);
        return;
    }
    if (r < 0) {
        refuse_type(q, r);
        return;
    }
    if (digest_parse(q->digest_text, strlen(q->digest_text), &q->pointer.digest) < 0 ||
        !media_type_is_manifest(q->content_type)) {
        q->pointer.digest = (struct digest){.algorithm = DIGEST_NONE};
        ask_next(q, STEP_GET); /* protocol.md §2: without a digest there is only the counted GET */
        return;
    }
    (void)stpcpy(q->pointer.media_type, q->content_type);
    q->pointer.size = q->length > 0 ? (uint64_t)q->length : 0;
    /* What is announced must also be had before what is stored is given up for it. */
    if (!strchr(q->reference, ':') && would_replace(q) && !library_has(q->all->needs.library, &q->pointer.digest)) {
        ask_next(q, STEP_GET);
        return;
    }
    note_pointer(q);
    question_succeed(q);
}

static void read_manifest(struct question *q)
{
    struct digest wanted, actual;
    if (digest_parse(q->reference, strlen(q->reference), &wanted) < 0)
        wanted = q->pointer.digest;
    if (q->result.error == -ENOENT && q->kind == QUESTION_TAG && q->pointer.digest.algorithm != DIGEST_NONE) {
        question_fail(q, -EREMOTEIO, "the upstream announces a manifest that it does not have");
        return;
    }
    if (q->result.error) {
        fail_as_upstream(q);
        return;
    }
    int r = check_type(q->content_type);
    if (r < 0) {
        refuse_type(q, r);
        return;
    }
    r = take_manifest(q, wanted.algorithm == DIGEST_NONE ? NULL : &wanted, &actual);
    if (r < 0) {
        if (!try_elsewhere(q, r))
            fail_manifest(q, r);
        return;
    }
    q->pointer.digest = actual;
    q->pointer.size = q->document->len;
    (void)stpcpy(q->pointer.media_type, q->document->media_type);
    if (q->kind == QUESTION_TAG)
        note_pointer(q);
    question_succeed(q);
}

static void read_size(struct question *q)
{
    struct digest digest;
    if (q->result.error) {
        fail_as_upstream(q);
    } else if (check_type(q->content_type) < 0) {
        question_fail(q, -EPROTO, "the upstream answered with a page instead of a blob");
    } else if (q->length < 0) {
        question_fail(q, -EPROTO, "the upstream does not say how large the blob is");
    } else {
        q->pointer.size = (uint64_t)q->length;
        if (digest_parse(q->reference, strlen(q->reference), &digest) == 0)
            library_note_size(q->all->needs.library, &digest, q->pointer.size);
        question_succeed(q);
    }
}

/* A tag that is listed is there, however short ago it was not. */
static void forget_absence(void *arg, const char *tag)
{
    const struct question *q = arg;
    const struct question_target target = {.kind = QUESTION_TAG,
                                           .registry = q->registry,
                                           .repository = q->repository,
                                           .reference = tag,
                                           .as_public = q->as_public};
    char key[RECENT_KEY_MAX];
    struct failure failure;
    question_key(&target, key);
    if (recent_get(q->all->needs.recent, key, &failure) && failure_is_absence(&failure))
        recent_forget(q->all->needs.recent, key);
}

/* The list is whole: it becomes a document of its own, which the pointer names. */
static void finish_list(struct question *q)
{
    AUTO_BUF struct buf text = BUF_INIT(LIMIT_DOCUMENT);
    bool is_tags = q->kind == QUESTION_TAGS_LIST;
    int r = is_tags ? listing_write_tags(q->listing, q->repository, &text) : listing_write_referrers(q->listing, &text);
    const char *type = is_tags ? MEDIA_TYPE_JSON : MEDIA_TYPE_OCI_INDEX;
    if (is_tags)
        listing_each_tag(q->listing, forget_absence, q);
    if (r == 0)
        r = digest_of(DIGEST_SHA256, text.data, text.len, &q->pointer.digest);
    if (r == 0)
        r = keep_private(q, &q->pointer.digest);
    if (r == 0)
        r = document_create(&q->pointer.digest, type, text.data, text.len, &q->document);
    if (r < 0) {
        question_fail(q, r, "the list is too long");
        return;
    }
    q->pointer.size = text.len;
    (void)stpcpy(q->pointer.media_type, type);
    library_add(q->all->needs.library, q->document, NULL, q->registry, q->repository);
    note_pointer(q);
    question_succeed(q);
}

static bool another_page(struct question *q)
{
    unsigned most = q->kind == QUESTION_TAGS_LIST ? LIMIT_TAGS_PAGES : LIMIT_REFERRERS_PAGES;
    if (!q->has_next || ++q->pages >= most)
        return false;
    struct buf now = q->query;
    q->query = q->next;
    q->next = now;
    q->attempts = 0;
    question_ask(q, 0);
    return true;
}

static void read_tags_page(struct question *q)
{
    if (q->result.error) {
        fail_as_upstream(q);
        return;
    }
    int r = listing_add_tags(q->listing, q->body.data ? q->body.data : "", q->body.len);
    if (r < 0)
        question_fail(q, r == -EINVAL ? -EPROTO : r, "the upstream's answer is no list of tags");
    else if (!another_page(q))
        finish_list(q);
}

/* Whatever is not an index means that the upstream has no such API (protocol.md §0.9), unless it is broken: then nobody
 * knows who refers to it. */
static void read_referrers_page(struct question *q)
{
    bool answered = q->result.status != 0 && !is_broken(q->result.status) && q->result.error != -ECANCELED;
    bool has_api = q->result.error == 0 && strcmp(q->content_type, MEDIA_TYPE_OCI_INDEX) == 0;
    if (has_api && listing_add_referrers(q->listing, q->body.data ? q->body.data : "", q->body.len) == 0) {
        if (!another_page(q))
            finish_list(q);
    } else if (answered) {
        ask_next(q, STEP_FALLBACK);
    } else {
        fail_as_upstream(q);
    }
}

static void read_fallback_head(struct question *q)
{
    if (q->result.error == -ENOENT)
        finish_list(q); /* nobody refers to it */
    else if (q->result.error)
        fail_as_upstream(q);
    else if (digest_parse(q->digest_text, strlen(q->digest_text), &q->fallback) < 0)
        question_fail(q, -EPROTO, "the upstream does not say the digest of the referrers' tag");
    else
        ask_next(q, STEP_FALLBACK_GET);
}

static void read_fallback(struct question *q)
{
    struct digest actual;
    if (q->result.error) {
        fail_as_upstream(q);
        return;
    }
    int r = digest_of(q->fallback.algorithm, q->body.data ? q->body.data : "", q->body.len, &actual);
    if (r == 0 && !digest_equal(&actual, &q->fallback))
        r = -EBADMSG;
    if (r == 0)
        r = listing_add_referrers(q->listing, q->body.data ? q->body.data : "", q->body.len);
    if (r < 0)
        fail_manifest(q, r == -EINVAL ? -EPROTO : r);
    else
        finish_list(q);
}

/* An anonymous look at the repository. That something is not there says nothing about who may see the rest. */
static void read_seen(struct question *q)
{
    struct visibilities *v = q->all->needs.visibilities;
    if (q->result.error == 0 && !q->result.unsure && q->kind == QUESTION_PUBLIC)
        visibility_note(v, q->registry, q->repository, VISIBILITY_PUBLIC);
    else if (q->result.error == -EACCES && q->kind == QUESTION_PUBLIC)
        visibility_note(v, q->registry, q->repository, VISIBILITY_PRIVATE);
    if (q->result.error)
        fail_as_upstream(q);
    else
        question_succeed(q);
}

static bool is_worth_another_attempt(const struct question *q)
{
    int e = q->result.error;
    return (e == -ECONNRESET || (e == -EREMOTEIO && is_broken(q->result.status))) &&
           q->attempts + 1 < QUESTION_ATTEMPTS && q->result.retry_after_ms < 0;
}

void question_read(struct work *work)
{
    struct question *q = (struct question *)work;
    if (is_worth_another_attempt(q)) {
        q->attempts++;
        question_ask(q, QUESTION_PAUSE_MS * q->attempts + clock_monotonic_ms() % QUESTION_PAUSE_MS);
        return;
    }
    if (q->result.error == -EAGAIN && q->class < q->asked_as) { /* what was spent is spent for a lower class */
        question_ask(q, 0);
        return;
    }
    if (q->kind == QUESTION_PUBLIC || q->kind == QUESTION_LOGIN) {
        read_seen(q);
        return;
    }
    if (q->wrong && q->result.error && q->result.source == UINT_MAX) { /* nobody else is left */
        fail_manifest(q, q->wrong);
        return;
    }
    switch (q->step) {
    case STEP_HEAD:
        q->kind == QUESTION_SIZE ? read_size(q) : read_tag_head(q);
        break;
    case STEP_GET:
        read_manifest(q);
        break;
    case STEP_PAGES:
        q->kind == QUESTION_TAGS_LIST ? read_tags_page(q) : read_referrers_page(q);
        break;
    case STEP_FALLBACK:
        read_fallback_head(q);
        break;
    case STEP_FALLBACK_GET:
        read_fallback(q);
        break;
    }
}
