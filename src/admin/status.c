#include "admin/routes.h"
#include "base/clock.h"
#include "blobstore/blobstore.h"
#include "config/config.h"
#include "mirror/jobs.h"
#include "mirror/watch.h"
#include "upstream/upstream.h"

#include <string.h>

#define SPENDERS_SHOWN 10
#define FLIGHTS_SHOWN 200

/* ------------------------------------------------------------------ store and jobs */

static json_t *describe_store(struct admin *a)
{
    struct blobstore_totals totals;
    uint64_t size, available;
    if (blobstore_totals(a->store, &totals) < 0 || blobstore_room(a->store, &size, &available) < 0)
        return NULL;
    const struct config *config = admin_hold_config(a);
    json_int_t max = (json_int_t)config_room_bytes(&config->store.max_size, size);
    json_t *store =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "path", config->store.path, "blobs", (json_int_t)totals.blobs,
                  "bytes", (json_int_t)totals.bytes, "content_bytes", (json_int_t)totals.content, "max_bytes", max,
                  "disk_bytes", (json_int_t)size, "disk_available", (json_int_t)available);
    admin_release_config(a);
    return store;
}

static json_t *describe_scrub(struct admin *a)
{
    struct job_report r;
    json_int_t percent = watch_scrub(a->mirror);
    if (job_report_get(a->store, JOB_SCRUB, &r) < 0)
        return json_pack("{s:I}", "round_percent", percent);
    return json_pack("{s:I, s:{s:I, s:I, s:I, s:I, s:I}}", "round_percent", percent, "last", "began_at",
                     (json_int_t)r.began_at, "ended_at", (json_int_t)r.ended_at, "blobs", (json_int_t)r.blobs, "bytes",
                     (json_int_t)r.bytes, "failures", (json_int_t)r.failures);
}

static json_t *describe_backup(struct admin *a)
{
    int64_t created_at;
    uint64_t bytes;
    if (backups_last(a->store, &created_at, &bytes) < 0)
        return json_object();
    return json_pack("{s:{s:I, s:I}}", "last", "began_at", (json_int_t)created_at, "bytes", (json_int_t)bytes);
}

/* ------------------------------------------------------------------ upstream */

static json_t *describe_budget(const struct upstream_budget *b)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "limit", (json_int_t)b->limit, "remaining",
                     (json_int_t)b->remaining, "window_ms", (json_int_t)b->window_ms, "observed_at",
                     (json_int_t)b->observed_at, "blocked_until", (json_int_t)b->blocked_until, "empty_in_ms",
                     (json_int_t)b->empty_in_ms, "id", b->id);
}

static uint64_t sum_counted(const struct upstream_source_state *s)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < UPSTREAM_CLASSES; i++)
        for (unsigned k = 0; k < UPSTREAM_CAUSES; k++)
            n += s->counted[i][k];
    return n;
}

static void add_source(void *arg, const struct upstream_source_state *s)
{
    const struct upstream_budget *p = &s->public_budget;
    static const char *const breakers[] = {
        [UPSTREAM_CLOSED] = "closed", [UPSTREAM_OPEN] = "open", [UPSTREAM_HALF_OPEN] = "half_open"};
    json_t *source =
        json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:s, s:I, s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o*}", "registry",
                  s->registry, "name", s->name, "host", s->host, "account", s->account, "sibling", s->sibling, "tags",
                  s->tags, "breaker", breakers[s->breaker], "open_until", (json_int_t)s->open_until, "failures",
                  (int)s->failures, "last_error", s->last_error, "paced_until", (json_int_t)s->paced_until, "requests",
                  (json_int_t)s->requests, "bytes", (json_int_t)s->bytes, "counted", (json_int_t)sum_counted(s),
                  "limited", (json_int_t)s->limited, "budget", describe_budget(&s->budget), "public_budget",
                  *s->account && p->observed_at > 0 ? describe_budget(p) : NULL);
    (void)json_array_append_new(arg, source); /* without memory the list lacks it */
}

static json_t *describe_sources(struct admin *a)
{
    json_t *sources = json_array();
    if (sources && upstream_each_source(a->upstream, add_source, sources) < 0) {
        json_decref(sources);
        return NULL;
    }
    return sources;
}

/* ------------------------------------------------------------------ flights */

/* The configuration's name of a registry's source; it may have changed since. */
static const char *source_name(const struct config *config, const char *registry, int source)
{
    const struct config_registry *r = config_find_registry(config, registry, strlen(registry));
    return r && source >= 0 && (size_t)source < r->source_count ? r->sources[source].name : NULL;
}

static json_t *describe_flight(const struct config *config, const struct watch_flight *f)
{
    char digest[DIGEST_TEXT_MAX];
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:s?}", "registry", f->registry, "repository",
                     f->repository, "digest", digest_format(&f->digest, digest), "state", f->state, "began_at",
                     (json_int_t)f->began_at, "bytes", (json_int_t)f->size, "written", (json_int_t)f->written,
                     "readers", (int)f->readers, "source", source_name(config, f->registry, f->source));
}

static json_t *describe_flights(struct admin *a, const struct admin_request *request)
{
    AUTO_FREE struct watch_flight *all = calloc(FLIGHTS_SHOWN, sizeof(*all));
    json_t *flights = all ? json_array() : NULL;
    if (!flights)
        return NULL;
    size_t count = watch_flights(a->mirror, all, FLIGHTS_SHOWN);
    const struct config *config = admin_hold_config(a);
    for (size_t i = 0; i < count && i < FLIGHTS_SHOWN; i++)
        if (admin_may(request, all[i].registry, all[i].repository))
            (void)json_array_append_new(flights, describe_flight(config, &all[i]));
    admin_release_config(a);
    return json_pack("{s:I, s:o}", "count", (json_int_t)count, "list", flights);
}

/* ------------------------------------------------------------------ requests and spenders */

static json_t *describe_counts(const uint64_t *counts)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "hits", (json_int_t)counts[MIRROR_HIT], "joined",
                     (json_int_t)counts[MIRROR_JOINED], "misses", (json_int_t)counts[MIRROR_MISS], "stale",
                     (json_int_t)counts[MIRROR_STALE], "errors", (json_int_t)counts[MIRROR_ERROR]);
}

static json_t *describe_requests(struct admin *a)
{
    uint64_t all[TALLY_OUTCOMES], hour[TALLY_OUTCOMES];
    watch_tally(a->mirror, all, hour);
    return json_pack("{s:o, s:o}", "since_start", describe_counts(all), "last_hour", describe_counts(hour));
}

/* Who pulls is nobody's to know but the administrator's. */
static bool may_know(const struct admin_request *request, enum spender_kind kind, const char *name)
{
    return request->rights.admin || (kind == SPENDER_REPOSITORY && admin_may_repository(request, name));
}

static json_t *describe_spenders(struct admin *a, const struct admin_request *request, enum spender_kind kind)
{
    struct spender top[SPENDERS_SHOWN];
    size_t count = watch_spenders(a->mirror, kind, top, SPENDERS_SHOWN);
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++)
        if (may_know(request, kind, top[i].name))
            (void)json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "name", top[i].name, "pulls",
                                                        (json_int_t)top[i].count, "excess", (json_int_t)top[i].excess));
    return list;
}

/* ------------------------------------------------------------------ all of it */

void status_get(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    admin_answer(reply, json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:i, s:o, s:o}}", "version",
                                  ENTREPOT_VERSION, "started_at", (json_int_t)a->started_at, "now",
                                  (json_int_t)clock_real_ms(), "store", describe_store(a), "scrub", describe_scrub(a),
                                  "backup", describe_backup(a), "requests", describe_requests(a), "sources",
                                  describe_sources(a), "flights", describe_flights(a, request), "spenders", "hours",
                                  SPENDERS_HOURS, "repositories", describe_spenders(a, request, SPENDER_REPOSITORY),
                                  "clients", describe_spenders(a, request, SPENDER_CLIENT)));
}
