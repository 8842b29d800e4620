#include "world.h"

#include "base/clock.h"
#include "mirror/digest_key.h"
#include "mirror/pins.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

/* --- the clocks --------------------------------------------------------------------------------------------- */

static _Atomic int64_t wall_clock = 1750000000000;

int64_t clock_monotonic_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_real_ms(void)
{
    return wall_clock;
}

void world_advance(int64_t ms)
{
    wall_clock += ms;
}

/* --- the world ---------------------------------------------------------------------------------------------- */

struct world world;

static char hub[] = "docker.io", other[] = "ghcr.io";
static struct config_registry registries[] = {
    {.name = hub, .tag_ttl_ms = 300 * CLOCK_SECOND},
    {.name = other, .tag_ttl_ms = 300 * CLOCK_SECOND},
};

void world_start(void)
{
    world.store = scratch_store();
    world.upstream = fake_start();
    fake_has_accounts(world.upstream, world.has_accounts);
    const struct mirror_options options = {.config = &world.config, .store = world.store, .upstream = world.upstream};
    ck_ok(mirror_start(&options, &world.mirror));
}

void world_stop(void)
{
    mirror_cut(world.mirror);
    upstream_stop(world.upstream);
    mirror_stop(world.mirror); /* asserts that no flight is left, and nobody waits */
    upstream_destroy(world.upstream);
    blobstore_close(world.store);
}

void world_setup(void)
{
    scratch_setup();
    world.config = (struct config){
        .server = {.answer_timeout_ms = PATIENCE_MS},
        .store = {.verify_every_ms = 24 * 60 * CLOCK_MINUTE},
        .upstream = {.flight_timeout_ms = PATIENCE_MS},
        .tags = {.ttl_ms = 300 * CLOCK_SECOND, .stale_for_ms = 3600 * CLOCK_SECOND},
        .registries = registries,
        .registry_count = ARRAY_SIZE(registries),
        .default_registry = &registries[0],
    };
    world_start();
}

void world_cleanup(void)
{
    world_stop();
    scratch_cleanup();
}

/* Where the test meets its workers and its keeper; lives as long as they do. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t stirred;
    uint64_t there, awaited; /* under lock: who has come so far, and must have come before anybody goes on */
} meeting = {.lock = PTHREAD_MUTEX_INITIALIZER, .stirred = PTHREAD_COND_INITIALIZER};

static void meeting_call(unsigned count)
{
    (void)pthread_mutex_lock(&meeting.lock);
    meeting.awaited += count;
    (void)pthread_mutex_unlock(&meeting.lock);
}

static void meeting_come(void)
{
    (void)pthread_mutex_lock(&meeting.lock);
    uint64_t awaited = meeting.awaited;
    meeting.there++;
    (void)pthread_cond_broadcast(&meeting.stirred);
    while (meeting.there < awaited)
        (void)pthread_cond_wait(&meeting.stirred, &meeting.lock);
    (void)pthread_mutex_unlock(&meeting.lock);
}

static void mark_work(struct work *work)
{
    (void)work;
    meeting_come();
}

static void mark_add(struct keeping *k, struct blobstore_batch *batch)
{
    (void)k;
    (void)batch;
}

static void mark_done(struct keeping *k, int result)
{
    (void)k;
    (void)result;
    meeting_come();
}

/* Work that every worker must be at together, then something for the keeper: what was posted before is done by then.
 * Twice, because work posts work. */
void world_settle(void)
{
    struct work marks[16];
    struct keeping last = {.add = mark_add, .done = mark_done};
    long cores = sysconf(_SC_NPROCESSORS_ONLN); /* as mirror_start() */
    unsigned workers = cores < 2 ? 2 : cores > 16 ? 16 : (unsigned)cores;
    for (unsigned round = 0; round < 2; round++) {
        meeting_call(workers + 1);
        for (unsigned i = 0; i < workers; i++) {
            marks[i] = (struct work){.run = mark_work};
            workers_post(world.mirror->workers, &marks[i]);
        }
        meeting_come();
        meeting_call(2);
        keeper_post(world.mirror->keeper, &last);
        meeting_come();
    }
}

void world_store(const char *data, size_t len, const struct digest *digest)
{
    struct blobstore_writer *w;
    struct blobstore_batch *batch;
    uint64_t length;
    world_settle(); /* one batch at a time: the keeper has none now */
    ck_ok(blobstore_writer_open(world.store, digest, &w, &length));
    ck_ok(blobstore_writer_append(w, data, len));
    ck_ok(blobstore_batch_begin(world.store, &batch));
    ck_ok(blobstore_batch_publish(batch, w));
    ck_ok(blobstore_batch_commit(batch));
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
}

struct digest world_add_document(const struct buf *text)
{
    struct digest digest;
    AUTO(auto_manifest_destroy) struct manifest *m = NULL;
    AUTO(auto_document_unref) struct document *d = NULL;
    ck_ok(digest_of(DIGEST_SHA256, text->data, text->len, &digest));
    ck_ok(manifest_parse(text->data, text->len, &m));
    ck_ok(document_create(&digest, m->media_type, text->data, text->len, &d));
    library_add(world.mirror->library, d, m, "docker.io", "a/b");
    world_settle();
    return digest;
}

void world_pin(const struct digest *digest, int64_t expires_at)
{
    AUTO_BUF struct buf key = BUF_INIT(KIB), value = BUF_INIT(KIB);
    uint8_t what[DIGEST_KEY_MAX];
    struct blobstore_batch *batch;
    const struct pin pin = {
        .kind = PIN_DIGEST, .what = what, .what_len = digest_key_encode(digest, what), .expires_at = expires_at};
    ck_ok(pin_encode(&pin, &key, &value));
    world_settle();
    ck_ok(blobstore_batch_begin(world.store, &batch));
    blobstore_batch_put(batch, BLOBSTORE_PINS, key.data, key.len, value.data, value.len);
    ck_ok(blobstore_batch_commit(batch));
}

void text_set(struct text *t, const char *bytes)
{
    t->len = strlen(bytes);
    ck_assert_uint_lt(t->len, sizeof(t->bytes));
    memcpy(t->bytes, bytes, t->len + 1);
    ck_ok(digest_of(DIGEST_SHA256, bytes, t->len, &t->digest));
    (void)digest_format(&t->digest, t->name);
}

/* --- clients ------------------------------------------------------------------------------------------------ */

void (*client_enters)(bool inside);

static void enter(bool inside)
{
    if (client_enters)
        client_enters(inside);
}

static void break_contract(struct client *c, const char *what)
{
    if (!c->wrong)
        c->wrong = what;
}

static void suspend(void *arg)
{
    struct client *c = arg;
    (void)pthread_mutex_lock(&c->lock);
    if (!c->in_call || !pthread_equal(c->thread, pthread_self()))
        break_contract(c, "suspended by another thread than the one that steps");
    if (c->suspended)
        break_contract(c, "suspended twice");
    c->suspended = true;
    c->suspends++;
    (void)pthread_mutex_unlock(&c->lock);
}

static void wake(void *arg)
{
    struct client *c = arg;
    (void)pthread_mutex_lock(&c->lock);
    if (c->closed)
        break_contract(c, "woken after it was closed");
    if (!c->suspended)
        break_contract(c, "woken while it was awake");
    c->suspended = false;
    c->wakes++;
    (void)pthread_cond_broadcast(&c->stirred);
    (void)pthread_mutex_unlock(&c->lock);
}

static void client_check(struct client *c)
{
    (void)pthread_mutex_lock(&c->lock);
    const char *wrong = c->wrong;
    (void)pthread_mutex_unlock(&c->lock);
    ck_assert_msg(!wrong, "%s", wrong);
}

static void call_begins(struct client *c)
{
    (void)pthread_mutex_lock(&c->lock);
    ck_assert_msg(!c->suspended, "the test steps a suspended client");
    c->thread = pthread_self();
    c->in_call = true;
    (void)pthread_mutex_unlock(&c->lock);
    enter(true);
}

/* It may have been suspended and woken again by now. */
static void call_ends(struct client *c, unsigned suspends_before, bool waits)
{
    enter(false);
    (void)pthread_mutex_lock(&c->lock);
    c->in_call = false;
    if (c->suspends - suspends_before != (waits ? 1 : 0))
        break_contract(c, waits ? "waits without having been suspended" : "suspended, and answers all the same");
    (void)pthread_mutex_unlock(&c->lock);
    client_check(c);
}

bool client_try_open(struct client *c, const struct mirror_request *request)
{
    struct mirror_request r = *request;
    *c = (struct client){0};
    ck_ok(pthread_mutex_init(&c->lock, NULL));
    ck_ok(pthread_cond_init(&c->stirred, NULL));
    r.waiter = (struct mirror_waiter){.suspend = suspend, .wake = wake, .arg = c};
    enter(true);
    int result = mirror_open(world.mirror, &r, &c->session);
    enter(false);
    ck_assert(result == 0 || result == -ENOMEM);
    return result == 0;
}

void client_open_request(struct client *c, const struct mirror_request *request)
{
    ck_assert(client_try_open(c, request));
}

void client_open(struct client *c, enum mirror_object object, bool head, const char *name, const char *reference)
{
    const struct mirror_request request = {
        .object = object, .head = head, .name = name, .reference = reference, .page_size = -1};
    client_open_request(c, &request);
}

bool client_step(struct client *c)
{
    unsigned before = c->suspends;
    call_begins(c);
    int r = mirror_step(c->session, &c->answer);
    call_ends(c, before, r == MIRROR_WAIT);
    ck_assert(r == 0 || r == MIRROR_WAIT);
    return r == 0;
}

void client_await(struct client *c)
{
    struct timespec until;
    int r = 0;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    (void)pthread_mutex_lock(&c->lock);
    while (c->suspended && r == 0)
        r = pthread_cond_timedwait(&c->stirred, &c->lock, &until);
    (void)pthread_mutex_unlock(&c->lock);
    ck_assert_msg(r == 0, "nobody wakes the client");
}

const struct mirror_answer *client_answer(struct client *c)
{
    client_await(c);
    while (!client_step(c))
        client_await(c);
    return &c->answer;
}

void client_go_on(struct client *c)
{
    do
        client_await(c);
    while (!fake_is_asked(world.upstream) && !client_step(c));
}

ssize_t client_read(struct client *c, uint64_t offset, void *data, size_t len)
{
    unsigned before = c->suspends;
    call_begins(c);
    ssize_t n = mirror_read(c->session, offset, data, len);
    call_ends(c, before, n == 0);
    return n;
}

size_t client_read_to(struct client *c, uint64_t offset, void *data, size_t len)
{
    size_t at = 0;
    client_await(c);
    while (at < len) {
        ssize_t n = client_read(c, offset + at, (char *)data + at, len - at);
        if (n < 0)
            break;
        if (n == 0)
            client_await(c);
        at += (size_t)n;
    }
    return at;
}

void client_expect(struct client *c, const char *data, size_t len)
{
    const struct mirror_answer *a = client_answer(c);
    ck_assert_msg(a->status == 200, "%d: %s", a->status, a->error_message);
    ck_assert_uint_eq(a->size, len);
    AUTO_FREE char *got = malloc(len + 1);
    ck_assert_ptr_nonnull(got);
    ck_assert_uint_eq(client_read_to(c, 0, got, len), len);
    ck_assert_mem_eq(got, data, len);
}

void client_expect_error(struct client *c, int status, const char *code)
{
    const struct mirror_answer *a = client_answer(c);
    ck_assert_int_eq(a->status, status);
    ck_assert_str_eq(a->error_code, code);
    ck_assert(a->error_message && *a->error_message);
    ck_assert_int_eq(a->body, MIRROR_NO_BODY);
}

void client_expect_outcome(struct client *c, enum mirror_outcome outcome, unsigned upstream_requests)
{
    struct mirror_account account;
    mirror_account(c->session, &account);
    ck_assert_int_eq(account.outcome, outcome);
    ck_assert_uint_eq(account.upstream_requests, upstream_requests);
}

void client_close(struct client *c)
{
    enter(true);
    mirror_close(TAKE_PTR(c->session));
    enter(false);
    (void)pthread_mutex_lock(&c->lock);
    c->closed = true;
    bool woken_for_each = c->wakes == c->suspends || (c->suspended && c->wakes + 1 == c->suspends);
    c->suspended = false;
    (void)pthread_mutex_unlock(&c->lock);
    ck_assert(woken_for_each);
    client_check(c);
}
