#include "mirror/seeder.h"

#include "base/clock.h"
#include "mirror/digest_set.h"
#include "mirror/session_state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FLIGHTS_MAX 64
/* Indices in indices. */
#define DEPTH_MAX 4

/* Rung when something that the thread waits for may have come. */
struct bell {
    pthread_mutex_t lock; /* a leaf: taken under gates */
    pthread_cond_t stirred;
    bool has_rung; /* under lock */
};

struct blob {
    struct digest digest;
    uint64_t size;
};

/* A flight that is followed. */
struct follower {
    struct waiter waiter;
    struct flight *flight; /* NULL: free */
    const struct blob *blob;
    uint64_t before; /* bytes that were there already */
    uint64_t written;
};

struct fetch {
    struct seeder *s;
    const struct image_name *name;
    const struct platform *platforms;
    size_t platform_count;
    struct seeder_result *result;
    struct bell bell;

    /* as the mirror says */
    char registry[LIMIT_NAME + 1], repository[LIMIT_NAME + 1];
    bool is_private, as_public, has_others;
    struct flight_rules flight_rules;

    struct digest_set seen; /* manifests and blobs that were gone through */
    struct blob *blobs;     /* that are not stored */
    size_t blob_count;
    uint32_t lacking;    /* of the platforms: those that no index has offered so far */
    bool is_by_platform; /* some index has told platforms apart */
    uint64_t bytes, missing, fetched;
    struct follower followers[FLIGHTS_MAX];
};

static void ring(void *arg)
{
    struct bell *b = arg;
    (void)pthread_mutex_lock(&b->lock);
    b->has_rung = true;
    (void)pthread_cond_signal(&b->stirred);
    (void)pthread_mutex_unlock(&b->lock);
}

/* Nothing is to be stopped: the thread looks at the bell when it has looked at everything else. */
static void suspend(void *arg)
{
    (void)arg;
}

static void silence(struct bell *b)
{
    (void)pthread_mutex_lock(&b->lock);
    b->has_rung = false;
    (void)pthread_mutex_unlock(&b->lock);
}

/* A gate rings within GATE_PATIENCE_MS, come what may. */
static void await_bell(struct bell *b)
{
    (void)pthread_mutex_lock(&b->lock);
    while (!b->has_rung)
        (void)pthread_cond_wait(&b->stirred, &b->lock);
    (void)pthread_mutex_unlock(&b->lock);
}

static int fail(struct fetch *f, int error, const char *cause)
{
    f->result->error = error;
    (void)snprintf(f->result->cause, sizeof(f->result->cause), "%s", cause);
    return error;
}

static int fail_as(struct fetch *f, const struct failure *failure)
{
    f->result->until = failure->until;
    return fail(f, failure->error, failure->message);
}

/* --- asking as a client -------------------------------------------------------------------------------------- */

/* Why a session has ended badly. */
static int fail_as_session(struct fetch *f, const struct mirror_session *s, const struct mirror_answer *a)
{
    if (s->failure.error)
        return fail_as(f, &s->failure);
    return fail(f, a->status == 404 ? -ENXIO : -EINVAL, a->error_message);
}

/* 0: answered with 200; the session is the caller's. */
static int ask(struct fetch *f, enum mirror_object object, bool head, const char *reference,
               struct mirror_session **ret_session)
{
    const struct mirror_request request = {
        .object = object,
        .head = head,
        .ns = f->name->registry,
        .name = f->name->repository,
        .reference = reference,
        .page_size = -1,
        .is_seeding = true,
        .waiter = {.suspend = suspend, .wake = ring, .arg = &f->bell},
    };
    AUTO(auto_mirror_close) struct mirror_session *s = NULL;
    struct mirror_answer answer;
    int r = mirror_open(f->s->mirror, &request, &s);
    if (r < 0)
        return fail(f, r, "no memory");
    for (;;) {
        silence(&f->bell);
        if (mirror_step(s, &answer) != MIRROR_WAIT)
            break;
        await_bell(&f->bell);
        if (seeder_is_interrupted(f->s))
            return fail(f, -ECANCELED, "interrupted");
    }
    if (answer.status != 200)
        return fail_as_session(f, s, &answer);
    *ret_session = TAKE_PTR(s);
    return 0;
}

static int ask_manifest(struct fetch *f, const char *reference, struct document **ret_document)
{
    AUTO(auto_mirror_close) struct mirror_session *s = NULL;
    int r = ask(f, MIRROR_MANIFEST, false, reference, &s);
    if (r < 0)
        return r;
    (void)stpcpy(f->registry, s->registry);
    (void)stpcpy(f->repository, s->repository);
    f->is_private = s->is_private;
    f->as_public = s->as_public;
    f->has_others = s->has_others;
    f->flight_rules = s->flight_rules;
    *ret_document = document_ref(s->document);
    return 0;
}

/* --- what there is ------------------------------------------------------------------------------------------- */

static int note_blob(struct fetch *f, const struct manifest_child *c)
{
    struct blobstore_info info;
    struct mirror *m = f->s->mirror;
    f->bytes += c->size;
    if (blobstore_stat(m->store, &c->digest, &info) == 0 &&
        privacy_allows(m->privacy, &c->digest, f->registry, f->repository))
        return 0;
    if ((f->blob_count & (f->blob_count - 1)) == 0) {
        size_t room = f->blob_count ? 2 * f->blob_count : 1;
        struct blob *more = realloc(f->blobs, room * sizeof(*more));
        if (!more)
            return fail(f, -ENOMEM, "no memory");
        f->blobs = more;
    }
    f->blobs[f->blob_count++] = (struct blob){.digest = c->digest, .size = c->size};
    f->missing += c->size;
    return 0;
}

static int walk(struct fetch *f, const struct document *d, unsigned depth);

static int walk_child(struct fetch *f, const struct digest *digest, unsigned depth)
{
    AUTO(auto_document_unref) struct document *d = NULL;
    char text[DIGEST_TEXT_MAX];
    if (digest_set_has(&f->seen, digest))
        return 0;
    int r = ask_manifest(f, digest_format(digest, text), &d);
    return r == 0 ? walk(f, d, depth) : r;
}

static int walk_index(struct fetch *f, const struct manifest *m, unsigned depth)
{
    const struct manifest_child *best[SEED_PLATFORMS_MAX];
    uint32_t lacking = 0;
    int r = 0;
    manifest_choose(m, f->platforms, f->platform_count, best);
    for (size_t i = 0; i < f->platform_count; i++)
        lacking |= best[i] ? 0 : 1U << i;
    if (manifest_is_by_platform(m)) {
        f->lacking = f->is_by_platform ? f->lacking & lacking : lacking;
        f->is_by_platform = true;
    }
    for (size_t i = 0; r == 0 && i < m->child_count; i++)
        if (manifest_is_needed(&m->children[i], best, f->platform_count))
            r = walk_child(f, &m->children[i].digest, depth + 1);
    return r;
}

static int walk(struct fetch *f, const struct document *d, unsigned depth)
{
    AUTO(auto_manifest_destroy) struct manifest *m = NULL;
    int r = digest_set_add(&f->seen, &d->digest);
    if (r == 0)
        r = manifest_parse(d->data, d->len, &m);
    if (r != 0)
        return r == -EEXIST ? 0 : fail(f, r, "its manifest cannot be read");
    if (m->child_count > 0 && m->children[0].is_manifest)
        return depth < DEPTH_MAX ? walk_index(f, m, depth) : fail(f, -EFBIG, "its indexes are too deep");
    for (size_t i = 0; r == 0 && i < m->child_count; i++) {
        if (m->children[i].is_elsewhere)
            continue;
        r = digest_set_add(&f->seen, &m->children[i].digest);
        r = r == -EEXIST ? 0 : r < 0 ? fail(f, r, "no memory") : note_blob(f, &m->children[i]);
    }
    return r;
}

/* --- blobs --------------------------------------------------------------------------------------------------- */

/* What is stored, but was not shown under this name. */
static int prove(struct fetch *f, const struct digest *digest)
{
    AUTO(auto_mirror_close) struct mirror_session *s = NULL;
    char text[DIGEST_TEXT_MAX];
    return ask(f, MIRROR_BLOB, true, digest_format(digest, text), &s);
}

static struct follower *free_follower(struct fetch *f, size_t most)
{
    for (size_t i = 0; i < most; i++)
        if (!f->followers[i].flight)
            return &f->followers[i];
    return NULL;
}

/* 0: it is under way. -EEXIST: it is stored. */
static int start(struct fetch *f, const struct blob *blob, struct follower *w)
{
    const struct flight_target target = {
        .registry = f->registry,
        .repository = f->repository,
        .digest = &blob->digest,
        .is_private = f->is_private,
        .as_public = f->as_public,
        .has_others = f->has_others,
        .rules = f->flight_rules,
    };
    struct failure failure;
    char key[RECENT_KEY_MAX];
    bool mine;
    *w = (struct follower){.blob = blob, .waiter = {.call = {.suspend = suspend, .wake = ring, .arg = &f->bell}}};
    int r;
    flight_key(&target, key);
    do {
        if (recent_get(f->s->mirror->recent, key, &failure))
            return fail_as(f, &failure);
        r = flight_join(f->s->mirror->flights, &target, &mine, &w->flight);
    } while (r == -EALREADY);
    if (r == -EEXIST)
        return privacy_allows(f->s->mirror->privacy, &blob->digest, f->registry, f->repository) ? r
               : prove(f, &blob->digest) < 0                                                    ? f->result->error
                                                                                                : -EEXIST;
    return r < 0 ? fail(f, r, r == -EBUSY ? "its blob is being written" : "the store cannot take its blob") : 0;
}

static void leave(struct follower *w)
{
    gate_forget(&w->waiter);
    flight_unref(TAKE_PTR(w->flight));
}

static void tell_progress(struct fetch *f)
{
    uint64_t coming = 0;
    for (size_t i = 0; i < FLIGHTS_MAX; i++)
        coming += f->followers[i].flight ? f->followers[i].written : 0;
    seeder_note_progress(f->s, f->bytes, f->missing, f->fetched + coming);
}

/* 0: as far as can be seen now. */
static int follow(struct fetch *f, struct follower *w, size_t *under_way)
{
    struct blobstore_info info;
    struct failure failure;
    gate_forget(&w->waiter);
    int r = flight_wait_end(w->flight, &w->waiter, &w->written, &failure);
    *under_way += r == MIRROR_WAIT;
    if (r == MIRROR_WAIT)
        return 0;
    bool is_stored = r == 0 && blobstore_stat(f->s->mirror->store, &w->blob->digest, &info) == 0;
    f->fetched += r == 0 ? w->blob->size : w->written;
    leave(w);
    if (r == -ECANCELED)
        return fail(f, r, "interrupted");
    if (r < 0)
        return fail_as(f, &failure);
    return is_stored ? 0 : fail(f, -EIO, "its blob could not be stored");
}

static int fetch_blobs(struct fetch *f, size_t most)
{
    size_t next = 0, under_way;
    do {
        struct follower *w;
        int r = 0;
        silence(&f->bell);
        while (r == 0 && next < f->blob_count && (w = free_follower(f, most))) {
            r = start(f, &f->blobs[next++], w);
            r = r == -EEXIST ? 0 : r;
        }
        under_way = 0;
        for (size_t i = 0; r == 0 && i < most; i++)
            if (f->followers[i].flight)
                r = follow(f, &f->followers[i], &under_way);
        tell_progress(f);
        if (r == 0 && seeder_is_interrupted(f->s))
            r = fail(f, -ECANCELED, "interrupted");
        if (r < 0)
            return r;
        if (under_way > 0)
            await_bell(&f->bell);
    } while (under_way > 0 || next < f->blob_count);
    return 0;
}

/* --- the whole ----------------------------------------------------------------------------------------------- */

static void begin(struct fetch *f, struct seeder *s, const struct image_name *name, struct seeder_result *result)
{
    *f = (struct fetch){.s = s, .name = name, .result = result};
    *result = (struct seeder_result){.error = 0};
    (void)pthread_mutex_init(&f->bell.lock, NULL);
    (void)pthread_cond_init(&f->bell.stirred, NULL);
}

static void finish(struct fetch *f)
{
    for (size_t i = 0; i < FLIGHTS_MAX; i++)
        if (f->followers[i].flight)
            leave(&f->followers[i]);
    digest_set_finish(&f->seen);
    free(f->blobs);
    (void)pthread_cond_destroy(&f->bell.stirred);
    (void)pthread_mutex_destroy(&f->bell.lock);
}

/* Where some of the platforms are not offered, that is no failure, but for all of them. */
static int judge_platforms(struct fetch *f)
{
    char text[PLATFORM_TEXT_MAX];
    size_t lacking = 0, len = 0;
    char *cause = f->result->cause;
    for (size_t i = 0; f->is_by_platform && i < f->platform_count; i++)
        if (f->lacking & 1U << i) {
            int n = snprintf(cause + len, sizeof(f->result->cause) - len, "%s%s",
                             lacking ? ", " : "it is not made for ", platform_format(&f->platforms[i], text));
            len += n > 0 && (size_t)n < sizeof(f->result->cause) - len ? (size_t)n : 0;
            lacking++;
        }
    return lacking > 0 && lacking == f->platform_count ? f->result->error = -ENODATA : 0;
}

static unsigned max_flights(struct mirror *m)
{
    (void)pthread_rwlock_rdlock(&m->config_lock);
    unsigned most = m->config->seeding.max_flights;
    (void)pthread_rwlock_unlock(&m->config_lock);
    return most < 1 ? 1 : most > FLIGHTS_MAX ? FLIGHTS_MAX : most;
}

void seeder_fetch(struct seeder *s, const struct image_name *name, const struct platform *platforms,
                  size_t platform_count, struct seeder_result *result)
{
    AUTO(auto_document_unref) struct document *d = NULL;
    struct fetch *f = malloc(sizeof(*f));
    if (!f) {
        *result = (struct seeder_result){.error = -ENOMEM, .cause = "no memory"};
        return;
    }
    begin(f, s, name, result);
    f->platforms = platforms;
    f->platform_count = platform_count;
    int r = ask_manifest(f, name->digest[0] ? name->digest : name->tag, &d);
    if (r == 0)
        r = walk(f, d, 0);
    if (r == 0) {
        tell_progress(f);
        r = fetch_blobs(f, max_flights(s->mirror));
    }
    if (r == 0)
        (void)judge_platforms(f);
    result->bytes = f->bytes;
    result->fetched = f->fetched;
    finish(f);
    free(f);
}

void seeder_fetch_tags(struct seeder *s, const struct image_name *name, struct document **ret_document,
                       struct seeder_result *result)
{
    AUTO(auto_mirror_close) struct mirror_session *session = NULL;
    struct fetch *f = malloc(sizeof(*f));
    if (!f) {
        *result = (struct seeder_result){.error = -ENOMEM, .cause = "no memory"};
        return;
    }
    begin(f, s, name, result);
    if (ask(f, MIRROR_TAGS, false, NULL, &session) == 0)
        *ret_document = document_ref(session->document);
    mirror_close(TAKE_PTR(session)); /* its waiter rings the bell */
    finish(f);
    free(f);
}
