#include "mirror/flight_state.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "upstream/upstream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PART_OPEN UINT64_MAX /* to wherever the blob ends: its size is not known */

/* A connection fetches so much at a time: an eighth of the smallest blob that is fetched in parts, so that there is
 * work for all of them; of larger ones a sixty-fourth, so that requests stay few, as long as that does not leave the
 * front far behind what has come. */
#define PIECES_LEAST 8
#define PIECES_MOST 64
#define PIECE_MOST (64 * MIB)
/* Pieces for each connection that may be ahead: a quick one need not wait for the front. */
#define PIECES_AHEAD 2

static const struct upstream_callbacks callbacks;

static void part_free(struct part *p)
{
    free(p->gathered);
    free(p);
}

static bool is_whole(const struct part *p)
{
    return p->at == p->end;
}

static bool is_last(const struct part *p)
{
    return p->end == PART_OPEN || p->end == p->flight->size;
}

/* --- which parts there are -------------------------------------------------------------------------------------- */

int parts_begin(struct flight *f)
{
    f->front = calloc(1, sizeof(*f->front));
    if (!f->front)
        return -ENOMEM;
    *f->front = (struct part){.flight = f, .at = f->written, .end = PART_OPEN};
    return 0;
}

/* Of those that have a job it is not waited for: the job finds that nobody wants it any more. */
static void drop_from(struct flight *f, struct part *first)
{
    for (struct part *p = first, *next; p; p = next) {
        next = p->next;
        p->flight = NULL;
        if (p->is_busy)
            f->busy--;
        else
            part_free(p);
    }
}

void parts_drop(struct flight *f)
{
    drop_from(f, TAKE_PTR(f->front));
}

static uint64_t end_of_piece(const struct flight *f, uint64_t at)
{
    return f->limit > 1 && f->size - at >= f->piece + f->piece / 2 ? at + f->piece : f->size;
}

void parts_plan(struct flight *f)
{
    bool is_large = f->has_size && f->rules.segments > 1 && f->size - f->written >= f->rules.segments_min;
    f->limit = is_large ? f->rules.segments : 1;
    f->most = f->limit;
    if (is_large) {
        uint64_t least = f->rules.segments_min / PIECES_LEAST, fair = f->size / PIECES_MOST;
        fair = fair < PIECE_MOST ? fair : PIECE_MOST;
        f->piece = fair > least ? fair : least;
    }
    f->front->end = f->has_size ? end_of_piece(f, f->written) : PART_OPEN;
}

bool parts_go_on(struct flight *f)
{
    struct part *p = f->front;
    for (; is_whole(p) && !p->is_busy && p->next; p = f->front) {
        f->front = p->next;
        part_free(p);
    }
    if (is_whole(p) && !p->is_busy && !is_last(p))
        p->end = end_of_piece(f, p->end);
    if (f->most < f->limit)
        f->most++;
    return !is_whole(p) || p->is_busy;
}

/* The first part that nobody fetches, or another piece behind the last of them. NULL: there is none, or it would be too
 * far ahead. */
static struct part *find_work(struct flight *f)
{
    struct part *p = f->front;
    while ((p->is_busy || is_whole(p)) && p->next)
        p = p->next;
    if (!p->is_busy && !is_whole(p))
        return p;
    if (is_last(p) || p->end - f->written >= PIECES_AHEAD * f->rules.segments * f->piece)
        return NULL;
    p->next = calloc(1, sizeof(*p));
    if (p->next)
        *p->next = (struct part){.flight = f, .at = p->end, .end = end_of_piece(f, p->end)};
    return p->next;
}

/* One connection less is used: for good, or until the front has come to its next piece. */
static void use_less(struct flight *f, bool is_for_good)
{
    if (f->most > 1)
        f->most--;
    if (is_for_good && f->limit > 1)
        f->limit--;
}

void parts_feed(struct flight *f)
{
    while (f->in_parts && f->busy < f->most) {
        struct part *p = find_work(f);
        if (!p)
            return;
        if (part_ask(p, false, 0) < 0)
            use_less(f, true);
    }
}

/* --- bytes come --------------------------------------------------------------------------------------------- */

static uint64_t contiguous(const struct flight *f)
{
    const struct part *p = f->front;
    while (is_whole(p) && p->next)
        p = p->next;
    return p->at;
}

static int write_out(struct part *p)
{
    struct flight *f = p->flight;
    if (p->gathered_len == 0)
        return 0;
    int r = blobstore_writer_write(f->writer, p->at, p->gathered, p->gathered_len);
    if (r < 0)
        return r;
    p->at += p->gathered_len;
    p->gathered_len = 0;
    uint64_t written = contiguous(f);
    bool post = false;
    if (written > f->written)
        r = blobstore_writer_extend(f->writer, written);
    if (r < 0)
        return r;
    gate_lock(&f->gate);
    r = f->broken;
    if (written > f->written) {
        f->written = written;
        post = flight_wants_hash(f);
        f->breaks = 0;
        f->progressed_at = clock_monotonic_ms();
        gate_wake(&f->gate);
    }
    gate_unlock(&f->gate);
    if (post)
        workers_post(f->all->needs.workers, &f->work);
    return r;
}

/* What the answer's header says against what is known. */
static int check_head(const struct part *p, const struct upstream_head *head)
{
    struct flight *f = p->flight;
    bool is_part = head->status == 206;
    bool is_another = is_part && (head->range_start < 0 || (uint64_t)head->range_start != p->at ||
                                  (!is_last(p) && head->length != (int64_t)(p->end - p->at)));
    if (is_another || (!is_part && p != f->front)) /* one answer that is the whole blob is enough */
        return -EPROTO;
    int64_t total = is_part ? head->total : head->length;
    bool is_claimed = f->size_source == SIZE_OF_MANIFEST && !f->answerable;
    if (!f->has_size)
        return total < 0 ? 0 /* the length shows at the end */ : flight_set_size(f, (uint64_t)total, SIZE_OF_GET);
    if ((uint64_t)total == f->size || (total < 0 && !is_claimed))
        return 0;
    /* A manifest's word is not believed against the registry's, nor alone: a HEAD decides. */
    return is_claimed ? -EDOM : -EBADE;
}

/* Others help from now on, if this one has shown that it gives parts. An answer that is the whole blob takes over from
 * all others. A sibling is near, and may not have all of it yet: one connection will do. */
static void begin_front(struct part *p, const struct upstream_head *head)
{
    struct flight *f = p->flight;
    bool is_all = head->status == 200;
    f->in_parts = !is_all && !head->sibling;
    if (!f->in_parts)
        f->most = f->limit = 1;
    if (is_all)
        drop_from(f, TAKE_PTR(p->next));
    if (f->has_size && (is_all || p->end == PART_OPEN))
        p->end = f->size;
    gate_lock(&f->gate);
    f->state = FLIGHT_STREAMING;
    f->source = (int)head->source;
    f->feed = head->sibling ? FEED_SIBLING : FEED_UPSTREAM;
    f->answerable = true;
    gate_wake(&f->gate);
    gate_unlock(&f->gate);
    parts_feed(f);
}

static void on_source(void *arg, bool sibling)
{
    struct part *p = arg;
    struct flight *f = p->flight;
    if (!f || p != f->front)
        return;
    gate_lock(&f->gate);
    f->feed = sibling ? FEED_ASKED : FEED_UPSTREAM;
    if (sibling)
        gate_wake(&f->gate); /* siblings do not wait for siblings */
    gate_unlock(&f->gate);
}

static int on_head(void *arg, const struct upstream_head *head)
{
    struct part *p = arg;
    struct flight *f = p->flight;
    if (!f)
        return -ECANCELED;
    if (f->state == FLIGHT_SIZING) { /* no bytes at all may mean only that a HEAD has no body; a page says nothing */
        bool is_page = strncmp(head->content_type, "text/html", 9) == 0;
        f->vouched = f->vouched || !is_page;
        return !is_page && head->length > 0 ? flight_set_size(f, (uint64_t)head->length, SIZE_OF_HEAD) : 0;
    }
    int r = check_head(p, head);
    if (r == 0 && !f->in_parts && f->has_size && f->size > f->written)
        r = blobstore_writer_reserve(f->writer, f->size);
    p->job_error = r;
    if (r < 0)
        return r;
    p->skip = head->status == 206 ? 0 : p->at;
    f->vouched = true;
    f->givers |= 1U << (head->source % 32);
    if (p == f->front)
        begin_front(p, head);
    else
        metrics_add(METRIC_FLIGHTS_SEGMENTS, 1, LABELS(f->registry));
    return 0;
}

static int on_body(void *arg, const void *data, size_t len)
{
    struct part *p = arg;
    const char *from = data;
    if (!p->flight)
        return -ECANCELED;
    if (p->job_error)
        return p->job_error; /* on_tick has met it */
    if (p->skip > 0) {
        size_t known = p->skip < len ? (size_t)p->skip : len;
        p->skip -= known;
        from += known;
        len -= known;
    }
    uint64_t most = p->end == PART_OPEN ? LIMIT_BLOB : p->end;
    if (len > most - p->at - p->gathered_len)
        return p->job_error = -EMSGSIZE;
    while (len > 0) {
        size_t room = FLIGHT_GATHER - p->gathered_len, n = len < room ? len : room;
        memcpy(p->gathered + p->gathered_len, from, n);
        p->gathered_len += n;
        from += n;
        len -= n;
        if (p->gathered_len == FLIGHT_GATHER) {
            int r = write_out(p);
            if (r < 0)
                return p->job_error = r;
        }
    }
    return 0;
}

static void on_tick(void *arg)
{
    struct part *p = arg;
    int r = p->flight ? write_out(p) : 0;
    if (r < 0 && p->job_error == 0)
        p->job_error = r; /* the next on_body ends the job */
}

/* A part ahead of the front has ended. Where it has not come on, one connection less is used: whoever was refused does
 * not come again and again, and who found none to spare comes again with the front's next piece. What is missing is
 * fetched when the front has come to it at the latest, and what is wrong is told then. */
static void end_ahead(struct part *p, int error)
{
    struct flight *f = p->flight;
    if (!is_whole(p) && p->at == p->asked_at)
        use_less(f, error != -EBUSY);
    parts_feed(f);
}

static void on_done(void *arg, const struct upstream_result *result)
{
    struct part *p = arg;
    struct flight *f = p->flight;
    if (!f) {
        part_free(p);
        return;
    }
    f->requests += result->requests;
    int r = p->job_error ? 0 : write_out(p);
    if (r < 0)
        p->job_error = r;
    free(TAKE_PTR(p->gathered));
    p->is_busy = false;
    f->busy--;
    if (p == f->front)
        flight_advance(f, result);
    else
        end_ahead(p, result->error);
}

static const struct upstream_callbacks callbacks = {
    .on_source = on_source, .on_head = on_head, .on_body = on_body, .on_tick = on_tick, .on_done = on_done};

int part_ask(struct part *p, bool head, int64_t delay_ms)
{
    struct flight *f = p->flight;
    char digest[DIGEST_TEXT_MAX];
    const struct upstream_job job = {
        .registry = f->registry,
        .repository = f->repository,
        .object = UPSTREAM_BLOB,
        .reference = digest_format(&f->digest, digest),
        .head = head,
        .as_public = f->as_public,
        .avoid = f->shunned | f->avoid,
        .offset = head ? 0 : p->at,
        .length = head || is_last(p) ? 0 : p->end - p->at,
        .spare = p != f->front,
        .delay_ms = delay_ms,
        .callbacks = &callbacks,
        .arg = p,
    };
    p->job_error = 0;
    p->asked_at = p->at;
    p->gathered_len = 0;
    p->gathered = malloc(FLIGHT_GATHER);
    if (!p->gathered)
        return -ENOMEM;
    p->is_busy = true;
    f->busy++;
    int r = upstream_submit(f->all->needs.upstream, &job);
    if (r == 0)
        return 0; /* the flight is the upstream's thread's */
    p->is_busy = false;
    f->busy--;
    free(TAKE_PTR(p->gathered));
    return r;
}
