#include "world.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DEADLINE_S 60

static char source_names[4][16] = {"first", "second", "third", "fourth"};

void world_init(struct world *w)
{
    static const char *const variables[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                            "ALL_PROXY",  "no_proxy",    "NO_PROXY"};
    for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
        (void)unsetenv(variables[i]);
    *w = (struct world){.errors = BUF_INIT(64 * 1024)};
    w->config.upstream.connect_timeout_ms = 30000;
    w->config.upstream.header_timeout_ms = 30000;
    w->config.upstream.stall_timeout_ms = 30000;
    w->config.upstream.max_connections_per_host = 64;
    w->config.budget.reserve_revalidation = 10;
    w->config.budget.reserve_seeding = 30;
    w->config.budget.probe_after_ms = 300000;
    w->config.registries = w->registries;
    ledger_init(&w->ledger);
}

struct config_source *world_add(struct world *w, struct httpd *h)
{
    static char names[4][16] = {"one.test", "two.test", "three.test", "four.test"};
    size_t i = w->config.registry_count++;
    struct config_registry *r = &w->registries[i];
    (void)snprintf(w->urls[i], sizeof(w->urls[i]), "http://127.0.0.1:%u", httpd_port(h));
    *r = (struct config_registry){.name = names[i], .url = w->urls[i], .sources = w->sources[i], .source_count = 1};
    struct config_source *s = &w->sources[i][0];
    *s = (struct config_source){.name = source_names[0], .url = w->urls[i], .allow_private = true, .tags = true};
    r->aliases.items = s->auth_hosts.items = w->no_hosts;
    return s;
}

struct config_source *world_add_source(struct world *w, size_t registry, struct httpd *h)
{
    struct config_registry *r = &w->registries[registry];
    size_t i = r->source_count++;
    struct config_source *s = &w->sources[registry][i];
    *s = w->sources[registry][0];
    s->name = source_names[i];
    if (h) {
        s->url = w->source_urls[registry][i];
        (void)snprintf(s->url, sizeof(w->source_urls[registry][i]), "http://127.0.0.1:%u", httpd_port(h));
    }
    return s;
}

int world_source(struct world *w, const struct config_registry *registry, const struct config_source *config,
                 struct source **ret_source)
{
    const struct source_needs needs = {
        .config = &w->config, .ledger = &w->ledger, .hop = "0123456789abcdef", .errors = &w->errors};
    return source_create(&needs, registry, config, ret_source);
}

struct wanted {
    const char *registry, *source;
    struct upstream_source_state *state;
    bool found;
};

static void take_state(void *arg, const struct upstream_source_state *state)
{
    struct wanted *wanted = arg;
    if (strcmp(state->registry, wanted->registry) != 0 || strcmp(state->name, wanted->source) != 0)
        return;
    *wanted->state = *state;
    wanted->found = true;
}

struct upstream_source_state world_state(struct world *w, const char *registry, const char *source)
{
    struct upstream_source_state state;
    struct wanted wanted = {registry, source, &state, false};
    ck_assert_int_eq(upstream_each_source(w->upstream, take_state, &wanted), 0);
    ck_assert(wanted.found);
    return state;
}

void world_start(struct world *w)
{
    ck_assert_int_eq(upstream_start(&w->config, &w->errors, &w->upstream), 0);
}

void world_finish(struct world *w)
{
    if (w->upstream)
        upstream_stop(w->upstream);
    upstream_destroy(w->upstream);
    ledger_finish(&w->ledger);
    buf_finish(&w->errors);
}

static int on_head(void *arg, const struct upstream_head *head)
{
    struct probe *p = arg;
    (void)pthread_mutex_lock(&p->lock);
    p->heads++;
    p->head = *head;
    (void)snprintf(p->content_type, sizeof(p->content_type), "%s", head->content_type);
    (void)snprintf(p->digest, sizeof(p->digest), "%s", head->digest);
    (void)snprintf(p->etag, sizeof(p->etag), "%s", head->etag);
    (void)snprintf(p->link, sizeof(p->link), "%s", head->link);
    (void)snprintf(p->filters, sizeof(p->filters), "%s", head->filters);
    int r = p->fail_head;
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);
    return r;
}

static int on_body(void *arg, const void *data, size_t len)
{
    struct probe *p = arg;
    (void)pthread_mutex_lock(&p->lock);
    p->bodies++;
    int r = p->fail_body ? p->fail_body : buf_add(&p->body, data, len);
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);
    return r;
}

static void on_tick(void *arg)
{
    struct probe *p = arg;
    (void)pthread_mutex_lock(&p->lock);
    p->ticks++;
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);
}

static void on_source(void *arg, bool sibling)
{
    struct probe *p = arg;
    (void)pthread_mutex_lock(&p->lock);
    size_t n = strlen(p->asked);
    if (n + 1 < sizeof(p->asked))
        p->asked[n] = sibling ? 's' : 'u';
    (void)pthread_mutex_unlock(&p->lock);
}

static void on_done(void *arg, const struct upstream_result *result)
{
    struct probe *p = arg;
    (void)pthread_mutex_lock(&p->lock);
    p->dones++;
    p->result = *result;
    (void)snprintf(p->message, sizeof(p->message), "%s", result->message);
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);
}

static const struct upstream_callbacks callbacks = {
    .on_source = on_source, .on_head = on_head, .on_body = on_body, .on_tick = on_tick, .on_done = on_done};

void probe_init(struct probe *p)
{
    *p = (struct probe){.body = BUF_INIT(64 << 20)};
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->changed, NULL);
}

void probe_finish(struct probe *p)
{
    buf_finish(&p->body);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->changed);
}

struct upstream_job probe_job(struct probe *p)
{
    return (struct upstream_job){.registry = "one.test",
                                 .repository = "library/a",
                                 .object = UPSTREAM_BLOB,
                                 .reference = "sha256:aa",
                                 .callbacks = &callbacks,
                                 .arg = p};
}

void probe_submit(struct world *w, struct probe *p, const struct upstream_job *job)
{
    (void)p;
    ck_assert_int_eq(upstream_submit(w->upstream, job), 0);
}

static void wait_for(struct probe *p, const unsigned *counter)
{
    struct timespec end;
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += DEADLINE_S;
    (void)pthread_mutex_lock(&p->lock);
    while (*counter == 0)
        ck_assert_msg(pthread_cond_timedwait(&p->changed, &p->lock, &end) == 0, "it did not come");
    (void)pthread_mutex_unlock(&p->lock);
}

void probe_wait(struct probe *p)
{
    wait_for(p, &p->dones);
}

void probe_wait_tick(struct probe *p)
{
    wait_for(p, &p->ticks);
}

void probe_wait_body(struct probe *p)
{
    wait_for(p, &p->bodies);
}

int probe_run(struct world *w, struct probe *p, const struct upstream_job *job)
{
    probe_submit(w, p, job);
    probe_wait(p);
    return p->result.error;
}
