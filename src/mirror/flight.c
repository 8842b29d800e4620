/*
 * The life of a flight
 *
 *   state       what happens                                  who moves it on
 *   SIZING      HEAD: nobody has said how large the blob is   upstream thread: SIZED or FAILED
 *   ASKING      GET submitted, also again after a break       upstream thread: on_head
 *   STREAMING   bytes come; readers follow                    upstream thread: on_done → ASKING, VERIFYING, ENDING
 *   VERIFYING   every byte is there, the hash is not          a worker
 *   LANDING     right; the keeper publishes                   keeper
 *   ENDING      failed; the keeper closes the partial file    keeper
 *   GONE        out of the table; readers may still hold it   last reference
 *
 * One of them has the flight at a time: the upstream's thread while a job is under way, then a worker, then the keeper.
 * The hash is the exception, it follows the bytes in a worker while they still come (`hash` below is the worker's own).
 *
 * Bytes that readers may have: none until the size is known; all of them once the digest matched; of a blob of up to
 * FLIGHT_WHOLE none before that; else what is in the file, less FLIGHT_HOLD_BACK at the end of the blob.
 */
#include "mirror/flight.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "upstream/upstream.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLIGHTS_BUCKETS 1024 /* a power of two */
#define HASH_BLOCK (256 * KIB)
/* A worker hashes so much, then others have their turn. */
#define HASH_TURN (8 * MIB)

/* After the first break it asks again at once, then after a pause that doubles. */
#define RESUME_PAUSE_MS 200
#define RESUME_PAUSE_LAST_MS (5 * CLOCK_SECOND)

enum flight_state {
    FLIGHT_SIZING,
    FLIGHT_ASKING,
    FLIGHT_STREAMING,
    FLIGHT_VERIFYING,
    FLIGHT_LANDING,
    FLIGHT_ENDING,
    FLIGHT_GONE,
};

/* Whose word the size is. A manifest's may be wrong: whoever pushed it wrote it. */
enum size_source { SIZE_UNKNOWN, SIZE_OF_MANIFEST, SIZE_OF_HEAD, SIZE_OF_GET };

struct flights {
    struct flights_needs needs; /* set at create */
    pthread_mutex_t lock;
    struct flight *buckets[FLIGHTS_BUCKETS]; /* under lock */
};

struct flight {
    struct work work;       /* the hash's turn; first, for the worker */
    struct keeping keeping; /* its end */
    struct flights *all;
    struct flight *chain; /* under the lock of all */
    atomic_uint refs;
    atomic_uint requests;

    /* set at create */
    struct digest digest;
    char *registry, *repository;
    int64_t patience_ms;
    int fd; /* the partial file; the blob itself once it is published */

    /* of whoever has the flight */
    struct blobstore_writer *writer;
    char *gathered; /* FLIGHT_GATHER bytes, while a job is under way */
    size_t gathered_len;
    uint64_t skip; /* bytes of this answer that are there already */
    enum size_source size_source;
    unsigned breaks;       /* since the last progress */
    int64_t progressed_at; /* monotonic ms */
    int job_error;         /* why on_head or on_body ended the job */
    enum blobstore_keep keep;

    /* of the worker that hashes */
    struct digest_state *hash;
    uint64_t hashed;

    struct gate gate;
    /* under the gate's lock */
    enum flight_state state;
    bool answerable; /* an upstream has said that it has the blob, or it is verified */
    bool verified;
    bool complete;    /* all bytes are in the file */
    bool hash_posted; /* a worker has it, or will */
    bool has_size;
    uint64_t size;
    uint64_t written; /* bytes in the file */
    int broken;       /* the hash's error, for the upstream's thread to see */
    struct failure failure;
};

static void advance(struct flight *f, const struct upstream_result *result);

/* --- the table ---------------------------------------------------------------------------------------------- */

int flights_create(const struct flights_needs *needs, struct flights **ret_flights)
{
    struct flights *fs = calloc(1, sizeof(*fs));
    if (!fs)
        return -ENOMEM;
    fs->needs = *needs;
    (void)pthread_mutex_init(&fs->lock, NULL);
    *ret_flights = fs;
    return 0;
}

void flights_destroy(struct flights *fs)
{
    if (!fs)
        return;
    for (size_t i = 0; i < FLIGHTS_BUCKETS; i++)
        assert(!fs->buckets[i]);
    (void)pthread_mutex_destroy(&fs->lock);
    free(fs);
}

void flight_key(const struct flight_target *t, char *key)
{
    char digest[DIGEST_TEXT_MAX];
    (void)snprintf(key, RECENT_KEY_MAX, "blob %s/%s@%s", t->registry, t->repository, digest_format(t->digest, digest));
}

static struct flight **find(struct flights *fs, const struct digest *digest)
{
    struct flight **at = &fs->buckets[digest_hash(digest) & (FLIGHTS_BUCKETS - 1)];
    while (*at && !digest_equal(&(*at)->digest, digest))
        at = &(*at)->chain;
    return at;
}

struct flight *flight_find(struct flights *fs, const struct digest *digest)
{
    (void)pthread_mutex_lock(&fs->lock);
    struct flight *f = *find(fs, digest);
    if (f)
        f->refs++;
    (void)pthread_mutex_unlock(&fs->lock);
    return f;
}

void flight_unref(struct flight *f)
{
    if (!f || --f->refs > 0)
        return;
    assert(!f->writer);
    gate_finish(&f->gate);
    digest_destroy(f->hash);
    if (f->fd >= 0)
        (void)close(f->fd);
    free(f->gathered);
    free(f->registry);
    free(f->repository);
    free(f);
}

/* --- the end ------------------------------------------------------------------------------------------------ */

static struct flight *flight_of_keeping(struct keeping *k)
{
    return (struct flight *)((char *)k - offsetof(struct flight, keeping));
}

static void keeping_add(struct keeping *k, struct blobstore_batch *batch)
{
    struct flight *f = flight_of_keeping(k);
    if (f->state != FLIGHT_LANDING)
        return;
    int r = blobstore_batch_publish(batch, f->writer);
    if (r < 0) {
        char text[DIGEST_TEXT_MAX];
        log_event(LOG_ERROR, "not_stored", LOG_S("digest", digest_format(&f->digest, text)),
                  LOG_S("error", strerrorname_np(-r)));
        f->keep = r == -ENOSPC ? BLOBSTORE_DISCARD : BLOBSTORE_KEEP;
    }
}

static void keeping_done(struct keeping *k, int result)
{
    struct flight *f = flight_of_keeping(k);
    struct flights *fs = f->all;
    (void)result; /* the keeper has said so; the blob is served as long as somebody reads it, and fetched again then */
    blobstore_writer_close(TAKE_PTR(f->writer), f->keep);
    (void)pthread_mutex_lock(&fs->lock);
    struct flight **at = find(fs, &f->digest);
    *at = f->chain;
    (void)pthread_mutex_unlock(&fs->lock);
    gate_lock(&f->gate);
    f->state = FLIGHT_GONE;
    gate_wake(&f->gate); /* those who found it failed may start another now */
    gate_unlock(&f->gate);
    flight_unref(f);
}

/* Hands the flight to the keeper. */
static void end(struct flight *f, enum flight_state state, enum blobstore_keep keep)
{
    f->keep = keep;
    free(TAKE_PTR(f->gathered));
    f->keeping = (struct keeping){.add = keeping_add, .done = keeping_done};
    gate_lock(&f->gate);
    f->state = state;
    gate_wake(&f->gate);
    gate_unlock(&f->gate);
    keeper_post(f->all->needs.keeper, &f->keeping);
}

static void fail(struct flight *f, int error, const struct upstream_result *result, const char *message,
                 enum blobstore_keep keep)
{
    const struct flight_target target = {.registry = f->registry, .repository = f->repository, .digest = &f->digest};
    struct failure failure = {.error = error, .status = result ? result->status : 0};
    char key[RECENT_KEY_MAX], text[DIGEST_TEXT_MAX];
    (void)snprintf(failure.message, sizeof(failure.message), "%s", message);
    flight_key(&target, key);
    if (error != -ECANCELED)
        recent_note(f->all->needs.recent, key, &failure, result ? result->retry_after_ms : -1);
    log_event(error == -ECANCELED || failure_is_absence(&failure) ? LOG_DEBUG : LOG_WARN, "flight_failed",
              LOG_S("registry", f->registry), LOG_S("repository", f->repository),
              LOG_S("digest", digest_format(&f->digest, text)), LOG_S("error", strerrorname_np(-error)),
              LOG_S("message", message), LOG_U("bytes", f->written));
    gate_lock(&f->gate);
    f->failure = failure;
    gate_unlock(&f->gate);
    end(f, FLIGHT_ENDING, keep);
}

/* --- hashing ------------------------------------------------------------------------------------------------ */

static void verify(struct flight *f)
{
    const struct flight_target target = {.registry = f->registry, .repository = f->repository, .digest = &f->digest};
    struct digest actual;
    char key[RECENT_KEY_MAX];
    int r = digest_end(f->hash, &actual);
    if (r < 0 || !digest_equal(&actual, &f->digest)) {
        fail(f, r < 0 ? r : -EBADMSG, NULL, "the upstream's bytes do not have the digest they should have",
             BLOBSTORE_DISCARD);
        return;
    }
    flight_key(&target, key);
    recent_forget(f->all->needs.recent, key);
    gate_lock(&f->gate);
    f->verified = f->answerable = true;
    gate_unlock(&f->gate);
    end(f, FLIGHT_LANDING, BLOBSTORE_KEEP);
}

/* Reads the file behind the bytes that come. 0, or why it cannot go on. */
static int hash_turn(struct flight *f, uint64_t target)
{
    AUTO_FREE char *block = malloc(HASH_BLOCK);
    if (!block)
        return -ENOMEM;
    uint64_t stop = target - f->hashed > HASH_TURN ? f->hashed + HASH_TURN : target;
    while (f->hashed < stop) {
        size_t want = stop - f->hashed < HASH_BLOCK ? (size_t)(stop - f->hashed) : HASH_BLOCK;
        ssize_t n = pread(f->fd, block, want, (off_t)f->hashed);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        int r = digest_update(f->hash, block, (size_t)n);
        if (r < 0)
            return r;
        f->hashed += (uint64_t)n;
    }
    return 0;
}

static void hash_work(struct work *work)
{
    struct flight *f = (struct flight *)work;
    gate_lock(&f->gate);
    uint64_t target = f->written;
    gate_unlock(&f->gate);
    int r = workers_are_stopping(f->all->needs.workers) ? -ECANCELED : hash_turn(f, target);
    gate_lock(&f->gate);
    bool more = r == 0 && f->hashed < f->written;
    bool is_mine = f->complete && !more; /* no job is under way: the flight has come to this worker */
    f->hash_posted = more;
    if (r < 0)
        f->broken = r;
    gate_unlock(&f->gate);
    if (more)
        workers_post(f->all->needs.workers, &f->work);
    else if (is_mine && r == 0)
        verify(f);
    else if (is_mine)
        fail(f, r, NULL, r == -ECANCELED ? "shutting down" : "the partial file could not be read", BLOBSTORE_KEEP);
    if (!more)
        flight_unref(f);
}

/* Under the lock: a worker will hash what is in the file. True when it has to be posted, without the lock. */
static bool wants_hash(struct flight *f)
{
    if (f->hash_posted || f->broken)
        return false;
    f->hash_posted = true;
    f->refs++;
    return true;
}

/* --- bytes come --------------------------------------------------------------------------------------------- */

static int write_out(struct flight *f)
{
    if (f->gathered_len == 0)
        return 0;
    int r = blobstore_writer_append(f->writer, f->gathered, f->gathered_len);
    if (r < 0)
        return r;
    gate_lock(&f->gate);
    f->written += f->gathered_len;
    r = f->broken;
    bool post = wants_hash(f);
    gate_wake(&f->gate);
    gate_unlock(&f->gate);
    if (post)
        workers_post(f->all->needs.workers, &f->work);
    f->gathered_len = 0;
    f->breaks = 0;
    f->progressed_at = clock_monotonic_ms();
    return r;
}

static int set_size(struct flight *f, uint64_t size, enum size_source source)
{
    if (size > LIMIT_BLOB)
        return -EFBIG;
    f->size_source = source;
    gate_lock(&f->gate);
    f->has_size = true;
    f->size = size;
    gate_unlock(&f->gate);
    return 0;
}

/* What the answer's header says against what is known. */
static int check_head(struct flight *f, const struct upstream_head *head)
{
    bool is_part = head->status == 206;
    if (is_part && (head->range_start < 0 || (uint64_t)head->range_start != f->written))
        return -EPROTO;
    int64_t total = is_part ? head->total : head->length;
    if (total < 0)
        return 0; /* the length shows at the end */
    if (!f->has_size)
        return set_size(f, (uint64_t)total, SIZE_OF_GET);
    if ((uint64_t)total == f->size)
        return 0;
    /* A manifest's word alone is not believed against the registry's: a HEAD decides. */
    return f->size_source == SIZE_OF_MANIFEST && !f->answerable ? -EDOM : -EMSGSIZE;
}

static int on_head(void *arg, const struct upstream_head *head)
{
    struct flight *f = arg;
    if (f->state == FLIGHT_SIZING)
        return head->length >= 0 ? set_size(f, (uint64_t)head->length, SIZE_OF_HEAD) : 0;
    int r = check_head(f, head);
    f->skip = head->status == 206 ? 0 : f->written;
    if (r == 0 && f->has_size && f->size > f->written)
        r = blobstore_writer_reserve(f->writer, f->size);
    f->job_error = r;
    if (r < 0)
        return r;
    gate_lock(&f->gate);
    f->state = FLIGHT_STREAMING;
    f->answerable = true;
    gate_wake(&f->gate);
    gate_unlock(&f->gate);
    return 0;
}

static int on_body(void *arg, const void *data, size_t len)
{
    struct flight *f = arg;
    const char *p = data;
    if (f->skip > 0) {
        size_t known = f->skip < len ? (size_t)f->skip : len;
        f->skip -= known;
        p += known;
        len -= known;
    }
    uint64_t most = f->has_size ? f->size : LIMIT_BLOB;
    if (len > most - f->written - f->gathered_len)
        return f->job_error = -EMSGSIZE;
    while (len > 0) {
        size_t room = FLIGHT_GATHER - f->gathered_len, n = len < room ? len : room;
        memcpy(f->gathered + f->gathered_len, p, n);
        f->gathered_len += n;
        p += n;
        len -= n;
        if (f->gathered_len == FLIGHT_GATHER) {
            int r = write_out(f);
            if (r < 0)
                return f->job_error = r;
        }
    }
    return 0;
}

static void on_tick(void *arg)
{
    struct flight *f = arg;
    int r = write_out(f);
    if (r < 0 && f->job_error == 0)
        f->job_error = r; /* met again by the next on_body, which ends the job */
}

static void on_done(void *arg, const struct upstream_result *result)
{
    struct flight *f = arg;
    f->requests += result->requests;
    int r = f->job_error ? 0 : write_out(f);
    if (r < 0)
        f->job_error = r;
    advance(f, result);
}

static const struct upstream_callbacks callbacks = {
    .on_head = on_head, .on_body = on_body, .on_tick = on_tick, .on_done = on_done};

/* --- asking ------------------------------------------------------------------------------------------------- */

static void ask(struct flight *f, enum flight_state state, int64_t delay_ms)
{
    char digest[DIGEST_TEXT_MAX];
    gate_lock(&f->gate);
    f->state = state;
    gate_unlock(&f->gate);
    f->job_error = 0;
    f->gathered_len = 0;
    if (!f->gathered)
        f->gathered = malloc(FLIGHT_GATHER);
    const struct upstream_job job = {
        .registry = f->registry,
        .repository = f->repository,
        .object = UPSTREAM_BLOB,
        .reference = digest_format(&f->digest, digest),
        .head = state == FLIGHT_SIZING,
        .offset = state == FLIGHT_SIZING ? 0 : f->written,
        .delay_ms = delay_ms,
        .callbacks = &callbacks,
        .arg = f,
    };
    int r = f->gathered ? upstream_submit(f->all->needs.upstream, &job) : -ENOMEM;
    if (r < 0)
        fail(f, r, NULL, r == -ECANCELED ? "shutting down" : "the upstream could not be asked", BLOBSTORE_KEEP);
}

/* Every byte is in the file: the worker that hashes the last of them goes on. */
static void complete(struct flight *f)
{
    gate_lock(&f->gate);
    f->state = FLIGHT_VERIFYING;
    f->complete = true;
    int broken = f->broken;
    bool post = wants_hash(f);
    gate_unlock(&f->gate);
    if (post)
        workers_post(f->all->needs.workers, &f->work);
    else if (broken)
        fail(f, broken, NULL, "the partial file could not be read", BLOBSTORE_KEEP);
}

static void ask_for_bytes(struct flight *f)
{
    if (f->has_size && f->written == f->size)
        complete(f);
    else if (f->has_size && f->written > f->size)
        fail(f, -EMSGSIZE, NULL, "the partial file is longer than the blob", BLOBSTORE_DISCARD);
    else
        ask(f, FLIGHT_ASKING, 0);
}

static bool is_passing(int error)
{
    switch (error) {
    case -ECONNREFUSED:
    case -EHOSTUNREACH:
    case -ECONNRESET:
    case -ETIMEDOUT:
    case -EREMOTEIO:
    case -EPROTO:
    case -EAGAIN:
        return true;
    }
    return false;
}

/* Asks again for what is missing, unless that has been tried for too long. */
static void resume(struct flight *f, const struct upstream_result *result)
{
    int64_t pause = 0;
    if (f->breaks > 0) {
        pause = RESUME_PAUSE_MS << (f->breaks < 6 ? f->breaks - 1 : 5);
        pause = pause > RESUME_PAUSE_LAST_MS ? RESUME_PAUSE_LAST_MS : pause;
        pause = pause / 2 + (int64_t)(digest_hash(&f->digest) >> 8) % (pause / 2); /* flights do not march in step */
    }
    if (pause < result->retry_after_ms)
        pause = result->retry_after_ms;
    f->breaks++;
    if (clock_monotonic_ms() + pause - f->progressed_at > f->patience_ms)
        fail(f, result->error, result, result->message, BLOBSTORE_KEEP);
    else
        ask(f, f->state == FLIGHT_SIZING ? FLIGHT_SIZING : FLIGHT_ASKING, pause);
}

static void fail_by_job(struct flight *f, const struct upstream_result *result)
{
    switch (f->job_error) {
    case -EMSGSIZE:
        fail(f, -EPROTO, result, "the upstream's blob is longer or shorter than it should be", BLOBSTORE_DISCARD);
        break;
    case -EPROTO:
        fail(f, -EPROTO, result, "the upstream sent another range than was asked for", BLOBSTORE_KEEP);
        break;
    case -EFBIG:
        fail(f, -EFBIG, result, "the blob is larger than any blob may be", BLOBSTORE_DISCARD);
        break;
    case -ENOSPC:
        fail(f, -ENOSPC, result, "the store is full", BLOBSTORE_DISCARD);
        break;
    default:
        fail(f, f->job_error, result, "the blob could not be written", BLOBSTORE_KEEP);
    }
}

/* The HEAD has ended, whatever it said but that there is no such blob: the GET will show. */
static void after_sizing(struct flight *f, const struct upstream_result *result)
{
    if (result->error == -ENOENT || result->error == -EACCES || result->error == -EPERM || result->error == -ECANCELED)
        fail(f, result->error, result, result->message, BLOBSTORE_KEEP);
    else if (is_passing(result->error) && result->status == 0)
        resume(f, result);
    else
        ask_for_bytes(f);
}

static void advance(struct flight *f, const struct upstream_result *result)
{
    if (f->state == FLIGHT_SIZING) {
        after_sizing(f, result);
    } else if (f->job_error == -EDOM) {
        f->size_source = SIZE_UNKNOWN;
        gate_lock(&f->gate);
        f->has_size = false;
        gate_unlock(&f->gate);
        ask(f, FLIGHT_SIZING, 0);
    } else if (f->job_error) {
        fail_by_job(f, result);
    } else if (result->error == 0 && (!f->has_size || f->written == f->size)) {
        int r = f->has_size ? 0 : set_size(f, f->written, SIZE_OF_GET);
        assert(r == 0); /* on_body has kept it below LIMIT_BLOB */
        complete(f);
    } else if (result->error == 0) { /* a whole answer, but not the whole blob: a length was not declared, or was odd */
        fail(f, -EPROTO, result, "the upstream's blob is longer or shorter than it should be", BLOBSTORE_DISCARD);
    } else if (is_passing(result->error)) {
        resume(f, result);
    } else if (result->error == -ERANGE) {
        fail(f, -EPROTO, result, "the upstream's blob is shorter than what is here", BLOBSTORE_DISCARD);
    } else {
        fail(f, result->error, result, result->message, BLOBSTORE_KEEP);
    }
}

/* --- joining ------------------------------------------------------------------------------------------------ */

static int create(struct flights *fs, const struct flight_target *t, struct flight **ret_flight)
{
    struct flight *f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    f->all = fs;
    f->refs = 2; /* until it is gone, and the caller's */
    f->work.run = hash_work;
    f->digest = *t->digest;
    f->patience_ms = t->patience_ms;
    f->progressed_at = clock_monotonic_ms();
    f->registry = strdup(t->registry);
    f->repository = strdup(t->repository);
    f->fd = -1;
    gate_init(&f->gate, fs->needs.gates);
    int r = f->registry && f->repository ? digest_begin(t->digest->algorithm, &f->hash) : -ENOMEM;
    if (r == 0)
        r = blobstore_writer_open(fs->needs.store, t->digest, &f->writer, &f->written);
    if (r == 0) {
        f->fd = fcntl(blobstore_writer_fd(f->writer), F_DUPFD_CLOEXEC, 0);
        r = f->fd < 0 ? -errno : 0;
    }
    if (r < 0) {
        blobstore_writer_close(TAKE_PTR(f->writer), BLOBSTORE_KEEP);
        f->refs = 1;
        flight_unref(f);
        return r;
    }
    uint64_t size;
    /* A claim of no bytes at all would be taken for a blob that is complete: the registry is asked. */
    if (library_size_hint(fs->needs.library, t->digest, &size) == 0 && size > 0 && size <= LIMIT_BLOB &&
        size >= f->written) {
        f->has_size = true;
        f->size = size;
        f->size_source = SIZE_OF_MANIFEST;
    }
    *ret_flight = f;
    return 0;
}

static void start(struct flight *f)
{
    gate_lock(&f->gate);
    bool post = f->written > 0 && wants_hash(f); /* what an earlier attempt left */
    gate_unlock(&f->gate);
    if (post)
        workers_post(f->all->needs.workers, &f->work);
    if (f->has_size)
        ask_for_bytes(f);
    else
        ask(f, FLIGHT_SIZING, 0);
}

int flight_join(struct flights *fs, const struct flight_target *t, bool *ret_mine, struct flight **ret_flight)
{
    struct blobstore_info info;
    int r = 0;
    (void)pthread_mutex_lock(&fs->lock);
    struct flight **at = find(fs, t->digest), *f = *at;
    bool mine = !f;
    if (f)
        f->refs++;
    else if (blobstore_stat(fs->needs.store, t->digest, &info) == 0)
        r = -EEXIST;
    else
        r = create(fs, t, &f);
    if (mine && r == 0)
        *at = f;
    (void)pthread_mutex_unlock(&fs->lock);
    if (r < 0)
        return r;
    if (mine)
        start(f);
    *ret_mine = mine;
    *ret_flight = f;
    return 0;
}

/* --- readers ------------------------------------------------------------------------------------------------ */

int flight_wait(struct flight *f, struct waiter *w, int64_t due, uint64_t *ret_size, struct failure *ret_failure)
{
    int r;
    gate_lock(&f->gate);
    if (f->verified || (f->failure.error == 0 && f->answerable && f->has_size && f->size > FLIGHT_WHOLE)) {
        *ret_size = f->size;
        r = 0;
    } else if (f->failure.error && f->state == FLIGHT_GONE) {
        *ret_failure = f->failure;
        r = f->failure.error;
    } else {
        r = !w || gate_wait(&f->gate, w, due) ? MIRROR_WAIT : -ECANCELED;
    }
    gate_unlock(&f->gate);
    return r;
}

bool flight_size(struct flight *f, uint64_t *ret_size)
{
    gate_lock(&f->gate);
    bool known = f->has_size && (f->verified || f->answerable);
    if (known)
        *ret_size = f->size;
    gate_unlock(&f->gate);
    return known;
}

bool flight_is_verified(struct flight *f)
{
    gate_lock(&f->gate);
    bool verified = f->verified;
    gate_unlock(&f->gate);
    return verified;
}

int flight_fd(const struct flight *f)
{
    return f->fd;
}

/* Under the lock: bytes from the start that readers may have. */
static uint64_t available(const struct flight *f)
{
    if (f->verified)
        return f->size;
    if (!f->has_size || f->size <= FLIGHT_WHOLE)
        return 0;
    uint64_t most = f->size - FLIGHT_HOLD_BACK;
    return f->written < most ? f->written : most;
}

ssize_t flight_read(struct flight *f, struct waiter *w, uint64_t offset, void *data, size_t len)
{
    gate_lock(&f->gate);
    uint64_t have = available(f);
    ssize_t r = 0;
    if (offset >= have)
        r = f->failure.error || !gate_wait(&f->gate, w, INT64_MAX) ? -EIO : 0;
    gate_unlock(&f->gate);
    if (offset >= have)
        return r;
    if (len > have - offset)
        len = (size_t)(have - offset);
    do
        r = pread(f->fd, data, len, (off_t)offset);
    while (r < 0 && errno == EINTR);
    return r > 0 ? r : -EIO;
}

bool flight_is_of(const struct flight *f, const char *registry, const char *repository)
{
    return strcmp(f->registry, registry) == 0 && strcmp(f->repository, repository) == 0;
}

unsigned flight_requests(const struct flight *f)
{
    return f->requests;
}
