#include "fake_mirror.h"

#include <assert.h>
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct mirror {
    _Atomic unsigned asked;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct fake_object *objects;
    struct mirror_session *sessions;
    unsigned open, opened, waiting;
    bool cut;
    struct fake_seen seen;
};

struct mirror_session {
    struct mirror *m;
    struct fake_object *object;
    struct mirror_waiter waiter;
    bool waiting;
    struct mirror_session *next, **at;
};

uint8_t fake_byte(uint64_t offset)
{
    return (uint8_t)(offset * 31 + offset / 251);
}

static void fill(uint8_t *to, uint64_t offset, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = fake_byte(offset + i);
}

struct mirror *fake_mirror_create(void)
{
    struct mirror *m = calloc(1, sizeof(*m));
    ck_assert_ptr_nonnull(m);
    (void)pthread_mutex_init(&m->lock, NULL);
    (void)pthread_cond_init(&m->changed, NULL);
    return m;
}

void fake_mirror_destroy(struct mirror *m)
{
    ck_assert_uint_eq(m->open, 0);
    while (m->objects) {
        struct fake_object *o = m->objects;
        m->objects = o->next;
        if (o->fd >= 0)
            (void)close(o->fd);
        free(o->memory);
        free(o);
    }
    (void)pthread_mutex_destroy(&m->lock);
    (void)pthread_cond_destroy(&m->changed);
    free(m);
}

struct fake_object *fake_add(struct mirror *m, const char *key, enum mirror_body body, uint64_t size)
{
    struct fake_object *o = calloc(1, sizeof(*o));
    ck_assert_ptr_nonnull(o);
    (void)snprintf(o->key, sizeof(o->key), "%s", key);
    o->fd = -1;
    if (body == MIRROR_MEMORY || body == MIRROR_FILE) {
        o->memory = malloc(size ? size : 1);
        ck_assert_ptr_nonnull(o->memory);
        fill(o->memory, 0, size);
    }
    if (body == MIRROR_FILE) {
        o->fd = memfd_create("object", MFD_CLOEXEC);
        ck_assert_int_ge(o->fd, 0);
        ck_assert_int_eq(pwrite(o->fd, o->memory, size, 0), (ssize_t)size);
    }
    o->answer = (struct mirror_answer){.status = 200,
                                       .body = body,
                                       .size = size,
                                       .memory = o->memory,
                                       .fd = o->fd,
                                       .content_type = "application/octet-stream",
                                       .digest = o->key,
                                       .retry_after_s = -1};
    (void)pthread_mutex_lock(&m->lock);
    o->next = m->objects;
    m->objects = o;
    (void)pthread_mutex_unlock(&m->lock);
    return o;
}

struct fake_object *fake_add_error(struct mirror *m, const char *key, int status, const char *code)
{
    struct fake_object *o = fake_add(m, key, MIRROR_NO_BODY, 0);
    o->answer.status = status;
    o->answer.error_code = code;
    o->answer.error_message = "so the \"test\" says";
    o->answer.digest = NULL;
    return o;
}

static void wake_locked(struct mirror_session *s)
{
    if (!s->waiting)
        return;
    s->waiting = false;
    s->m->waiting--;
    s->waiter.wake(s->waiter.arg);
}

static void wake_all_locked(struct mirror *m, const struct fake_object *o)
{
    for (struct mirror_session *s = m->sessions; s; s = s->next)
        if (!o || s->object == o)
            wake_locked(s);
    (void)pthread_cond_broadcast(&m->changed);
}

static void wait_locked(struct mirror_session *s)
{
    assert(!s->waiting);
    s->waiting = true;
    s->m->waiting++;
    s->waiter.suspend(s->waiter.arg);
    (void)pthread_cond_broadcast(&s->m->changed);
}

#define LOCKED(m, statement)                                                                                           \
    do {                                                                                                               \
        (void)pthread_mutex_lock(&(m)->lock);                                                                          \
        statement;                                                                                                     \
        (void)pthread_mutex_unlock(&(m)->lock);                                                                        \
    } while (0)

void fake_hold(struct mirror *m, struct fake_object *o)
{
    LOCKED(m, o->held = true);
}

void fake_release(struct mirror *m, struct fake_object *o)
{
    LOCKED(m, o->held = false; wake_all_locked(m, o));
}

void fake_advance(struct mirror *m, struct fake_object *o, uint64_t available)
{
    LOCKED(m, o->available = available; wake_all_locked(m, o));
}

void fake_grow(struct mirror *m, struct fake_object *o, uint64_t more)
{
    LOCKED(m, o->available = o->available + more < o->answer.size ? o->available + more : o->answer.size;
           wake_all_locked(m, o));
}

void fake_restart(struct mirror *m, struct fake_object *o)
{
    LOCKED(m, o->failed = false; o->available = 0);
}

void fake_fail(struct mirror *m, struct fake_object *o)
{
    LOCKED(m, o->failed = true; wake_all_locked(m, o));
}

void fake_tick(struct mirror *m)
{
    LOCKED(m, wake_all_locked(m, NULL));
}

void fake_freeze(struct mirror *m)
{
    (void)pthread_mutex_lock(&m->lock);
}

void fake_thaw(struct mirror *m)
{
    (void)pthread_mutex_unlock(&m->lock);
}

unsigned fake_asked(struct mirror *m)
{
    return m->asked;
}

static void await(struct mirror *m, const unsigned *counter, unsigned count)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    (void)pthread_mutex_lock(&m->lock);
    while (*counter != count)
        if (pthread_cond_timedwait(&m->changed, &m->lock, &until) != 0)
            ck_abort_msg("waited for %u, there are %u", count, *counter);
    (void)pthread_mutex_unlock(&m->lock);
}

void fake_await_waiting(struct mirror *m, unsigned count)
{
    await(m, &m->waiting, count);
}

void fake_await_open(struct mirror *m, unsigned count)
{
    await(m, &m->open, count);
}

struct fake_seen fake_seen(struct mirror *m)
{
    struct fake_seen seen;
    LOCKED(m, seen = m->seen);
    return seen;
}

unsigned fake_opened(struct mirror *m)
{
    unsigned n;
    LOCKED(m, n = m->opened);
    return n;
}

unsigned fake_open(struct mirror *m)
{
    unsigned n;
    LOCKED(m, n = m->open);
    return n;
}

bool fake_was_cut(struct mirror *m)
{
    bool cut;
    LOCKED(m, cut = m->cut);
    return cut;
}

/* ------------------------------------------------------------------ mirror/mirror.h */

void mirror_cut(struct mirror *m)
{
    LOCKED(m, m->cut = true; wake_all_locked(m, NULL));
}

static void copy(char *to, size_t cap, const char *from)
{
    (void)snprintf(to, cap, "%s", from ? from : "");
}

int mirror_open(struct mirror *m, const struct mirror_request *request, struct mirror_session **ret_session)
{
    struct mirror_session *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    m->asked++;
    s->m = m;
    s->waiter = request->waiter;
    const char *key = request->reference ? request->reference : request->name;
    (void)pthread_mutex_lock(&m->lock);
    for (s->object = m->objects; s->object && strcmp(s->object->key, key) != 0;)
        s->object = s->object->next;
    struct fake_seen *seen = &m->seen;
    *seen = (struct fake_seen){.object = request->object,
                               .head = request->head,
                               .page_size = request->page_size,
                               .only_if_cached = request->only_if_cached,
                               .is_of_sibling = request->hop != NULL};
    copy(seen->ns, sizeof(seen->ns), request->ns);
    copy(seen->name, sizeof(seen->name), request->name);
    copy(seen->reference, sizeof(seen->reference), request->reference);
    copy(seen->artifact_type, sizeof(seen->artifact_type), request->artifact_type);
    copy(seen->last, sizeof(seen->last), request->last);
    s->next = m->sessions;
    s->at = &m->sessions;
    if (s->next)
        s->next->at = &s->next;
    m->sessions = s;
    m->open++;
    m->opened++;
    (void)pthread_cond_broadcast(&m->changed);
    (void)pthread_mutex_unlock(&m->lock);
    *ret_session = s;
    return 0;
}

int mirror_step(struct mirror_session *s, struct mirror_answer *ret_answer)
{
    static const struct mirror_answer unknown = {
        .status = 404, .fd = -1, .error_code = "MANIFEST_UNKNOWN", .error_message = "none such", .retry_after_s = -1};
    static const struct mirror_answer closing = {
        .status = 503, .fd = -1, .error_code = "UNAVAILABLE", .error_message = "closing", .retry_after_s = 1};
    struct mirror *m = s->m;
    int r = 0;
    (void)pthread_mutex_lock(&m->lock);
    if (!s->object) {
        *ret_answer = unknown;
    } else if (!s->object->held) {
        *ret_answer = s->object->answer;
    } else if (m->cut) {
        *ret_answer = closing;
    } else {
        wait_locked(s);
        r = MIRROR_WAIT;
    }
    (void)pthread_mutex_unlock(&m->lock);
    return r;
}

ssize_t mirror_read(struct mirror_session *s, uint64_t offset, void *data, size_t len)
{
    struct mirror *m = s->m;
    struct fake_object *o = s->object;
    assert(offset < o->answer.size);
    if (len > o->answer.size - offset)
        len = (size_t)(o->answer.size - offset);
    if (o->answer.body == MIRROR_FILE)
        return pread(o->fd, data, len, (off_t)offset);
    if (o->answer.body == MIRROR_FLIGHT) {
        ssize_t r = 1;
        (void)pthread_mutex_lock(&m->lock);
        if (offset < o->available) {
            if (len > o->available - offset)
                len = (size_t)(o->available - offset);
        } else if (o->failed || m->cut) {
            r = -ECANCELED;
        } else {
            wait_locked(s);
            r = 0;
        }
        (void)pthread_mutex_unlock(&m->lock);
        if (r <= 0)
            return r;
    }
    fill(data, offset, len);
    return (ssize_t)len;
}

void mirror_account(const struct mirror_session *s, struct mirror_account *ret_account)
{
    *ret_account = (struct mirror_account){.registry = "registry.example",
                                           .repository = "the/repository",
                                           .outcome = s->object ? MIRROR_JOINED : MIRROR_ERROR,
                                           .upstream_requests = 3};
}

void mirror_admit(struct mirror_session *s)
{
    (void)pthread_mutex_lock(&s->m->lock);
    s->m->seen.admitted = true;
    (void)pthread_mutex_unlock(&s->m->lock);
}

void mirror_close(struct mirror_session *s)
{
    if (!s)
        return;
    struct mirror *m = s->m;
    (void)pthread_mutex_lock(&m->lock);
    if (s->waiting)
        m->waiting--;
    *s->at = s->next;
    if (s->next)
        s->next->at = s->at;
    m->open--;
    (void)pthread_cond_broadcast(&m->changed);
    (void)pthread_mutex_unlock(&m->lock);
    free(s);
}
