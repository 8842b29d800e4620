#include "mirror/question_state.h"

#include "base/clock.h"
#include "base/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {"tag", "manifest", "size", "tags", "referrers", "login", "public"};

void question_key(const struct question_target *t, char *key)
{
    /* Before what may be cut off: accounts must not share an answer, nor have it with those who have none. */
    (void)snprintf(key, RECENT_KEY_MAX, "%s%s%s %s/%s:%s", t->as_public ? "-" : "", kind_names[t->kind],
                   t->login_key ? t->login_key : "", t->registry, t->repository, t->reference);
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

static struct question *find(const struct questions *qs, const char *key)
{
    struct question *q;
    HASH_FIND_STR(qs->questions, key, q);
    if (!q)
        HASH_FIND(by_digest, qs->fetching, key, strlen(key), q);
    return q;
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
    if (q->login)
        explicit_bzero(q->login, strlen(q->login));
    free(q->login);
    free(q->registry);
    free(q->repository);
    free(q->reference);
    free(q->digest_key);
    free(q);
}

/* --- answering ---------------------------------------------------------------------------------------------- */

/* Ends the question: whoever comes later asks anew, whoever waits is told. In that order: who has been told and asks
 * again at once must not be answered with what was true before he asked. */
static void answer(struct question *q)
{
    struct questions *qs = q->all;
    (void)pthread_mutex_lock(&qs->lock);
    HASH_DEL(qs->questions, q);
    if (q->digest_key)
        HASH_DELETE(by_digest, qs->fetching, q);
    (void)pthread_mutex_unlock(&qs->lock);
    gate_lock(&q->gate);
    q->answered = true;
    gate_wake(&q->gate);
    gate_unlock(&q->gate);
    question_unref(q);
}

/* Until what is left to seeding may be more. */
static int64_t seeding_pause_ms(const struct question *q)
{
    return q->result.retry_after_ms > CLOCK_SECOND ? q->result.retry_after_ms : CLOCK_SECOND;
}

void question_fail(struct question *q, int error, const char *message)
{
    q->failure = (struct failure){.error = error, .status = q->result.status};
    (void)snprintf(q->failure.message, sizeof(q->failure.message), "%s", message);
    if (error == -EAGAIN && q->asked_as == UPSTREAM_SEEDING)
        q->failure.until = clock_monotonic_ms() + seeding_pause_ms(q); /* others may have it at once */
    else if (error != -ECANCELED)
        recent_note(q->all->needs.recent, q->key, &q->failure, q->result.retry_after_ms);
    answer(q);
}

void question_succeed(struct question *q)
{
    recent_forget(q->all->needs.recent, q->key);
    answer(q);
}

/* --- asking ------------------------------------------------------------------------------------------------- */

static size_t body_max(const struct question *q)
{
    if (q->step == STEP_PAGES)
        return q->kind == QUESTION_REFERRERS ? LIMIT_REFERRERS_BODY : LIMIT_TAGS_BODY;
    return LIMIT_MANIFEST;
}

static void set_feed(struct question *q, enum feed feed)
{
    gate_lock(&q->gate);
    q->feed = feed;
    if (feed != FEED_UPSTREAM)
        gate_wake(&q->gate); /* siblings do not wait for siblings */
    gate_unlock(&q->gate);
}

static void on_source(void *arg, bool sibling)
{
    set_feed(arg, sibling ? FEED_ASKED : FEED_UPSTREAM);
}

static int on_head(void *arg, const struct upstream_head *head)
{
    struct question *q = arg;
    q->of_sibling = head->sibling;
    set_feed(q, head->sibling ? FEED_SIBLING : FEED_UPSTREAM);
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

/* A GET of a manifest that a pull limit counts. */
static bool is_spent(const struct question *q, const struct upstream_result *result)
{
    bool is_get = q->step == STEP_GET || q->step == STEP_FALLBACK_GET;
    return is_get && !q->of_sibling && (result->status == 200 || result->status == 404);
}

static void note_spender(const struct question *q)
{
    char name[SPENDER_NAME_MAX];
    (void)snprintf(name, sizeof(name), "%s/%s", q->registry, q->repository);
    spenders_note(q->all->needs.spenders, SPENDER_REPOSITORY, name);
    spenders_note(q->all->needs.spenders, SPENDER_CLIENT, q->client);
}

static void on_done(void *arg, const struct upstream_result *result)
{
    struct question *q = arg;
    if (is_spent(q, result))
        note_spender(q);
    q->result = *result;
    (void)snprintf(q->message, sizeof(q->message), "%s", result->message ? result->message : "");
    q->result.message = NULL;
    q->requests += result->requests;
    workers_post(q->all->needs.workers, &q->work);
}

static const struct upstream_callbacks callbacks = {
    .on_source = on_source, .on_head = on_head, .on_body = on_body, .on_done = on_done};

/* "sha256-<hex>", cut as the specification has it ("Referrers Tag Schema"). */
static void fallback_tag(const char *digest, char *tag)
{
    int algorithm = (int)strcspn(digest, ":");
    (void)snprintf(tag, LIMIT_TAG + 1, "%.*s-%.64s", algorithm < 32 ? algorithm : 32, digest, digest + algorithm + 1);
}

/* The question of a tag goes on to fetch a manifest: who asks for that by its digest, a sibling for one, comes along.
 * Without memory he asks for himself. */
static void offer_manifest(struct question *q, const char *digest)
{
    struct questions *qs = q->all;
    const struct question_target target = {.kind = QUESTION_MANIFEST,
                                           .registry = q->registry,
                                           .repository = q->repository,
                                           .reference = digest,
                                           .as_public = q->as_public};
    char key[RECENT_KEY_MAX];
    question_key(&target, key);
    (void)pthread_mutex_lock(&qs->lock);
    if (!q->digest_key && !find(qs, key) && (q->digest_key = strdup(key))) {
        HASH_ADD_KEYPTR(by_digest, qs->fetching, q->digest_key, strlen(q->digest_key), q);
        if (!q->by_digest.tbl)
            free(TAKE_PTR(q->digest_key));
    }
    (void)pthread_mutex_unlock(&qs->lock);
}

/* Asks what q->step says. On failure the question is answered with it. */
void question_ask(struct question *q, int64_t delay_ms)
{
    char digest[DIGEST_TEXT_MAX], tag[LIMIT_TAG + 1];
    const char *reference = q->reference;
    enum upstream_object object = UPSTREAM_MANIFEST;
    if (q->step == STEP_PAGES)
        object = q->kind == QUESTION_REFERRERS ? UPSTREAM_REFERRERS : UPSTREAM_TAGS;
    else if (q->kind == QUESTION_SIZE || q->of_blob)
        object = UPSTREAM_BLOB;
    if (q->step == STEP_FALLBACK) {
        fallback_tag(q->reference, tag);
        reference = tag;
    } else if (q->step == STEP_FALLBACK_GET) {
        reference = digest_format(&q->fallback, digest);
    } else if (q->step == STEP_GET && q->kind == QUESTION_TAG && q->pointer.digest.algorithm != DIGEST_NONE) {
        reference = digest_format(&q->pointer.digest, digest);
        offer_manifest(q, reference);
    }
    buf_reset(&q->body);
    q->of_sibling = false;
    q->body.max = body_max(q);
    q->length = -1;
    q->content_type[0] = q->digest_text[0] = '\0';
    q->asked_as = q->class;
    const struct upstream_job job = {
        .registry = q->registry,
        .repository = q->repository,
        .object = object,
        .reference = object == UPSTREAM_TAGS ? NULL : reference,
        .query = q->query.len ? q->query.data : NULL,
        .head = q->step == STEP_HEAD || q->step == STEP_FALLBACK,
        .class = q->asked_as,
        .look = q->kind == QUESTION_PUBLIC,
        .as_public = q->as_public,
        .login = q->login,
        .avoid = q->avoid,
        .delay_ms = delay_ms,
        .callbacks = &callbacks,
        .arg = q,
    };
    int r = upstream_submit(q->all->needs.upstream, &job);
    if (r < 0) {
        q->result = (struct upstream_result){.error = r, .retry_after_ms = -1};
        question_fail(q, r, r == -ECANCELED ? "shutting down" : "the upstream could not be asked");
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
    q->work.run = question_read;
    q->kind = t->kind;
    q->of_blob = t->of_blob;
    q->class = t->class;
    q->is_private = t->is_private;
    q->as_public = t->as_public;
    q->has_others = t->has_others;
    q->prefetch = t->prefetch;
    q->flight_rules = t->flight_rules;
    (void)snprintf(q->client, sizeof(q->client), "%s", t->client ? t->client : "");
    q->refs = 2; /* until it is answered, and the caller's */
    q->query = q->next = BUF_INIT(4 * KIB);
    q->registry = strdup(t->registry);
    q->repository = strdup(t->repository);
    q->reference = strdup(t->reference);
    q->login = t->login ? strdup(t->login) : NULL;
    bool is_list = t->kind == QUESTION_TAGS_LIST || t->kind == QUESTION_REFERRERS;
    bool asks_pages = is_list || ((t->kind == QUESTION_PUBLIC || t->kind == QUESTION_LOGIN) && !*t->reference);
    q->step = asks_pages ? STEP_PAGES : t->kind == QUESTION_MANIFEST ? STEP_GET : STEP_HEAD;
    int r = is_list ? listing_create(&q->listing) : 0;
    gate_init(&q->gate, qs->needs.gates);
    if (r == 0 && q->registry && q->repository && q->reference && (!t->login || q->login))
        HASH_ADD_STR(qs->questions, key, q);
    if (!TABLE_HAS(q)) {
        q->refs = 1;
        question_unref(q);
        return -ENOMEM;
    }
    *ret_question = q;
    return 0;
}

struct question *question_find(struct questions *qs, const struct question_target *t)
{
    char key[RECENT_KEY_MAX];
    question_key(t, key);
    (void)pthread_mutex_lock(&qs->lock);
    struct question *q = find(qs, key);
    if (q)
        q->refs++;
    (void)pthread_mutex_unlock(&qs->lock);
    return q;
}

/* Under the lock: who is more urgent is not to be refused what is left for him. */
static void join(struct question *q, const struct question_target *t)
{
    q->refs++;
    if (t->class < q->class)
        q->class = t->class;
}

int question_join(struct questions *qs, const struct question_target *t, bool *ret_mine, struct question **ret_question)
{
    char key[RECENT_KEY_MAX];
    struct failure failure;
    int r = 0;
    question_key(t, key);
    (void)pthread_mutex_lock(&qs->lock);
    struct question *q = find(qs, key);
    bool mine = !q;
    if (!mine)
        join(q, t);
    else if (recent_get(qs->needs.recent, key, &failure))
        r = -EALREADY;
    else
        r = create(qs, t, key, &q);
    (void)pthread_mutex_unlock(&qs->lock);
    if (r < 0)
        return r;
    if (mine) {
        metrics_add(METRIC_QUESTIONS, 1, LABELS(t->registry, kind_names[t->kind]));
        question_ask(q, 0);
    }
    *ret_mine = mine;
    *ret_question = q;
    return 0;
}

int question_wait(struct question *q, enum asker asker, struct waiter *w, int64_t due)
{
    gate_lock(&q->gate);
    int r = q->answered                            ? 0
            : feed_may_be_circular(q->feed, asker) ? -ESTALE
            : !w || gate_wait(&q->gate, w, due)    ? MIRROR_WAIT
                                                   : -ECANCELED;
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

bool question_is_unsure(const struct question *q)
{
    return q->result.unsure;
}

unsigned question_requests(const struct question *q)
{
    return q->requests;
}
