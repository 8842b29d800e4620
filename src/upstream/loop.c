#include "upstream/loop.h"

#include "base/clock.h"
#include "base/limits.h"
#include "upstream/transfer.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define WAIT_MAX_MS 1000
#define IDLE_CONNECTIONS 64L

/* A host that has transfers. Bulk transfers leave a part of its connections to the short ones, which would otherwise
 * wait behind blobs for minutes. */
struct host {
    char *origin;
    struct list link;
    struct list queue, bulk_queue;
    unsigned active;
};

int loop_init(struct loop *l)
{
    *l = (struct loop){.multi = curl_multi_init()};
    list_init(&l->hosts);
    list_init(&l->active);
    if (!l->multi)
        return -ENOMEM;
    (void)curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
    (void)curl_multi_setopt(l->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    return 0;
}

void loop_finish(struct loop *l)
{
    if (l->multi)
        (void)curl_multi_cleanup(l->multi);
    l->multi = NULL;
}

/* ------------------------------------------------------------------ who may have a connection */

static struct host *find_host(struct loop *l, const char *origin)
{
    for (struct list *i = l->hosts.next; i != &l->hosts; i = i->next) {
        struct host *h = CONTAINER_OF(i, struct host, link);
        if (strcmp(h->origin, origin) == 0)
            return h;
    }
    struct host *h = calloc(1, sizeof(*h));
    if (!h || !(h->origin = strdup(origin))) {
        free(h);
        return NULL;
    }
    list_init(&h->queue);
    list_init(&h->bulk_queue);
    list_append(&l->hosts, &h->link);
    return h;
}

static void forget_host(struct host *h)
{
    if (h->active > 0 || !list_empty(&h->queue) || !list_empty(&h->bulk_queue))
        return;
    list_remove(&h->link);
    free(h->origin);
    free(h);
}

static bool has_room(const struct host *h, const struct transfer *t)
{
    unsigned max = t->source->max_connections;
    unsigned reserve = max / 4 > 4 ? 4 : max / 4;
    return h->active < (t->bulk ? max - reserve : max);
}

/* Half of the connections are free, and nobody waits for one. */
static bool can_spare(const struct host *h, const struct transfer *t)
{
    return h->active < t->source->max_connections / 2 && list_empty(&h->queue) && list_empty(&h->bulk_queue);
}

static void dequeue(struct loop *l, struct host *h, struct list *queue)
{
    while (!list_empty(queue)) {
        struct transfer *t = CONTAINER_OF(queue->next, struct transfer, link);
        if (!has_room(h, t))
            return;
        list_remove(&t->link);
        list_append(&l->active, &t->link);
        h->active++;
        t->phase = TRANSFER_CONNECTING;
        /* libcurl's clock comes first; this one is for the case that it does not */
        timer_set(&l->timers, &t->timer, clock_monotonic_ms() + t->source->connect_timeout_ms + CLOCK_SECOND);
        CURLMcode code = curl_multi_add_handle(l->multi, t->easy);
        if (code != CURLM_OK) {
            (void)transfer_fail(t, code == CURLM_OUT_OF_MEMORY ? -ENOMEM : -EPROTO, "%s", curl_multi_strerror(code));
            timer_set(&l->timers, &t->timer, 0); /* ends in the next turn: who starts one does not expect its end */
        }
    }
}

static void admit(struct loop *l, struct host *h)
{
    dequeue(l, h, &h->queue);
    dequeue(l, h, &h->bulk_queue);
    forget_host(h);
}

/* ------------------------------------------------------------------ transfers come and go */

int loop_start(struct loop *l, struct transfer *t)
{
    if (l->stopping)
        return -ECANCELED;
    struct host *h = find_host(l, t->url.origin);
    if (!h)
        return -ENOMEM;
    if (t->spare && !can_spare(h, t)) {
        forget_host(h);
        return -EBUSY;
    }
    t->host = h;
    t->phase = TRANSFER_QUEUED;
    list_append(t->bulk ? &h->bulk_queue : &h->queue, &t->link);
    timer_set(&l->timers, &t->timer, clock_monotonic_ms() + LIMIT_QUEUE_MS);
    admit(l, h);
    return 0;
}

/* Out of the loop; another may have its connection. */
static void take_out(struct loop *l, struct transfer *t)
{
    timer_clear(&l->timers, &t->timer);
    list_remove(&t->link);
    if (t->phase != TRANSFER_QUEUED) {
        (void)curl_multi_remove_handle(l->multi, t->easy);
        t->host->active--;
    }
    struct host *h = t->host;
    t->host = NULL;
    if (l->stopping)
        forget_host(h);
    else
        admit(l, h);
}

void loop_end(struct loop *l, struct transfer *t)
{
    take_out(l, t);
    if (t->ignore) { /* what counts of it has come already */
        t->error = 0;
        t->message[0] = '\0';
    }
    t->owner->done(t->arg, t);
    transfer_destroy(t);
}

void loop_drop(struct loop *l, struct transfer *t)
{
    take_out(l, t);
    transfer_destroy(t);
}

static void cancel(struct loop *l, struct list *link)
{
    struct transfer *t = CONTAINER_OF(link, struct transfer, link);
    (void)transfer_fail(t, -ECANCELED, "stopped");
    loop_end(l, t);
}

void loop_stop(struct loop *l)
{
    l->stopping = true;
    while (!list_empty(&l->active))
        cancel(l, l->active.next);
    while (!list_empty(&l->hosts)) {
        struct host *h = CONTAINER_OF(l->hosts.next, struct host, link);
        cancel(l, list_empty(&h->queue) ? h->bulk_queue.next : h->queue.next);
    }
}

/* ------------------------------------------------------------------ turning */

static void collect(struct loop *l)
{
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(l->multi, &left));) {
        if (m->msg != CURLMSG_DONE)
            continue;
        char *private = NULL;
        CURLcode code = m->data.result;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
        struct transfer *t = (struct transfer *)(void *)private;
        transfer_conclude(t, code);
        loop_end(l, t);
    }
}

void loop_turn(struct loop *l)
{
    int running;
    timers_run(&l->timers, clock_monotonic_ms());
    (void)curl_multi_perform(l->multi, &running);
    collect(l);
}

void loop_wait(struct loop *l)
{
    int64_t left = timers_next(&l->timers);
    if (left != INT64_MAX)
        left -= clock_monotonic_ms();
    int ms = left < 0 ? 0 : left > WAIT_MAX_MS ? WAIT_MAX_MS : (int)left;
    if (curl_multi_poll(l->multi, NULL, 0, ms, NULL) != CURLM_OK)
        (void)poll(NULL, 0, 10); /* no memory: not a reason to spin */
}

void loop_wake(struct loop *l)
{
    (void)curl_multi_wakeup(l->multi);
}
