#include "mirror/events.h"

#include "base/clock.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

/* The same trouble after a rest of this length is another event. */
#define ROW_MS (60 * CLOCK_MINUTE)

#define KEY_PREFIX "event/"
#define KEY_LEN (sizeof(KEY_PREFIX) - 1 + 2)
#define RECORD_VERSION 1

struct slot {
    struct event event; /* count 0: free */
    bool is_new;        /* not in the index as it is */
};

struct events {
    pthread_mutex_t lock;
    struct slot slots[EVENTS_MAX]; /* under lock */
};

/* ------------------------------------------------------------------ records */

/* version, kind, object u8; status u16; count u32; first_at, last_at u64; then, each with its NUL: registry,
 * repository, reference, message, clients */
#define FIXED_LEN 25

static int encode(const struct event *e, struct buf *value)
{
    const uint8_t kinds[3] = {RECORD_VERSION, (uint8_t)e->kind, (uint8_t)e->object};
    const uint16_t status = htobe16((uint16_t)e->status);
    const uint32_t count = htobe32(e->count);
    const uint64_t times[2] = {htobe64((uint64_t)e->first_at), htobe64((uint64_t)e->last_at)};
    const char *const texts[] = {e->registry, e->repository, e->reference, e->message};
    int r = buf_add(value, kinds, sizeof(kinds));
    if (r == 0)
        r = buf_add(value, &status, sizeof(status));
    if (r == 0)
        r = buf_add(value, &count, sizeof(count));
    if (r == 0)
        r = buf_add(value, times, sizeof(times));
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(texts); i++)
        r = buf_add(value, texts[i], strlen(texts[i]) + 1);
    for (unsigned i = 0; r == 0 && i < e->client_count; i++)
        r = buf_add(value, e->clients[i], strlen(e->clients[i]) + 1);
    return r;
}

/* The next text of a record, into `text`; false: it is not there, or too long. */
static bool take_text(const char **at, const char *end, char *text, size_t cap)
{
    size_t len = strnlen(*at, (size_t)(end - *at));
    if (*at == end || *at + len == end || len >= cap)
        return false;
    memcpy(text, *at, len + 1);
    *at += len + 1;
    return true;
}

static bool decode(const uint8_t *value, size_t len, struct event *ret_event)
{
    struct event e = {0};
    uint16_t status;
    uint32_t count;
    uint64_t times[2];
    if (len < FIXED_LEN || value[0] != RECORD_VERSION || (value[1] != EVENT_FAILED && value[1] != EVENT_STALE) ||
        value[2] > MIRROR_REFERRERS)
        return false;
    memcpy(&status, value + 3, sizeof(status));
    memcpy(&count, value + 5, sizeof(count));
    memcpy(times, value + 9, sizeof(times));
    e.kind = (enum event_kind)value[1];
    e.object = (enum mirror_object)value[2];
    e.status = be16toh(status);
    e.count = be32toh(count);
    e.first_at = (int64_t)be64toh(times[0]);
    e.last_at = (int64_t)be64toh(times[1]);
    const char *at = (const char *)value + FIXED_LEN, *end = (const char *)value + len;
    if (e.count == 0 || !take_text(&at, end, e.registry, sizeof(e.registry)) ||
        !take_text(&at, end, e.repository, sizeof(e.repository)) ||
        !take_text(&at, end, e.reference, sizeof(e.reference)) || !take_text(&at, end, e.message, sizeof(e.message)))
        return false;
    while (e.client_count < EVENT_CLIENTS && take_text(&at, end, e.clients[e.client_count], EVENT_CLIENT_MAX))
        e.client_count++;
    *ret_event = e;
    return true;
}

static int load(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct events *events = arg;
    uint16_t number;
    if (key_len != KEY_LEN)
        return 0;
    memcpy(&number, (const char *)key + KEY_LEN - sizeof(number), sizeof(number));
    if (be16toh(number) < EVENTS_MAX)
        (void)decode(value, value_len, &events->slots[be16toh(number)].event);
    return 0;
}

void events_checkpoint(struct events *e, struct blobstore_batch *batch)
{
    (void)pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < EVENTS_MAX; i++) {
        struct slot *s = &e->slots[i];
        AUTO_BUF struct buf value = BUF_INIT(BLOBSTORE_VALUE_MAX);
        char key[KEY_LEN];
        uint16_t number = htobe16((uint16_t)i);
        if (!s->is_new || encode(&s->event, &value) < 0)
            continue;
        memcpy(key, KEY_PREFIX, KEY_LEN - sizeof(number));
        memcpy(key + KEY_LEN - sizeof(number), &number, sizeof(number));
        blobstore_batch_put(batch, BLOBSTORE_JOBS, key, sizeof(key), value.data, value.len);
        s->is_new = false; /* a commit that fails loses it, as a crash would */
    }
    (void)pthread_mutex_unlock(&e->lock);
}

/* ------------------------------------------------------------------ events */

int events_create(struct blobstore *store, struct events **ret_events)
{
    struct events *e = calloc(1, sizeof(*e));
    if (!e)
        return -ENOMEM;
    (void)pthread_mutex_init(&e->lock, NULL);
    int r = blobstore_record_scan(store, BLOBSTORE_JOBS, KEY_PREFIX, strlen(KEY_PREFIX), load, e);
    if (r < 0) {
        events_destroy(e);
        return r;
    }
    *ret_events = e;
    return 0;
}

void events_destroy(struct events *e)
{
    if (!e)
        return;
    (void)pthread_mutex_destroy(&e->lock);
    free(e);
}

static bool is_same(const struct event *a, const struct event *b)
{
    return a->kind == b->kind && a->object == b->object && strcmp(a->reference, b->reference) == 0 &&
           strcmp(a->repository, b->repository) == 0 && strcmp(a->registry, b->registry) == 0 &&
           strcmp(a->message, b->message) == 0;
}

/* Under the lock: its slot, or the one that it takes. */
static struct slot *find_slot(struct events *e, const struct event *what, int64_t now)
{
    struct slot *oldest = &e->slots[0];
    for (size_t i = 0; i < EVENTS_MAX; i++) {
        struct slot *s = &e->slots[i];
        if (s->event.count > 0 && is_same(&s->event, what) && now - s->event.last_at < ROW_MS)
            return s;
        if (s->event.last_at < oldest->event.last_at)
            oldest = s;
    }
    oldest->event = *what;
    oldest->event.first_at = now;
    oldest->event.count = 0;
    oldest->event.client_count = 0;
    return oldest;
}

static void add_client(struct event *e, const char *client)
{
    for (unsigned i = 0; i < e->client_count; i++)
        if (strcmp(e->clients[i], client) == 0)
            return;
    if (*client && e->client_count < EVENT_CLIENTS)
        (void)snprintf(e->clients[e->client_count++], EVENT_CLIENT_MAX, "%s", client);
}

void events_note(struct events *e, const struct event *what, const char *client)
{
    int64_t now = clock_real_ms();
    (void)pthread_mutex_lock(&e->lock);
    struct slot *s = find_slot(e, what, now);
    s->event.count += s->event.count < UINT32_MAX;
    s->event.last_at = now;
    s->event.status = what->status;
    add_client(&s->event, client);
    s->is_new = true;
    (void)pthread_mutex_unlock(&e->lock);
}

static int compare(const void *a, const void *b)
{
    const struct event *const *x = a, *const *y = b;
    return ((*x)->last_at < (*y)->last_at) - ((*x)->last_at > (*y)->last_at);
}

size_t events_list(struct events *e, const char *registry, const char *repository, struct event *ret_events, size_t max)
{
    const struct event *found[EVENTS_MAX];
    size_t count = 0;
    (void)pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < EVENTS_MAX; i++) {
        const struct event *it = &e->slots[i].event;
        if (it->count > 0 && (!registry || strcmp(it->registry, registry) == 0) &&
            (!repository || strcmp(it->repository, repository) == 0))
            found[count++] = it;
    }
    qsort((void *)found, count, sizeof(found[0]), compare);
    count = count < max ? count : max;
    for (size_t i = 0; i < count; i++)
        ret_events[i] = *found[i];
    (void)pthread_mutex_unlock(&e->lock);
    return count;
}
