#include "base/metrics.h"

#include "base/hash.h"
#include "base/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#define MICROS 1000000
#define BOUNDS_MAX 14
/* One more for what is above all bounds, and one for the sum. */
#define VALUES_MAX (BOUNDS_MAX + 2)
#define CHAINS 64
#define LABEL_VALUE_MAX 255

enum type { COUNTER, GAUGE, HISTOGRAM };
enum unit { NO_UNIT, BYTES, SECONDS };

struct family {
    const char *name;
    enum type type;
    enum unit unit;
    bool collected;
    const char *labels[METRIC_LABELS_MAX];
    const char *help;
};

static const struct family families[] = {
    [METRIC_BUILD_INFO] = {"entrepot_build_info", GAUGE, .labels = {"version"}, .help = "1, with what is running."},
    [METRIC_START_TIME] = {"entrepot_start_time_seconds", GAUGE, SECONDS,
                           .help = "When the process started, since 1970."},
    [METRIC_CONNECTIONS] = {"entrepot_connections", GAUGE, .help = "Clients' open connections."},
    [METRIC_CONNECTIONS_LIMIT] = {"entrepot_connections_limit", GAUGE,
                                  .help = "How many there may be: server.max_connections."},
    [METRIC_CONNECTIONS_REFUSED] = {"entrepot_connections_refused_total", COUNTER,
                                    .help = "Connections of clients that had as many as they may: "
                                            "server.limits.connections_per_client."},
    [METRIC_CONNECTIONS_SLOW] = {"entrepot_connections_slow_total", COUNTER, .labels = {"reason"},
                                 .help = "Connections that were ended since the client was too slow: `header` "
                                         "(server.limits.header_timeout) or `rate` (server.limits.min_rate)."},
    [METRIC_TLS_EXPIRY] = {"entrepot_tls_certificate_expiry_timestamp_seconds", GAUGE, SECONDS,
                           .labels = {"certificate"},
                           .help = "When the certificate that is shown to clients expires, since 1970, by its file."},
    [METRIC_TLS_RELOAD_SUCCESS] = {"entrepot_tls_reload_success", GAUGE,
                                   .help =
                                       "1: what is in the files of server.tls is in use; 0: some of it is not right, "
                                       "and what was there before stays."},
    [METRIC_AUTH_RELOAD_SUCCESS] = {"entrepot_auth_reload_success", GAUGE,
                                    .help = "1: the file of users is in use as it is; 0: it is not right, and what was "
                                            "there before stays."},
    [METRIC_AUTH_LOGINS] = {"entrepot_auth_logins_total", COUNTER, .labels = {"result"},
                            .help = "Passwords that clients sent: good, wrong, or not looked at since too many from "
                                    "there were wrong (slowed)."},
    [METRIC_REQUESTS] = {"entrepot_requests_total", COUNTER, .labels = {"object", "outcome", "status"},
                         .help =
                             "Clients' requests that have ended, by what was asked for, where it came from, and the "
                             "class of the status."},
    [METRIC_REQUEST_DURATION] = {"entrepot_request_duration_seconds", HISTOGRAM, SECONDS,
                                 .labels = {"object", "outcome"},
                                 .help = "From the request line to the end of the answer."},
    [METRIC_REQUEST_FIRST_BYTE] = {"entrepot_request_first_byte_seconds", HISTOGRAM, SECONDS,
                                   .labels = {"object", "outcome"},
                                   .help = "From the request line until the answer began to flow."},
    [METRIC_RESPONSE_BYTES] = {"entrepot_response_bytes_total", COUNTER, BYTES, .labels = {"object", "outcome"},
                               .help =
                                   "Bytes of bodies that were sent. A file whose client left early is not counted."},
    [METRIC_STALE_SERVED] = {"entrepot_stale_served_total", COUNTER, .labels = {"registry"},
                             .help = "Answers from the store past their time, since no upstream could be asked."},
    [METRIC_NEGATIVE_HITS] = {"entrepot_negative_hits_total", COUNTER, .labels = {"registry"},
                              .help = "Answers from the memory of what is absent or refused upstream."},
    [METRIC_QUESTIONS] =
        {"entrepot_questions_total", COUNTER, .labels = {"registry", "kind"},
         .help =
             "Questions put upstream, for all but the bytes of blobs; clients that wait for the same one share it."},
    [METRIC_FLIGHTS_ACTIVE] = {"entrepot_flights_active", GAUGE, .help = "Blobs that are being fetched now."},
    [METRIC_FLIGHTS_STARTED] = {"entrepot_flights_started_total", COUNTER, .labels = {"registry"},
                                .help = "Blobs whose fetching began; clients that want the same one share it."},
    [METRIC_FLIGHTS_FAILED] = {"entrepot_flights_failed_total", COUNTER, .labels = {"registry"},
                               .help =
                                   "Of those, the ones that ended without the blob, be it that the registry has none."},
    [METRIC_FLIGHTS_RESUMED] =
        {"entrepot_flights_resumed_total", COUNTER, .labels = {"registry"},
         .help = "Attempts at a blob that broke off, or did not get as far as that, and were followed by another."},
    [METRIC_FLIGHTS_PREFETCHED] = {"entrepot_flights_prefetched_total", COUNTER, .labels = {"registry"},
                                   .help = "Blobs that began to flow before a client asked for them."},
    [METRIC_FLIGHTS_SEGMENTS] =
        {"entrepot_flights_segments_total", COUNTER, .labels = {"registry"},
         .help = "Parts of large blobs that were fetched ahead of what came from the start, over other connections."},
    [METRIC_STORED_BYTES] = {"entrepot_stored_bytes_total", COUNTER, BYTES, .labels = {"registry"},
                             .help =
                                 "Distinct bytes: of blobs and manifests that were fetched and verified, each counted "
                                 "once."},
    [METRIC_UPSTREAM_REQUESTS] = {"entrepot_upstream_requests_total", COUNTER, .collected = true,
                                  .labels = {"registry", "source"},
                                  .help = "HTTP requests made, those for tokens and redirects among them."},
    [METRIC_UPSTREAM_BYTES] = {"entrepot_upstream_bytes_total", COUNTER, BYTES, .collected = true,
                               .labels = {"registry", "source"}, .help = "Bytes of bodies that were fetched."},
    [METRIC_UPSTREAM_COUNTED] = {"entrepot_upstream_counted_requests_total", COUNTER, .collected = true,
                                 .labels = {"registry", "account", "class", "cause"},
                                 .help = "Requests that a pull limit counts: GETs of manifests, by who waited for them "
                                         "and why they were needed."},
    [METRIC_UPSTREAM_LIMITED] = {"entrepot_upstream_limited_total", COUNTER, .labels = {"registry", "kind"},
                                 .help = "Answers 429, by the limit that was met: of pulls, of bytes, of a moment, of "
                                         "the host's patience (abuse), or the token server's."},
    [METRIC_UPSTREAM_BREAKER] = {"entrepot_upstream_breaker_state", GAUGE, .collected = true,
                                 .labels = {"registry", "source"},
                                 .help =
                                     "0: closed, the source is asked; 1: half-open, one request tries it; 2: open."},
    [METRIC_BUDGET_LIMIT] = {"entrepot_budget_limit", GAUGE, .collected = true,
                             .labels = {"registry", "source", "account"},
                             .help = "Counted requests that the pull limit allows in its window. Absent where none is "
                                     "known, as the next ones are."},
    [METRIC_BUDGET_REMAINING] = {"entrepot_budget_remaining", GAUGE, .collected = true,
                                 .labels = {"registry", "source", "account"},
                                 .help = "How many of them are left, as the registry said last. Absent where a whole "
                                         "window has passed since it did."},
    [METRIC_BUDGET_EMPTY_IN] = {"entrepot_budget_empty_in_seconds", GAUGE, SECONDS, true,
                                .labels = {"registry", "source", "account"},
                                .help = "When they will be spent, at the rate of the last hour, or of the time since "
                                        "the first pull, but of ten minutes at least. Absent where that is not "
                                        "in sight."},
    [METRIC_BUDGET_BLOCKED_UNTIL] = {"entrepot_budget_blocked_until_timestamp_seconds", GAUGE, SECONDS, true,
                                     .labels = {"registry", "source", "account"},
                                     .help = "The limit was met: no counted request before this time, since 1970."},
    [METRIC_PUBLIC_LIMIT] = {"entrepot_budget_public_limit", GAUGE, .collected = true, .labels = {"registry", "source"},
                             .help = "Of a source with an account, what everybody without one may pull there, as "
                                     "questions of visibility have shown it. They cost nothing, and nothing is pulled "
                                     "so but what nobody could say of that it is everybody's."},
    [METRIC_PUBLIC_REMAINING] = {"entrepot_budget_public_remaining", GAUGE, .collected = true,
                                 .labels = {"registry", "source"},
                                 .help = "How many of them are left: what this address could still pull without the "
                                         "account."},
    [METRIC_STORE_BYTES] = {"entrepot_store_bytes", GAUGE, BYTES, .help = "Of the files of all blobs that are stored."},
    [METRIC_STORE_CONTENT] = {"entrepot_store_content_bytes", GAUGE, BYTES,
                              .help = "Of the content that is in them: more, where some of it is compressed."},
    [METRIC_STORE_BLOBS] = {"entrepot_store_blobs", GAUGE, .help = "Blobs that are stored, manifests among them."},
    [METRIC_STORE_LIMIT] = {"entrepot_store_limit_bytes", GAUGE, BYTES,
                            .help = "How much may be stored: store.max_size."},
    [METRIC_STORE_HELD] = {"entrepot_store_held_bytes", GAUGE, BYTES,
                           .help = "Of blobs that are not stored any more, but still read by a client."},
    [METRIC_STORE_PARTIAL] = {"entrepot_store_partial_bytes", GAUGE, BYTES, .labels = {"state"},
                              .help =
                                  "Of blobs that are not whole yet: of running flights, and left by broken ones for "
                                  "the next to go on with. They count as what is stored does."},
    [METRIC_STORE_AVAILABLE] = {"entrepot_store_available_bytes", GAUGE, BYTES,
                                .help = "What the store's file system has room for, whoever uses it."},
    [METRIC_EVICTED_IMAGES] = {"entrepot_evicted_images_total", COUNTER,
                               .help = "Images, and blobs of no image, that went because they were not used for long."},
    [METRIC_EVICTED_BYTES] = {"entrepot_evicted_bytes_total", COUNTER, BYTES,
                              .help = "What went with them: manifests and blobs that nothing else needed."},
    [METRIC_PACKED_BLOBS] = {"entrepot_packed_blobs_total", COUNTER,
                             .help = "Blobs that were compressed after they had been stored."},
    [METRIC_PACKED_SAVED] = {"entrepot_packed_saved_bytes_total", COUNTER, BYTES,
                             .help = "What their files have become smaller by that."},
    [METRIC_PASSED_BY] = {"entrepot_passed_by_total", COUNTER, .labels = {"registry"},
                          .help = "Blobs that went to a client past the store, which had no room."},
    [METRIC_MENDED] = {"entrepot_mended_total", COUNTER,
                       .help = "Damaged blobs of pinned images that were fetched again without anybody asking."},
    [METRIC_SCRUBBED_BYTES] = {"entrepot_scrubbed_bytes_total", COUNTER, BYTES,
                               .help = "Bytes that were read to see whether they still are what they should be."},
    [METRIC_DAMAGED] = {"entrepot_damaged_blobs_total", COUNTER, .labels = {"found"},
                        .help = "Stored blobs that were not what they should be, by what found them: the scrub, a "
                                "client's request, a backup, an audit, or a look at what an image needs."},
    [METRIC_BACKUP_TIME] = {"entrepot_backup_last_success_timestamp_seconds", GAUGE, SECONDS,
                            .help = "When the last backup that was kept was begun, since 1970: it has what was stored "
                                    "then. Absent where there was none."},
    [METRIC_BACKUP_BYTES] = {"entrepot_backup_last_size_bytes", GAUGE, BYTES, .help = "The size of its file."},
    [METRIC_SEED_IMAGES] = {"entrepot_seed_images", GAUGE, .collected = true, .labels = {"seed"},
                            .help = "Images of a seed of the configuration."},
    [METRIC_SEED_FAILED] = {"entrepot_seed_failed_images", GAUGE, .collected = true, .labels = {"seed"},
                            .help = "Those of them that could not be had, in its run now or else its last."},
    [METRIC_SEED_ENDED] = {"entrepot_seed_last_end_timestamp_seconds", GAUGE, SECONDS, true, .labels = {"seed"},
                           .help = "When its run came to its end, since 1970. Absent while one is under way."},
};
_Static_assert(sizeof(families) / sizeof(families[0]) == METRICS, "each metric has a row");

/* Of durations, in microseconds; upper bounds, inclusive. */
static const int64_t bounds[BOUNDS_MAX] = {250,    1000,    2500,    5000,    10000,    25000,    100000,
                                           250000, 1000000, 2500000, 5000000, 10000000, 30000000, 120000000};

struct series {
    struct series *_Atomic chained; /* to the next of the same hash */
    struct series *_Atomic newer;   /* in the order of the page */
    /* A collected one is shown while it is of the last page, any other as soon as it has a value. */
    _Atomic uint64_t shown;
    _Atomic int64_t values[VALUES_MAX]; /* [0]; of a histogram observations by bound, and their sum behind */
    const char *labels[METRIC_LABELS_MAX];
    char text[];
};

struct family_state {
    struct series *_Atomic chains[CHAINS];
    struct series *_Atomic oldest;
    /* under metrics.lock */
    struct series *newest;
    unsigned count;
};

/* Series are made once and stay: who reads needs no lock. */
static struct {
    pthread_mutex_t lock; /* of new series */
    struct family_state families[METRICS];

    pthread_mutex_t page_lock; /* one page at a time */
    void (*collect)(void *arg);
    void *collect_arg;
    _Atomic uint64_t page; /* number of the page that is made, or was last */
} metrics = {.lock = PTHREAD_MUTEX_INITIALIZER, .page_lock = PTHREAD_MUTEX_INITIALIZER, .page = 1};

static const char *const others[METRIC_LABELS_MAX] = {"other", "other", "other", "other"};

/* ------------------------------------------------------------------ series */

static unsigned label_count(const struct family *f)
{
    unsigned n = 0;
    while (n < METRIC_LABELS_MAX && f->labels[n])
        n++;
    return n;
}

static bool fits(const char *const *labels, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (strlen(labels[i]) > LABEL_VALUE_MAX)
            return false;
    return true;
}

static unsigned chain_of(const char *const *labels, unsigned count)
{
    uint64_t h = 0;
    for (unsigned i = 0; i < count; i++)
        h = h * 31 + hash_string(labels[i]);
    return (unsigned)(h % CHAINS);
}

static struct series *find(struct family_state *state, unsigned chain, const char *const *labels, unsigned count)
{
    struct series *s = atomic_load_explicit(&state->chains[chain], memory_order_acquire);
    for (; s; s = atomic_load_explicit(&s->chained, memory_order_acquire)) {
        unsigned same = 0;
        while (same < count && strcmp(s->labels[same], labels[same]) == 0)
            same++;
        if (same == count)
            return s;
    }
    return NULL;
}

/* Without memory there is no series, and nothing is counted. */
static struct series *create(const char *const *labels, unsigned count)
{
    size_t size = 0;
    for (unsigned i = 0; i < count; i++)
        size += strlen(labels[i]) + 1;
    struct series *s = calloc(1, sizeof(*s) + size);
    char *at = s ? s->text : NULL;
    for (unsigned i = 0; s && i < count; i++) {
        size_t n = strlen(labels[i]) + 1;
        s->labels[i] = memcpy(at, labels[i], n);
        at += n;
    }
    return s;
}

static void add_locked(struct family_state *state, unsigned chain, struct series *s)
{
    s->chained = state->chains[chain];
    atomic_store_explicit(&state->chains[chain], s, memory_order_release);
    atomic_store_explicit(state->newest ? &state->newest->newer : &state->oldest, s, memory_order_release);
    state->newest = s;
    state->count++;
}

static struct series *find_or_create(enum metric m, const char *const *labels)
{
    const struct family *f = &families[m];
    struct family_state *state = &metrics.families[m];
    unsigned count = label_count(f), chain = chain_of(labels, count);
    struct series *s = find(state, chain, labels, count);
    if (s)
        return s;
    (void)pthread_mutex_lock(&metrics.lock);
    s = find(state, chain, labels, count);
    if (!s && (state->count < METRIC_SERIES_MAX || labels == others)) {
        s = create(labels, count);
        if (s)
            add_locked(state, chain, s);
    }
    (void)pthread_mutex_unlock(&metrics.lock);
    return s;
}

/* NULL where it cannot be counted. */
static struct series *series_of(enum metric m, const char *const *labels)
{
    const char *given[METRIC_LABELS_MAX];
    unsigned count = label_count(&families[m]);
    for (unsigned i = 0; i < METRIC_LABELS_MAX; i++) {
        given[i] = labels && labels[i] ? labels[i] : "";
        assert(i < count || !*given[i]); /* more labels than the family has */
    }
    struct series *s = fits(given, count) ? find_or_create(m, given) : NULL;
    return s || families[m].type == GAUGE ? s : find_or_create(m, others);
}

/* ------------------------------------------------------------------ counting */

/* A collected series begins at nothing with each page. */
static void begin(enum metric m, struct series *s)
{
    uint64_t page = families[m].collected ? atomic_load_explicit(&metrics.page, memory_order_relaxed) : 1;
    if (atomic_load_explicit(&s->shown, memory_order_relaxed) == page)
        return;
    if (families[m].collected)
        atomic_store_explicit(&s->values[0], 0, memory_order_relaxed);
    atomic_store_explicit(&s->shown, page, memory_order_relaxed);
}

void metrics_add(enum metric m, int64_t n, const char *const *labels)
{
    assert(families[m].type == GAUGE || (families[m].type == COUNTER && n >= 0));
    struct series *s = series_of(m, labels);
    if (!s)
        return;
    begin(m, s);
    (void)atomic_fetch_add_explicit(&s->values[0], n, memory_order_relaxed);
}

void metrics_set(enum metric m, int64_t value, const char *const *labels)
{
    assert(families[m].type == GAUGE);
    struct series *s = series_of(m, labels);
    if (!s)
        return;
    begin(m, s);
    atomic_store_explicit(&s->values[0], value, memory_order_relaxed);
}

void metrics_observe(enum metric m, int64_t value, const char *const *labels)
{
    assert(families[m].type == HISTOGRAM && !families[m].collected);
    struct series *s = series_of(m, labels);
    if (!s)
        return;
    unsigned i = 0;
    while (i < BOUNDS_MAX && value > bounds[i])
        i++;
    begin(m, s);
    (void)atomic_fetch_add_explicit(&s->values[i], 1, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&s->values[BOUNDS_MAX + 1], value, memory_order_relaxed);
}

int64_t metrics_value(enum metric m, const char *const *labels)
{
    const char *given[METRIC_LABELS_MAX];
    unsigned count = label_count(&families[m]);
    for (unsigned i = 0; i < METRIC_LABELS_MAX; i++)
        given[i] = labels && labels[i] ? labels[i] : "";
    const struct series *s = find(&metrics.families[m], chain_of(given, count), given, count);
    if (!s)
        return 0;
    int64_t value = s->values[0];
    for (unsigned i = 1; families[m].type == HISTOGRAM && i <= BOUNDS_MAX; i++)
        value += s->values[i];
    return value;
}

void metrics_set_collector(void (*fn)(void *arg), void *arg)
{
    (void)pthread_mutex_lock(&metrics.page_lock);
    metrics.collect = fn;
    metrics.collect_arg = arg;
    (void)pthread_mutex_unlock(&metrics.page_lock);
}

/* ------------------------------------------------------------------ the page */

static int add_seconds(struct buf *b, int64_t micros)
{
    uint64_t size = micros < 0 ? 0 - (uint64_t)micros : (uint64_t)micros;
    int r = buf_addf(b, "%s%" PRIu64 ".%06" PRIu64, micros < 0 ? "-" : "", size / MICROS, size % MICROS);
    if (r < 0)
        return r;
    size_t len = b->len;
    while (b->data[len - 1] == '0')
        len--;
    buf_cut(b, b->data[len - 1] == '.' ? len - 1 : len);
    return 0;
}

static int add_value(struct buf *b, enum unit unit, int64_t value)
{
    return unit == SECONDS ? add_seconds(b, value) : buf_addf(b, "%" PRId64, value);
}

/* The format knows three escapes, and is UTF-8. */
static int add_label_value(struct buf *b, const char *s)
{
    int r = 0;
    while (r == 0 && *s) {
        size_t n = utf8_length(s);
        if (n == 0)
            r = buf_adds(b, "\xef\xbf\xbd"); /* U+FFFD */
        else if (*s == '\n')
            r = buf_adds(b, "\\n");
        else if (*s == '"' || *s == '\\')
            r = buf_addf(b, "\\%c", *s);
        else
            r = buf_add(b, s, n);
        s += n ? n : 1;
    }
    return r;
}

/* `name{label="value",…,le="…"} `; `le` is NULL, or a histogram's bound. */
static int add_sample_name(struct buf *b, const struct family *f, const char *suffix, const struct series *s,
                           const char *le)
{
    const char *before = "{";
    int r = buf_addf(b, "%s%s", f->name, suffix);
    for (unsigned i = 0; r == 0 && i < METRIC_LABELS_MAX && f->labels[i]; i++) {
        r = buf_addf(b, "%s%s=\"", before, f->labels[i]);
        if (r == 0)
            r = add_label_value(b, s->labels[i]);
        if (r == 0)
            r = buf_adds(b, "\"");
        before = ",";
    }
    if (r == 0 && le)
        r = buf_addf(b, "%sle=\"%s\"", before, le);
    if (r == 0)
        r = buf_adds(b, le || *before == ',' ? "} " : " ");
    return r;
}

static int add_sample(struct buf *b, const struct family *f, const char *suffix, const struct series *s, const char *le,
                      enum unit unit, int64_t value)
{
    int r = add_sample_name(b, f, suffix, s, le);
    if (r == 0)
        r = add_value(b, unit, value);
    return r == 0 ? buf_adds(b, "\n") : r;
}

static int add_histogram(struct buf *b, const struct family *f, const struct series *s)
{
    int64_t sum = s->values[BOUNDS_MAX + 1], count = 0;
    int r = 0;
    for (unsigned i = 0; r == 0 && i <= BOUNDS_MAX; i++) {
        AUTO_BUF struct buf le = BUF_INIT(32);
        count += s->values[i];
        r = i < BOUNDS_MAX ? add_value(&le, f->unit, bounds[i]) : buf_adds(&le, "+Inf");
        if (r == 0)
            r = add_sample(b, f, "_bucket", s, le.data, NO_UNIT, count);
    }
    if (r == 0)
        r = add_sample(b, f, "_sum", s, NULL, f->unit, sum);
    return r == 0 ? add_sample(b, f, "_count", s, NULL, NO_UNIT, count) : r;
}

static const char *type_name(enum type t)
{
    static const char *const names[] = {[COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM] = "histogram"};
    return names[t];
}

static int add_family(struct buf *b, enum metric m)
{
    const struct family *f = &families[m];
    const uint64_t wanted = f->collected ? metrics.page : 1;
    bool headed = false;
    int r = 0;
    for (struct series *s = metrics.families[m].oldest; r == 0 && s; s = s->newer) {
        if (s->shown != wanted)
            continue;
        if (!headed)
            r = buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, type_name(f->type));
        headed = true;
        if (r == 0)
            r = f->type == HISTOGRAM ? add_histogram(b, f, s) : add_sample(b, f, "", s, NULL, f->unit, s->values[0]);
    }
    return r;
}

int metrics_page(struct buf *text)
{
    int r = 0;
    (void)pthread_mutex_lock(&metrics.page_lock);
    metrics.page++;
    if (metrics.collect)
        metrics.collect(metrics.collect_arg);
    for (unsigned m = 0; r == 0 && m < METRICS; m++) {
        /* What has no labels is there from the start. */
        if (!families[m].labels[0] && !families[m].collected && families[m].type != HISTOGRAM)
            metrics_add((enum metric)m, 0, NO_LABELS);
        r = add_family(text, (enum metric)m);
    }
    (void)pthread_mutex_unlock(&metrics.page_lock);
    return r;
}

/* ------------------------------------------------------------------ the document */

static const char intro[] =
    "# Metrics\n"
    "\n"
    "<!-- Written by `entrepot reference metrics` from src/base/metrics.c: change it there. -->\n"
    "\n"
    "`/metrics` of the administrator's side (`ops.listen`) is a page in Prometheus' text format 0.0.4. A family is on "
    "it\n"
    "once it has a value. A family has at most 256 sets of labels; what comes after them is counted as `other`.\n"
    "\n"
    "Beside it are `/livez` (200 while the process runs), `/startupz` (200 since it began to serve) and `/readyz` "
    "(200\n"
    "while it serves; 503 before, and from the moment that it stops).\n"
    "\n";

static int add_reference(struct buf *b, const struct family *f)
{
    int r = buf_addf(b, "## `%s`\n\n*%s*", f->name, type_name(f->type));
    for (unsigned i = 0; r == 0 && i < METRIC_LABELS_MAX && f->labels[i]; i++)
        r = buf_addf(b, "%s `%s`", i ? "," : " · labels:", f->labels[i]);
    for (unsigned i = 0; r == 0 && f->type == HISTOGRAM && i < BOUNDS_MAX; i++) {
        r = buf_adds(b, i ? ", " : " · bounds: ");
        if (r == 0)
            r = add_value(b, f->unit, bounds[i]);
    }
    return r == 0 ? buf_addf(b, "\n\n%s\n\n", f->help) : r;
}

int metrics_reference(struct buf *markdown)
{
    int r = buf_adds(markdown, intro);
    for (unsigned m = 0; r == 0 && m < METRICS; m++)
        r = add_reference(markdown, &families[m]);
    if (r == 0)
        buf_cut(markdown, markdown->len - 1); /* one end of line at the end */
    return r;
}
