#include "mirror/question.h"

#include "base/clock.h"
#include "mirror/listing.h"
#include "upstream/upstream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUESTIONS_BUCKETS 1024 /* a power of two */
/* A broken answer is asked for again so often, after so long (with chance in it). */
#define QUESTION_ATTEMPTS 3
#define QUESTION_PAUSE_MS 100

struct questions {
    struct questions_needs needs; /* set at create */
    pthread_mutex_t lock;
    struct question *buckets[QUESTIONS_BUCKETS]; /* under lock */
};

/* What is being asked upstream now. */
enum step {
    STEP_HEAD,     /* HEAD of the manifest or blob */
    STEP_GET,      /* GET of the manifest */
    STEP_PAGES,    /* GET of a list's page */
    STEP_FALLBACK, /* HEAD of the referrers' fallback tag */
    STEP_FALLBACK_GET,
};

struct question {
    struct work work; /* first, for the worker */
    struct questions *all;
    struct question *chain; /* under the lock of all */
    atomic_uint refs;
    atomic_uint requests;
    /* set at create */
    enum question_kind kind;
    char *registry, *repository, *reference;
    /* of whoever has the step: the upstream's thread while a job runs, a worker afterwards */
    enum step step;
    unsigned attempts, pages;
    struct buf body, query, next; /* query of the page now asked for, of the one after it */
    struct listing *listing;
    struct upstream_result result;
    char message[RECENT_MESSAGE_MAX];
    int64_t length;
    char content_type[MEDIA_TYPE_MAX];
    char digest_text[DIGEST_TEXT_MAX];
    bool has_next;
    struct digest fallback;
    /* under the gate's lock until answered, const afterwards */
    struct gate gate;
    bool answered;
    struct failure failure;
    struct pointer pointer;
    struct document *document;
    char key[]; /* set at create */
};

static const char *const kind_names[] = {"tag", "manifest", "size", "tags", "referrers"};

void question_key(const struct question_target *t, char *key)
{
    (void)snprintf(key, RECENT_KEY_MAX, "%s %s/%s:%s", kind_names[t->kind], t->registry, t->repository, t->reference);
}

int questions_create(const struct questions_needs *needs, struct questions **ret_questions)
{
    struct questions *qs = calloc(1, sizeof(*qs));
    if (!qs)
        return -ENOMEM;
    qs->needs = *needs;
    (void)pthread_mutex_init(&qs->lock, NULL);
    *ret_questions = qs;
    return 0;
}

void questions_destroy(struct questions *qs)
{
    if (!qs)
        return;
    (void)pthread_mutex_destroy(&qs->lock);
    free(qs);
}

static struct question **find(struct questions *qs, const char *key)
{
    uint64_t h = 14695981039346656037ULL; /* FNV-1a */
    for (const char *p = key; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211ULL;
    struct question **at = &qs->buckets[h & (QUESTIONS_BUCKETS - 1)];
    while (*at && strcmp((*at)->key, key) != 0)
        at = &(*at)->chain;
    return at;
}

void question_unref(struct question *q)
{
    if (!q || --q->refs > 0)
        return;
    gate_finish(&q->gate);
    document_unref(q->document);
    listing_destroy(q->listing);
    buf_finish(&q->body);
    buf_finish(&q->query);
    buf_finish(&q->next);
    free(q->registry);
    free(q->repository);
    free(q->reference);
    free(q);
}

/* --- answering ---------------------------------------------------------------------------------------------- */

/* Ends the question: whoever waits is told, whoever comes later asks anew. */
static void answer(struct question *q)
{
    struct questions *qs = q->all;
    gate_lock(&q->gate);
    q->answered = true;
    gate_wake(&q->gate);
    gate_unlock(&q->gate);
    (void)pthread_mutex_lock(&qs->lock);
    struct question **at = find(qs, q->key);
    *at = q->chain;
    (void)pthread_mutex_unlock(&qs->lock);
    question_unref(q);
}

static void fail(struct question *q, int error, const char *message)
{
    q->failure = (struct failure){.error = error, .status = q->result.status};
    (void)snprintf(q->failure.message, sizeof(q->failure.message), "%s", message);
    if (error != -ECANCELED)
        recent_note(q->all->needs.recent, q->key, &q->failure, q->result.retry_after_ms);
    answer(q);
}

static void fail_as_upstream(struct question *q)
{
    fail(q, q->result.error, q->message);
}

static void succeed(struct question *q)
{
    recent_forget(q->all->needs.recent, q->key);
    answer(q);
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

/* --- asking ------------------------------------------------------------------------------------------------- */

static size_t body_max(const struct question *q)
{
    if (q->step == STEP_PAGES)
        return q->kind == QUESTION_TAGS_LIST ? LIMIT_TAGS_BODY : LIMIT_REFERRERS_BODY;
    return LIMIT_MANIFEST;
}

static int on_head(void *arg, const struct upstream_head *head)
{
    struct question *q = arg;
    buf_reset(&q->body);
    q->length = head->length;
    (void)snprintf(q->content_type, sizeof(q->content_type), "%s", head->content_type);
    (void)snprintf(q->digest_text, sizeof(q->digest_text), "%s", head->digest);
    q->has_next = listing_next(head->link, &q->next);
    bool is_head = q->step == STEP_HEAD || q->step == STEP_FALLBACK;
    return !is_head && head->length > (int64_t)body_max(q) ? -EFBIG : 0;
}

static int on_body(void *arg, const void *data, size_t len)
{
    struct question *q = arg;
    return buf_add(&q->body, data, len);
}

static void on_done(void *arg, const struct upstream_result *result)
{
    struct question *q = arg;
    q->result = *result;
    (void)snprintf(q->message, sizeof(q->message), "%s", result->message ? result->message : "");
    q->result.message = NULL;
    q->requests += result->requests;
    workers_post(q->all->needs.workers, &q->work);
}

static const struct upstream_callbacks callbacks = {.on_head = on_head, .on_body = on_body, .on_done = on_done};

/* "sha256-<hex>", cut as the specification has it ("Referrers Tag Schema"). */
static void fallback_tag(const char *digest, char *tag)
{
    const char *colon = strchr(digest, ':');
    (void)snprintf(tag, LIMIT_TAG + 1, "%.32s-%.64s", digest, colon ? colon + 1 : "");
    for (char *p = tag; *p; p++)
        if (*p == ':') {
            *p = '-';
            break;
        }
}

/* Asks what q->step says. On failure the question is answered with it. */
static void ask(struct question *q, int64_t delay_ms)
{
    char digest[DIGEST_TEXT_MAX], tag[LIMIT_TAG + 1];
    const char *reference = q->reference;
    enum upstream_object object = UPSTREAM_MANIFEST;
    if (q->step == STEP_PAGES)
        object = q->kind == QUESTION_TAGS_LIST ? UPSTREAM_TAGS : UPSTREAM_REFERRERS;
    else if (q->kind == QUESTION_SIZE)
        object = UPSTREAM_BLOB;
    if (q->step == STEP_FALLBACK) {
        fallback_tag(q->reference, tag);
        reference = tag;
    } else if (q->step == STEP_FALLBACK_GET) {
        reference = digest_format(&q->fallback, digest);
    } else if (q->step == STEP_GET && q->kind == QUESTION_TAG && q->pointer.digest.algorithm != DIGEST_NONE) {
        reference = digest_format(&q->pointer.digest, digest);
    }
    buf_reset(&q->body);
    q->body.max = body_max(q);
    q->length = -1;
    q->content_type[0] = q->digest_text[0] = '\0';
    const struct upstream_job job = {
        .registry = q->registry,
        .repository = q->repository,
        .object = object,
        .reference = object == UPSTREAM_TAGS ? NULL : reference,
        .query = q->query.len ? q->query.data : NULL,
        .head = q->step == STEP_HEAD || q->step == STEP_FALLBACK,
        .delay_ms = delay_ms,
        .callbacks = &callbacks,
        .arg = q,
    };
    int r = upstream_submit(q->all->needs.upstream, &job);
    if (r < 0) {
        q->result = (struct upstream_result){.error = r, .retry_after_ms = -1};
        fail(q, r, r == -ECANCELED ? "shutting down" : "the upstream could not be asked");
    }
}

static void ask_next(struct question *q, enum step step)
{
    q->step = step;
    q->attempts = 0;
    buf_reset(&q->query);
    ask(q, 0);
}

/* --- reading what came -------------------------------------------------------------------------------------- */

static const char schema1[] = "application/vnd.docker.distribution.manifest.v1";

static int check_type(const char *content_type)
{
    if (strncmp(content_type, schema1, sizeof(schema1) - 1) == 0)
        return -ENOTSUP;
    return strncmp(content_type, "text/html", 9) == 0 ? -EPROTO : 0;
}

static void fail_by_type(struct question *q, int error)
{
    fail(q, error,
         error == -ENOTSUP ? "the upstream has only Docker's schema 1 of this manifest"
                           : "the upstream answered with a page instead of a manifest");
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
    if (r < 0)
        return r;
    library_add(q->all->needs.library, d, m, q->registry, q->repository);
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
    fail(q, error, message);
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
        fail_by_type(q, r);
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
    succeed(q);
}

static void read_manifest(struct question *q)
{
    if (q->result.error) {
        fail_as_upstream(q);
        return;
    }
    struct digest wanted = q->pointer.digest, actual;
    if (strchr(q->reference, ':'))
        (void)digest_parse(q->reference, strlen(q->reference), &wanted);
    int r = check_type(q->content_type);
    if (r < 0) {
        fail_by_type(q, r);
        return;
    }
    r = take_manifest(q, wanted.algorithm == DIGEST_NONE ? NULL : &wanted, &actual);
    if (r < 0) {
        fail_manifest(q, r);
        return;
    }
    q->pointer.digest = actual;
    q->pointer.size = q->document->len;
    (void)stpcpy(q->pointer.media_type, q->document->media_type);
    if (q->kind == QUESTION_TAG)
        note_pointer(q);
    succeed(q);
}

static void read_size(struct question *q)
{
    struct digest digest;
    if (q->result.error) {
        fail_as_upstream(q);
    } else if (q->length < 0) {
        fail(q, -EPROTO, "the upstream does not say how large the blob is");
    } else {
        q->pointer.size = (uint64_t)q->length;
        if (digest_parse(q->reference, strlen(q->reference), &digest) == 0)
            library_note_size(q->all->needs.library, &digest, q->pointer.size);
        succeed(q);
    }
}

/* The list is whole: it becomes a document of its own, which the pointer names. */
static void finish_list(struct question *q)
{
    AUTO_BUF struct buf text = BUF_INIT(LIMIT_DOCUMENT);
    bool is_tags = q->kind == QUESTION_TAGS_LIST;
    int r = is_tags ? listing_write_tags(q->listing, q->repository, &text) : listing_write_referrers(q->listing, &text);
    const char *type = is_tags ? MEDIA_TYPE_JSON : MEDIA_TYPE_OCI_INDEX;
    if (r == 0)
        r = digest_of(DIGEST_SHA256, text.data, text.len, &q->pointer.digest);
    if (r == 0)
        r = document_create(&q->pointer.digest, type, text.data, text.len, &q->document);
    if (r < 0) {
        fail(q, r, "the list is too long");
        return;
    }
    q->pointer.size = text.len;
    (void)stpcpy(q->pointer.media_type, type);
    library_add(q->all->needs.library, q->document, NULL, q->registry, q->repository);
    note_pointer(q);
    succeed(q);
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
    ask(q, 0);
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
        fail(q, r == -EINVAL ? -EPROTO : r, "the upstream's answer is no list of tags");
    else if (!another_page(q))
        finish_list(q);
}

/* Whatever is not an index means that the upstream has no such API (protocol.md §0.9). */
static void read_referrers_page(struct question *q)
{
    bool answered = q->result.status != 0 && q->result.error != -ECANCELED;
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
        fail(q, -EPROTO, "the upstream does not say the digest of the referrers' tag");
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

static bool is_worth_another_attempt(const struct question *q)
{
    int e = q->result.error;
    return (e == -ECONNRESET || e == -EREMOTEIO) && q->attempts + 1 < QUESTION_ATTEMPTS && q->result.retry_after_ms < 0;
}

static void read_answer(struct work *work)
{
    struct question *q = (struct question *)work;
    if (is_worth_another_attempt(q)) {
        q->attempts++;
        ask(q, QUESTION_PAUSE_MS * q->attempts + clock_monotonic_ms() % QUESTION_PAUSE_MS);
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

/* --- joining ------------------------------------------------------------------------------------------------ */

static int create(struct questions *qs, const struct question_target *t, const char *key,
                  struct question **ret_question)
{
    struct question *q = calloc(1, sizeof(*q) + strlen(key) + 1);
    if (!q)
        return -ENOMEM;
    (void)stpcpy(q->key, key);
    q->all = qs;
    q->work.run = read_answer;
    q->kind = t->kind;
    q->refs = 2; /* until it is answered, and the caller's */
    q->query = q->next = BUF_INIT(4 * KIB);
    q->registry = strdup(t->registry);
    q->repository = strdup(t->repository);
    q->reference = strdup(t->reference);
    bool is_list = t->kind == QUESTION_TAGS_LIST || t->kind == QUESTION_REFERRERS;
    q->step = is_list ? STEP_PAGES : t->kind == QUESTION_MANIFEST ? STEP_GET : STEP_HEAD;
    int r = is_list ? listing_create(&q->listing) : 0;
    gate_init(&q->gate, qs->needs.gates);
    if (r < 0 || !q->registry || !q->repository || !q->reference) {
        q->refs = 1;
        question_unref(q);
        return -ENOMEM;
    }
    *ret_question = q;
    return 0;
}

int question_join(struct questions *qs, const struct question_target *t, bool *ret_mine, struct question **ret_question)
{
    char key[RECENT_KEY_MAX];
    struct question *q;
    int r = 0;
    question_key(t, key);
    (void)pthread_mutex_lock(&qs->lock);
    struct question **at = find(qs, key);
    bool mine = !*at;
    if (mine)
        r = create(qs, t, key, at);
    else
        (*at)->refs++;
    q = *at;
    (void)pthread_mutex_unlock(&qs->lock);
    if (r < 0)
        return r;
    if (mine)
        ask(q, 0);
    *ret_mine = mine;
    *ret_question = q;
    return 0;
}

int question_wait(struct question *q, struct waiter *w, int64_t due)
{
    gate_lock(&q->gate);
    int r = q->answered ? 0 : !w || gate_wait(&q->gate, w, due) ? MIRROR_WAIT : -ECANCELED;
    gate_unlock(&q->gate);
    return r;
}

const struct failure *question_failure(const struct question *q)
{
    return &q->failure;
}

const struct pointer *question_pointer(const struct question *q)
{
    return &q->pointer;
}

struct document *question_document(const struct question *q)
{
    return q->document;
}

unsigned question_requests(const struct question *q)
{
    return q->requests;
}
