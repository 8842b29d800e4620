/* The walk through the sources of a registry, by the public calls, against hosts of the test's own. */
#include "base/clock.h"
#include "base/limits.h"
#include "suite.h"
#include "world.h"

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#define BODY "the bytes"
#define PULL_LIMIT "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"limit\"}]}"
#define DIGEST "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* ------------------------------------------------------------------ a host that counts pulls */

struct host {
    struct httpd *httpd;
    int status, get_status; /* of all; of GETs of manifests, where it is not 0 */
    const char *fields, *body;
    int remaining;     /* of the account's limit of 100; < 0: no such fields */
    const char *only;  /* the Authorization that is let in; "": any; NULL: everybody */
    const char *spent; /* the Authorization whose limit is spent */
    sem_t *reached, *gate;
    unsigned moments; /* as many requests are a moment too fast */
    char hop[64], control[64], authorization[64], target[256];
};

static struct host hosts[3];
static struct world world;
static struct probe probe;

/* What the last request was like, and whether it is a moment too fast. Connections have threads of their own. */
static bool note(struct exchange *x, struct host *host)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    (void)pthread_mutex_lock(&lock);
    const char *value = exchange_field(x, "Entrepot-Hop");
    (void)snprintf(host->hop, sizeof(host->hop), "%s", value ? value : "");
    value = exchange_field(x, "Cache-Control");
    (void)snprintf(host->control, sizeof(host->control), "%s", value ? value : "");
    value = exchange_field(x, "Authorization");
    (void)snprintf(host->authorization, sizeof(host->authorization), "%s", value ? value : "");
    (void)snprintf(host->target, sizeof(host->target), "%.255s", x->target);
    bool moment = host->moments > 0;
    host->moments -= moment;
    (void)pthread_mutex_unlock(&lock);
    return moment;
}

static void answer(struct exchange *x)
{
    struct host *host = x->arg;
    char fields[512];
    bool head = strcmp(x->method, "HEAD") == 0, manifest = exchange_has(x, "/manifests/");
    const char *authorization = exchange_field(x, "Authorization");
    bool moment = note(x, host);
    if (host->reached)
        (void)sem_post(host->reached);
    if (host->gate)
        (void)sem_wait(host->gate);
    int status = manifest && !head && host->get_status ? host->get_status : host->status;
    if (host->spent && manifest && !head && authorization && strcmp(authorization, host->spent) == 0)
        status = 429;
    if (host->only && (!authorization || (host->only[0] && strcmp(authorization, host->only) != 0))) {
        exchange_reply(x, 401, "WWW-Authenticate: Basic realm=\"x\"\r\n", "{}");
        return;
    }
    if (moment) {
        exchange_reply(x, 429, "", "toomanyrequests: retry-after: 880.092\xc2\xb5s, allowed: 44000/minute");
        return;
    }
    int n = 0;
    fields[0] = '\0';
    if (manifest && host->remaining >= 0)
        n = snprintf(fields, sizeof(fields),
                     "RateLimit-Limit: 100;w=21600\r\nRateLimit-Remaining: %d;w=21600\r\n"
                     "Docker-RateLimit-Source: 192.0.2.1\r\n",
                     host->remaining);
    (void)snprintf(fields + n, sizeof(fields) - (size_t)n, "%s", host->fields);
    exchange_reply(x, status, fields, status == 200 ? BODY : host->body);
}

/* A registry with a source at each host; the test changes them before world_start(). */
static void begin(size_t count)
{
    world_init(&world);
    probe_init(&probe);
    for (size_t i = 0; i < count; i++) {
        hosts[i] = (struct host){.status = 200, .fields = "", .body = "{}", .remaining = -1};
        hosts[i].httpd = httpd_start("127.0.0.1", answer, &hosts[i]);
        if (i == 0)
            (void)world_add(&world, hosts[i].httpd);
        else
            (void)world_add_source(&world, 0, hosts[i].httpd);
    }
}

static void end(size_t count)
{
    world_finish(&world);
    probe_finish(&probe);
    for (size_t i = 0; i < count; i++)
        httpd_stop(hosts[i].httpd);
}

static struct upstream_job manifest(const char *reference)
{
    struct upstream_job job = probe_job(&probe);
    job.object = UPSTREAM_MANIFEST;
    job.reference = reference;
    return job;
}

/* With a probe that knows nothing of the last time; its result stays in `probe`. */
static int run(struct upstream_job job)
{
    probe_finish(&probe);
    probe_init(&probe);
    job.arg = &probe;
    int error = probe_run(&world, &probe, &job);
    ck_assert_uint_eq(probe.dones, 1);
    return error;
}

static unsigned asked(size_t i)
{
    return httpd_count(hosts[i].httpd, "");
}

static unsigned pulls(size_t i)
{
    return httpd_count(hosts[i].httpd, "GET ");
}

static unsigned heads(size_t i)
{
    return httpd_count(hosts[i].httpd, "HEAD ");
}

static char files[2][64];

/* `auth` is base64 of user:password, for any name of the test's registries. */
static void write_account(size_t i, size_t source, const char *host, const char *auth)
{
    (void)snprintf(files[i], sizeof(files[i]), "%s", "/tmp/test_sources.XXXXXX");
    int fd = mkstemp(files[i]);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(dprintf(fd, "{\"auths\":{\"%s\":{\"auth\":\"%s\"}}}", host, auth), 0);
    (void)close(fd);
    world.sources[0][source].credentials = files[i];
}

/* At the registry's own host. */
static void give_account(size_t i, size_t source, const char *auth)
{
    write_account(i, source, "one.test", auth);
}

static void give_account_elsewhere(size_t i, size_t source, const char *auth)
{
    char host[32];
    (void)snprintf(host, sizeof(host), "127.0.0.1:%u", httpd_port(hosts[source].httpd));
    write_account(i, source, host, auth);
}

static void start_and_forget_accounts(size_t count)
{
    world_start(&world);
    ck_assert_msg(world.errors.len == 0, "%s", world.errors.data);
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(unlink(files[i]), 0);
}

#define JO "am86czNjcmV0"    /* jo:s3cret */
#define ANN "YW5uOnNlY3JldA" /* ann:secret */

/* ------------------------------------------------------------------ from one to the next */

START_TEST(the_first_source_is_asked_and_named)
{
    begin(2);
    world_start(&world);
    ck_assert_int_eq(run(manifest(DIGEST)), 0);
    ck_assert_uint_eq(probe.result.source, 0);
    ck_assert_uint_eq(probe.head.source, 0);
    ck_assert(!probe.head.with_account && !probe.head.sibling);
    ck_assert_uint_eq(asked(1), 0);
    end(2);
}
END_TEST

static const struct {
    int status;
    const char *fields, *body;
} moves[] = {
    {500, "", ""},
    {503, "Retry-After: 5\r\n", ""},
    {429, "", "Too Many Requests (HAP429).\n"},
    {401, "WWW-Authenticate: Basic realm=\"x\"\r\n", ""},
    {403, "", ""},
    {404, "", ""},
    {302, "Location: http://10.9.9.9/\r\n", ""},
    {200, "Content-Type: text/html; charset=utf-8\r\n", ""},
};

START_TEST(each_way_to_fail_leads_to_the_next_source)
{
    begin(2);
    world.sources[0][0].allow_private = moves[_i].status != 302;
    hosts[0].status = moves[_i].status;
    hosts[0].fields = moves[_i].fields;
    hosts[0].body = moves[_i].body;
    world_start(&world);
    ck_assert_msg(run(manifest(DIGEST)) == 0, "%s", probe.message);
    ck_assert_uint_eq(probe.result.source, 1);
    ck_assert_uint_eq(probe.heads, 1);
    ck_assert_str_eq(probe.body.data, BODY);
    ck_assert_uint_eq(probe.result.requests, 2);
    end(2);
}
END_TEST

START_TEST(a_source_that_is_not_there_leads_to_the_next)
{
    begin(2);
    struct httpd *gone = hosts[0].httpd;
    httpd_stop(gone);
    world_start(&world);
    ck_assert_int_eq(run(manifest(DIGEST)), 0);
    ck_assert_uint_eq(probe.result.source, 1);
    hosts[0].httpd = httpd_start("127.0.0.1", answer, &hosts[0]);
    end(2);
}
END_TEST

START_TEST(who_is_to_be_avoided_is_not_asked_unless_nobody_else_is_there)
{
    begin(3);
    world_start(&world);
    struct upstream_job job = manifest(DIGEST);
    job.avoid = 1U << 0 | 1U << 1;
    ck_assert_int_eq(run(job), 0);
    ck_assert_uint_eq(probe.result.source, 2);
    ck_assert_uint_eq(asked(0) + asked(1), 0);
    job.avoid = UINT32_MAX;
    ck_assert_int_eq(run(job), 0);
    ck_assert_uint_eq(probe.result.source, 0);
    end(3);
}
END_TEST

START_TEST(tags_come_from_those_that_are_believed_only)
{
    begin(3);
    world.sources[0][0].tags = false;
    hosts[1].status = 500;
    world_start(&world);
    struct upstream_job job = manifest("latest");
    job.head = true;
    ck_assert_int_eq(run(job), 0);
    ck_assert_uint_eq(probe.result.source, 2);
    ck_assert_uint_eq(asked(0), 0);
    job = manifest(DIGEST);
    ck_assert_int_eq(run(job), 0);
    ck_assert_uint_eq(probe.result.source, 0);
    job.object = UPSTREAM_REFERRERS;
    ck_assert_int_eq(run(job), 0);
    ck_assert_uint_eq(probe.result.source, 2);
    job.object = UPSTREAM_TAGS;
    ck_assert_int_eq(run(job), 0);
    ck_assert_uint_eq(probe.result.source, 2);
    end(3);
}
END_TEST

START_TEST(the_first_ones_word_that_there_is_no_such_tag_is_believed)
{
    begin(2);
    hosts[0].status = 404;
    world_start(&world);
    ck_assert_int_eq(run(manifest("nonesuch")), -ENOENT);
    ck_assert_uint_eq(asked(1), 0);
    hosts[0].status = 500;
    hosts[1].status = 404; /* it may not have it yet */
    ck_assert_int_eq(run(manifest("nonesuch")), -EREMOTEIO);
    ck_assert_uint_eq(asked(1), 1);
    end(2);
}
END_TEST

START_TEST(what_is_nowhere_is_not_found)
{
    begin(3);
    for (size_t i = 0; i < 3; i++)
        hosts[i].status = 404;
    world.sources[0][1].url = world.sources[0][0].url; /* the same place again */
    world_start(&world);
    ck_assert_int_eq(run(manifest(DIGEST)), -ENOENT);
    ck_assert_uint_eq(asked(0), 1);
    ck_assert_uint_eq(asked(2), 1);
    ck_assert_uint_eq(probe.result.source, 0);
    ck_assert_int_eq(probe.result.status, 404);
    end(3);
}
END_TEST

START_TEST(a_prefix_stands_before_the_repository)
{
    begin(1);
    world.sources[0][0].prefix = (char[]){"docker"};
    world_start(&world);
    ck_assert_int_eq(run(manifest(DIGEST)), 0);
    ck_assert_str_eq(hosts[0].target, "/v2/docker/library/a/manifests/" DIGEST);
    end(1);
}
END_TEST

START_TEST(a_break_behind_the_head_ends_the_job)
{
    begin(2);
    world_start(&world);
    struct upstream_job job = manifest(DIGEST);
    probe_finish(&probe);
    probe_init(&probe);
    probe.fail_body = -EIO;
    ck_assert_int_eq(probe_run(&world, &probe, &job), -EIO);
    ck_assert_uint_eq(probe.heads, 1);
    ck_assert_uint_eq(asked(1), 0);
    end(2);
}
END_TEST

/* ------------------------------------------------------------------ siblings */

START_TEST(a_sibling_is_asked_first_for_what_has_a_digest)
{
    begin(2);
    world.sources[0][1].sibling = true;
    world.sources[0][1].tags = false;
    world_start(&world);
    ck_assert_int_eq(run(manifest(DIGEST)), 0);
    ck_assert_uint_eq(probe.result.source, 1);
    ck_assert(probe.head.sibling);
    ck_assert_str_eq(probe.asked, "s");
    ck_assert_uint_eq(asked(0), 0);
    ck_assert_str_eq(hosts[1].control, "only-if-cached");
    ck_assert_uint_eq(strlen(hosts[1].hop), 32);
    ck_assert_str_eq(hosts[1].target, "/v2/library/a/manifests/" DIGEST "?ns=one.test");
    ck_assert_int_eq(run(manifest("latest")), 0);
    ck_assert_uint_eq(probe.result.source, 0);
    ck_assert_uint_eq(asked(1), 1);
    ck_assert_str_eq(hosts[0].control, "");
    ck_assert_str_eq(hosts[0].hop, "");
    ck_assert_str_eq(hosts[0].target, "/v2/library/a/manifests/latest");
    end(2);
}
END_TEST

START_TEST(a_sibling_is_not_asked_what_the_public_may_see)
{
    static const int statuses[] = {401, 503};
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
        begin(2);
        world.sources[0][1].sibling = true;
        world.sources[0][1].tags = true; /* whatever it is believed about */
        hosts[0].status = statuses[i];
        world_start(&world);
        static const char *const references[] = {DIGEST, "latest"};
        for (size_t k = 0; k < ARRAY_SIZE(references); k++) {
            struct upstream_job job = manifest(references[k]);
            job.head = true;
            job.look = true;
            ck_assert_int_eq(run(job), statuses[i] == 401 ? -EACCES : -EREMOTEIO);
            ck_assert_uint_eq(probe.result.source, 0);
        }
        ck_assert_uint_eq(asked(1), 0);
        end(2);
    }
}
END_TEST

START_TEST(a_sibling_is_not_asked_for_what_is_fetched_ahead)
{
    begin(2);
    world.sources[0][1].sibling = true;
    world_start(&world);
    struct upstream_job job = manifest(DIGEST);
    job.spare = true;
    ck_assert_int_eq(run(job), 0);
    ck_assert_str_eq(probe.asked, "u");
    ck_assert_uint_eq(asked(1), 0);
    end(2);
}
END_TEST

START_TEST(a_sibling_is_shown_its_account_unasked_and_nobody_else_is)
{
    begin(2);
    world.sources[0][1].sibling = true;
    write_account(0, 1, "sibling", JO);
    hosts[1].only = "Basic " JO;
    start_and_forget_accounts(1);
    ck_assert(!upstream_has_accounts(world.upstream, "one.test")); /* what it gives is everybody's */
    ck_assert_msg(run(manifest(DIGEST)) == 0, "%s", probe.message);
    ck_assert_uint_eq(probe.result.source, 1);
    ck_assert_uint_eq(asked(1), 1);
    ck_assert_uint_eq(asked(0), 0);
    ck_assert_int_eq(run(manifest("latest")), 0);
    ck_assert_uint_eq(probe.result.source, 0);
    ck_assert_str_eq(hosts[0].authorization, "");
    struct upstream_job look = manifest(DIGEST);
    look.head = look.look = true;
    ck_assert_int_eq(run(look), 0);
    ck_assert_uint_eq(probe.result.source, 0);
    ck_assert_uint_eq(asked(1), 1);
    end(2);
}
END_TEST

START_TEST(a_sibling_that_refuses_the_account_is_passed_over_and_its_challenge_is_not_answered)
{
    begin(2);
    world.sources[0][1].sibling = true;
    write_account(0, 1, "sibling", JO);
    char fields[128];
    (void)snprintf(fields, sizeof(fields), "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/token\"\r\n",
                   httpd_port(hosts[1].httpd));
    hosts[1].status = 401;
    hosts[1].fields = fields;
    start_and_forget_accounts(1);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(run(manifest(DIGEST)), 0);
        ck_assert_uint_eq(probe.result.source, 0);
        ck_assert_str_eq(hosts[1].authorization, i == 0 ? "Basic " JO : ""); /* not again at once */
    }
    ck_assert_uint_eq(asked(1), 3);
    ck_assert_uint_eq(httpd_count(hosts[1].httpd, "GET /token"), 0);
    end(2);
}
END_TEST

START_TEST(an_account_for_siblings_is_no_other_source_s)
{
    begin(2);
    write_account(0, 1, "sibling", JO);
    world_start(&world);
    ck_assert_int_eq(unlink(files[0]), 0);
    ck_assert_ptr_nonnull(strstr(world.errors.data, "has no account for 127.0.0.1:"));
    end(2);
}
END_TEST

START_TEST(a_sibling_that_does_not_have_it_is_asked_the_next_time)
{
    static const int statuses[] = {504, 404, 503, 429};
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
        begin(2);
        world.sources[0][1].sibling = true;
        hosts[1].status = statuses[i];
        hosts[1].body = PULL_LIMIT;
        world_start(&world);
        for (unsigned k = 1; k <= 5; k++) {
            ck_assert_int_eq(run(manifest(DIGEST)), 0);
            ck_assert_uint_eq(probe.result.source, 0);
            ck_assert_uint_eq(asked(1), k);
        }
        ck_assert_int_eq(world_state(&world, "one.test", "second").breaker, UPSTREAM_CLOSED);
        hosts[0].status = 503;
        ck_assert_int_eq(run(manifest(DIGEST)), -EREMOTEIO);
        ck_assert_str_eq(probe.asked, "su");
        ck_assert_uint_eq(probe.result.source, 0); /* what the sibling says is not told */
        end(2);
    }
}
END_TEST

/* ------------------------------------------------------------------ health */

START_TEST(a_source_in_trouble_is_left_alone_for_a_while)
{
    begin(2);
    hosts[0].status = 500;
    world_start(&world);
    for (unsigned i = 0; i < BREAKER_FAILURES; i++)
        ck_assert_int_eq(run(manifest(DIGEST)), 0);
    struct upstream_source_state state = world_state(&world, "one.test", "first");
    ck_assert(state.breaker != UPSTREAM_CLOSED);
    ck_assert_uint_eq(state.failures, BREAKER_FAILURES);
    ck_assert_uint_eq(state.requests, BREAKER_FAILURES);
    end(2);
}
END_TEST

START_TEST(with_nobody_to_ask_the_job_ends_at_once_and_says_when_to_come_again)
{
    begin(1);
    httpd_stop(hosts[0].httpd);
    world_start(&world);
    /* It opens at once, for any time up to a second; so that it may be over. */
    bool told = false;
    for (int i = 0; i < 1000 && !told; i++) {
        ck_assert_int_eq(run(manifest(DIGEST)), -ECONNREFUSED);
        told = probe.result.source == UINT_MAX;
    }
    ck_assert(told);
    ck_assert_uint_eq(probe.result.requests, 0);
    ck_assert_int_gt(probe.result.retry_after_ms, 0);
    ck_assert_ptr_nonnull(strstr(probe.message, "connection refused; it is asked again in "));
    hosts[0].httpd = httpd_start("127.0.0.1", answer, &hosts[0]);
    end(1);
}
END_TEST

START_TEST(a_missing_thing_or_a_denied_one_is_no_trouble)
{
    begin(1);
    world_start(&world);
    for (int i = 0; i < 10; i++) {
        hosts[0].status = i % 2 ? 404 : 403;
        ck_assert_int_lt(run(manifest(DIGEST)), 0);
        ck_assert_uint_eq(probe.result.requests, 1);
    }
    ck_assert_int_eq(world_state(&world, "one.test", "first").breaker, UPSTREAM_CLOSED);
    end(1);
}
END_TEST

/* ------------------------------------------------------------------ pull limits */

START_TEST(a_pull_limit_stops_pulls_and_nothing_else)
{
    begin(1);
    hosts[0].remaining = 0;
    hosts[0].get_status = 429;
    hosts[0].body = PULL_LIMIT;
    world_start(&world);
    ck_assert_int_eq(run(manifest(DIGEST)), -EAGAIN);
    ck_assert_uint_eq(pulls(0), 1);
    ck_assert_int_gt(probe.result.retry_after_ms, 0);
    ck_assert_int_eq(run(manifest(DIGEST)), -EAGAIN);
    ck_assert_uint_eq(pulls(0), 1);
    ck_assert_uint_eq(probe.result.requests, 0);
    ck_assert_ptr_nonnull(strstr(probe.message, ": pull limit reached, about "));
    struct upstream_job job = manifest("latest");
    job.head = true;
    ck_assert_int_eq(run(job), 0);
    ck_assert_int_eq(run(probe_job(&probe)), 0); /* a blob */
    struct upstream_source_state state = world_state(&world, "one.test", "first");
    ck_assert_int_eq(state.budget.remaining, 0);
    ck_assert_int_eq(state.budget.limit, 100);
    ck_assert_int_eq(state.budget.window_ms, 21600000);
    ck_assert_int_gt(state.budget.blocked_until, clock_real_ms());
    ck_assert_uint_eq(state.limited, 1);
    ck_assert_uint_eq(state.counted[UPSTREAM_LIVE][UPSTREAM_BY_DIGEST], 0);
    ck_assert_int_eq(state.breaker, UPSTREAM_CLOSED);
    end(1);
}
END_TEST

START_TEST(what_is_left_is_learnt_from_heads_and_gets)
{
    begin(1);
    world_start(&world);
    hosts[0].remaining = 77;
    struct upstream_job job = manifest("latest");
    job.head = true;
    ck_assert_int_eq(run(job), 0);
    ck_assert_int_eq(world_state(&world, "one.test", "first").budget.remaining, 77);
    hosts[0].remaining = 76;
    ck_assert_int_eq(run(manifest("latest")), 0);
    job = manifest(DIGEST);
    job.class = UPSTREAM_SEEDING;
    ck_assert_int_eq(run(job), 0);
    struct upstream_source_state state = world_state(&world, "one.test", "first");
    ck_assert_int_eq(state.budget.remaining, 76);
    ck_assert_uint_eq(state.counted[UPSTREAM_LIVE][UPSTREAM_BY_TAG], 1);
    ck_assert_uint_eq(state.counted[UPSTREAM_SEEDING][UPSTREAM_BY_DIGEST], 1);
    ck_assert_uint_eq(state.counted[UPSTREAM_LIVE][UPSTREAM_BY_DIGEST], 0);
    ck_assert_uint_eq(state.requests, 3);
    ck_assert_uint_eq(state.bytes, 2 * strlen(BODY));
    end(1);
}
END_TEST

START_TEST(seeding_leaves_a_reserve_and_looks_before_it_spends)
{
    begin(1);
    hosts[0].remaining = 25;
    world_start(&world);
    struct upstream_job job = manifest(DIGEST);
    job.class = UPSTREAM_SEEDING;
    ck_assert_int_eq(run(job), -EAGAIN);
    ck_assert_uint_eq(heads(0), 1);
    ck_assert_uint_eq(pulls(0), 0);
    ck_assert_uint_eq(probe.result.requests, 1);
    ck_assert_uint_eq(probe.heads, 0);
    ck_assert_ptr_nonnull(strstr(probe.message, "25 of 100 pulls left, which are kept for pods that wait"));
    job.class = UPSTREAM_REVALIDATION;
    ck_assert_int_eq(run(job), 0);
    job.class = UPSTREAM_LIVE;
    ck_assert_int_eq(run(job), 0);
    ck_assert_uint_eq(heads(0), 1); /* once was enough */
    end(1);
}
END_TEST

START_TEST(one_looks_and_the_others_wait_for_it)
{
    enum { COUNT = 20 };
    static struct probe probes[COUNT];
    sem_t gate, reached;
    (void)sem_init(&gate, 0, 0);
    (void)sem_init(&reached, 0, 0);
    begin(1);
    hosts[0].remaining = 90;
    hosts[0].gate = &gate;
    hosts[0].reached = &reached;
    world_start(&world);
    for (int i = 0; i < COUNT; i++) {
        probe_init(&probes[i]);
        struct upstream_job job = manifest(DIGEST);
        job.class = UPSTREAM_SEEDING;
        job.arg = &probes[i];
        probe_submit(&world, &probes[i], &job);
    }
    (void)sem_wait(&reached);
    ck_assert_uint_eq(heads(0), 1);
    for (int i = 0; i <= COUNT; i++)
        (void)sem_post(&gate);
    for (int i = 0; i < COUNT; i++) {
        probe_wait(&probes[i]);
        ck_assert_int_eq(probes[i].result.error, 0);
        probe_finish(&probes[i]);
    }
    ck_assert_uint_eq(heads(0), 1);
    ck_assert_uint_eq(pulls(0), COUNT);
    end(1);
    (void)sem_destroy(&gate);
    (void)sem_destroy(&reached);
}
END_TEST

START_TEST(a_stop_ends_those_that_wait_for_a_look)
{
    enum { COUNT = 5 };
    static struct probe probes[COUNT];
    sem_t gate, reached;
    (void)sem_init(&gate, 0, 0);
    (void)sem_init(&reached, 0, 0);
    begin(1);
    hosts[0].gate = &gate;
    hosts[0].reached = &reached;
    world_start(&world);
    for (int i = 0; i < COUNT; i++) {
        probe_init(&probes[i]);
        struct upstream_job job = manifest(DIGEST);
        job.class = UPSTREAM_SEEDING;
        job.arg = &probes[i];
        probe_submit(&world, &probes[i], &job);
    }
    (void)sem_wait(&reached);
    upstream_stop(world.upstream);
    for (int i = 0; i < COUNT; i++) {
        ck_assert_uint_eq(probes[i].dones, 1);
        ck_assert_int_eq(probes[i].result.error, -ECANCELED);
        probe_finish(&probes[i]);
    }
    (void)sem_post(&gate);
    end(1);
    (void)sem_destroy(&gate);
    (void)sem_destroy(&reached);
}
END_TEST

START_TEST(the_next_account_is_asked_when_the_first_has_spent_its_limit)
{
    begin(1);
    (void)world_add_source(&world, 0, NULL);
    give_account(0, 0, JO);
    give_account(1, 1, ANN);
    hosts[0].only = "";
    hosts[0].spent = "Basic " JO;
    hosts[0].body = PULL_LIMIT;
    start_and_forget_accounts(2);
    ck_assert(upstream_has_accounts(world.upstream, "one.test"));
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_msg(run(manifest(DIGEST)) == 0, "%s", probe.message);
        ck_assert_uint_eq(probe.result.source, 1);
        ck_assert(probe.result.with_account && probe.head.with_account);
    }
    ck_assert_int_gt(world_state(&world, "one.test", "first").budget.blocked_until, 0);
    ck_assert_int_eq(world_state(&world, "one.test", "second").budget.blocked_until, 0);
    ck_assert_uint_eq(world_state(&world, "one.test", "first").limited, 1);
    hosts[0].spent = "Basic " ANN "==";
    ck_assert_int_eq(run(manifest(DIGEST)), -EAGAIN);
    ck_assert_ptr_nonnull(strstr(probe.message, " (account jo): pull limit reached, about "));
    ck_assert_ptr_null(strstr(probe.message, "s3cret"));
    ck_assert_ptr_null(strstr(probe.message, JO));
    end(1);
}
END_TEST

START_TEST(the_account_that_has_more_left_goes_before_one_that_is_low)
{
    begin(1);
    (void)world_add_source(&world, 0, NULL);
    give_account(0, 0, JO);
    give_account(1, 1, ANN);
    hosts[0].only = "";
    start_and_forget_accounts(2);
    struct upstream_job job = manifest("latest");
    job.head = true;
    hosts[0].remaining = 90;
    job.avoid = 1U << 0;
    ck_assert_int_eq(run(job), 0);
    job.avoid = 0;
    hosts[0].remaining = 11;
    ck_assert_int_eq(run(job), 0);
    ck_assert_int_eq(run(manifest(DIGEST)), 0);
    ck_assert_uint_eq(probe.result.source, 0);
    hosts[0].remaining = 10;
    ck_assert_int_eq(run(job), 0);
    ck_assert_int_eq(run(manifest(DIGEST)), 0);
    ck_assert_uint_eq(probe.result.source, 1);
    ck_assert_int_eq(run(job), 0); /* HEADs are free */
    ck_assert_uint_eq(probe.result.source, 0);
    end(1);
}
END_TEST

START_TEST(a_question_of_the_public_shows_no_account)
{
    begin(1);
    (void)world_add_source(&world, 0, NULL);
    give_account(0, 0, JO);
    give_account(1, 1, ANN);
    hosts[0].only = "Basic " JO;
    start_and_forget_accounts(2);
    struct upstream_job job = manifest("latest");
    job.head = true;
    job.look = true;
    ck_assert_int_eq(run(job), -EACCES);
    ck_assert_uint_eq(probe.result.requests, 1); /* the other account would be asked the same */
    ck_assert(!probe.result.with_account);
    job.look = false;
    ck_assert_msg(run(job) == 0, "%s", probe.message);
    ck_assert(probe.result.with_account);
    hosts[0].only = NULL;
    job.look = true;
    ck_assert_int_eq(run(job), 0);
    ck_assert(!probe.result.with_account);
    end(1);
}
END_TEST

static struct upstream_job look(const char *reference)
{
    struct upstream_job job = manifest(reference);
    job.head = job.look = true;
    return job;
}

/* Somebody else may have a repository of that name, and show it to everybody. */
START_TEST(who_refuses_what_an_account_may_see_is_not_overruled)
{
    static const char *const references[] = {DIGEST, "latest"};
    const char *reference = references[_i % 2];
    unsigned keeper = (unsigned)_i / 2 % 2; /* of the private one: before or after the other, believed of tags or not */
    begin(2);
    keeper ? give_account_elsewhere(0, keeper, JO) : give_account(0, keeper, JO);
    hosts[keeper].only = "";
    world.sources[0][1].tags = _i < 4;
    start_and_forget_accounts(1);
    ck_assert_int_eq(run(look(reference)), -EACCES);
    ck_assert_uint_eq(probe.result.source, keeper);
    ck_assert_uint_eq(asked(1 - keeper), 0);
    hosts[keeper].only = NULL;
    ck_assert_int_eq(run(look(reference)), 0);
    ck_assert(!probe.result.unsure);
    ck_assert_uint_eq(asked(1 - keeper), 0);
    end(2);
}
END_TEST

START_TEST(every_host_that_has_an_account_must_show_it)
{
    begin(3);
    give_account(0, 0, JO);
    give_account_elsewhere(1, 1, ANN);
    start_and_forget_accounts(2);
    ck_assert_int_eq(run(look(DIGEST)), 0);
    ck_assert(!probe.result.unsure);
    ck_assert_uint_eq(probe.result.source, 0);
    ck_assert_uint_eq(asked(0), 1);
    ck_assert_uint_eq(asked(1), 1);
    hosts[1].status = 404;
    ck_assert_int_eq(run(look(DIGEST)), 0);
    ck_assert(probe.result.unsure);
    hosts[1].only = "";
    ck_assert_int_eq(run(look(DIGEST)), -EACCES);
    ck_assert_uint_eq(asked(2), 0);
    end(3);
}
END_TEST

START_TEST(who_has_no_account_can_only_say_that_there_is_something)
{
    static const int statuses[] = {503, 404};
    begin(2);
    give_account(0, 0, JO);
    hosts[0].status = statuses[_i];
    start_and_forget_accounts(1);
    ck_assert_int_eq(run(look(DIGEST)), 0);
    ck_assert(probe.result.unsure);
    ck_assert_uint_eq(probe.result.source, 1);
    struct upstream_job job = manifest(DIGEST);
    job.as_public = true;
    hosts[0].status = 200;
    hosts[0].only = "";
    ck_assert_int_eq(run(job), 0);
    ck_assert_uint_eq(probe.result.source, 1);
    ck_assert(!probe.result.with_account);
    end(2);
}
END_TEST

START_TEST(without_an_account_each_may_have_had_one)
{
    begin(2);
    world_start(&world);
    ck_assert_int_eq(run(look(DIGEST)), 0);
    ck_assert(!probe.result.unsure);
    hosts[0].only = "";
    ck_assert_int_eq(run(look(DIGEST)), -EACCES);
    end(2);
}
END_TEST

START_TEST(what_the_public_has_left_is_seen_beside_what_an_account_has)
{
    begin(1);
    give_account(0, 0, JO);
    hosts[0].only = "Basic " JO;
    start_and_forget_accounts(1);
    struct upstream_job job = manifest("latest");
    job.head = true;
    hosts[0].remaining = 90;
    ck_assert_msg(run(job) == 0, "%s", probe.message);
    struct upstream_source_state state = world_state(&world, "one.test", "first");
    ck_assert_int_eq(state.budget.remaining, 90);
    ck_assert_int_eq(state.public_budget.observed_at, 0);
    ck_assert_int_eq(state.public_budget.remaining, -1);
    hosts[0].only = NULL;
    hosts[0].remaining = 7;
    job.look = true;
    ck_assert_int_eq(run(job), 0);
    state = world_state(&world, "one.test", "first");
    ck_assert_int_eq(state.budget.remaining, 90);
    ck_assert_int_eq(state.public_budget.remaining, 7);
    ck_assert_int_gt(state.public_budget.observed_at, 0);
    ck_assert_str_ne(state.budget.account, "");
    ck_assert_str_eq(state.public_budget.account, "");
    ck_assert_str_eq(state.public_budget.origin, state.budget.origin);
    end(1);
}
END_TEST

START_TEST(what_a_redirect_of_an_account_leads_to_is_the_accounts)
{
    begin(2);
    static char fields[128];
    world.registries[0].source_count = 1;
    give_account(0, 0, JO);
    hosts[0].only = "";
    hosts[0].status = 307;
    (void)snprintf(fields, sizeof(fields), "Location: http://127.0.0.1:%u/signed\r\n", httpd_port(hosts[1].httpd));
    hosts[0].fields = fields;
    start_and_forget_accounts(1);
    ck_assert_int_eq(run(probe_job(&probe)), 0);
    ck_assert_str_eq(hosts[1].target, "/signed");
    ck_assert(probe.head.with_account && probe.result.with_account);
    hosts[0].only = NULL;
    struct upstream_job job = probe_job(&probe);
    job.look = true;
    ck_assert_int_eq(run(job), 0);
    ck_assert(!probe.head.with_account && !probe.result.with_account);
    end(2);
}
END_TEST

START_TEST(a_registry_that_answers_no_heads_is_not_kept_from_gets)
{
    begin(1);
    hosts[0].status = 405;
    hosts[0].get_status = 200;
    world_start(&world);
    struct upstream_job job = manifest(DIGEST);
    job.class = UPSTREAM_SEEDING;
    ck_assert_int_eq(run(job), 0);
    ck_assert_uint_eq(heads(0), 1);
    ck_assert_uint_eq(pulls(0), 1);
    end(1);
}
END_TEST

START_TEST(a_budget_outlives_a_reload)
{
    begin(1);
    hosts[0].get_status = 429;
    hosts[0].body = PULL_LIMIT;
    world_start(&world);
    ck_assert_int_eq(run(manifest(DIGEST)), -EAGAIN);
    ck_assert_int_eq(upstream_reload(world.upstream, &world.config, &world.errors), 0);
    ck_assert_int_eq(run(manifest(DIGEST)), -EAGAIN);
    ck_assert_uint_eq(pulls(0), 1);
    end(1);
}
END_TEST

static char origin[128];

static void take_origin(void *arg, const struct upstream_source_state *state)
{
    (void)arg;
    (void)snprintf(origin, sizeof(origin), "%s", state->budget.origin);
}

START_TEST(a_budget_is_restored_where_nothing_newer_is_known)
{
    begin(1);
    hosts[0].remaining = 50;
    world_start(&world);
    ck_assert_int_eq(upstream_each_source(world.upstream, take_origin, NULL), 0);
    struct upstream_budget was = {.origin = "http://elsewhere:80",
                                  .account = "",
                                  .limit = 100,
                                  .remaining = 0,
                                  .window_ms = 21600000,
                                  .observed_at = clock_real_ms(),
                                  .id = ""};
    upstream_restore_budget(world.upstream, &was);
    ck_assert_int_eq(world_state(&world, "one.test", "first").budget.remaining, -1);
    was.origin = origin;
    upstream_restore_budget(world.upstream, &was);
    ck_assert_int_eq(world_state(&world, "one.test", "first").budget.remaining, 0);
    ck_assert_int_eq(run(manifest(DIGEST)), -EAGAIN);
    ck_assert_uint_eq(asked(0), 0);
    ck_assert_ptr_nonnull(strstr(probe.message, "no pulls left, looked at again in 300 s"));
    struct upstream_job job = manifest("latest");
    job.head = true;
    ck_assert_int_eq(run(job), 0);
    upstream_restore_budget(world.upstream, &was);
    ck_assert_int_eq(world_state(&world, "one.test", "first").budget.remaining, 50);
    end(1);
}
END_TEST

START_TEST(what_was_left_a_window_ago_is_not_shown_any_more)
{
    begin(1);
    world_start(&world);
    ck_assert_int_eq(upstream_each_source(world.upstream, take_origin, NULL), 0);
    const struct upstream_budget was = {.origin = origin,
                                        .account = "",
                                        .limit = 100,
                                        .remaining = 3,
                                        .window_ms = 21600000,
                                        .observed_at = clock_real_ms() - 21600001,
                                        .id = ""};
    upstream_restore_budget(world.upstream, &was);
    ck_assert_int_eq(world_state(&world, "one.test", "first").budget.limit, 100);
    ck_assert_int_eq(world_state(&world, "one.test", "first").budget.remaining, -1);
    end(1);
}
END_TEST

static void count_state(void *arg, const struct upstream_source_state *state)
{
    unsigned *count = arg;
    ck_assert_int_ge(state->budget.remaining, -1);
    ck_assert_ptr_nonnull(state->last_error);
    (*count)++;
}

START_TEST(others_may_look_and_reload_while_everything_happens)
{
    enum { COUNT = 60 };
    static struct probe probes[COUNT];
    begin(3);
    hosts[0].remaining = 80;
    hosts[1].status = 500;
    hosts[2].moments = COUNT;
    world_start(&world);
    const struct upstream_budget was = {.origin = "http://elsewhere:80", .account = "", .id = ""};
    unsigned count = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        probe_init(&probes[i]);
        struct upstream_job job = i % 2 ? manifest(DIGEST) : probe_job(&probes[i]);
        job.arg = &probes[i];
        job.class = (enum upstream_class)(i % UPSTREAM_CLASSES);
        job.avoid = i % 3 ? 1U << (i % 3) : 0;
        probe_submit(&world, &probes[i], &job);
        ck_assert_int_eq(upstream_each_source(world.upstream, count_state, &count), 0);
        upstream_restore_budget(world.upstream, &was);
        if (i % 10 == 0)
            ck_assert_int_eq(upstream_reload(world.upstream, &world.config, &world.errors), 0);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        probe_wait(&probes[i]);
        ck_assert_msg(probes[i].result.error == 0, "%s", probes[i].message);
        probe_finish(&probes[i]);
    }
    ck_assert_uint_eq(count, 3 * COUNT);
    ck_assert_uint_eq(world_state(&world, "one.test", "first").counted[UPSTREAM_LIVE][UPSTREAM_BY_DIGEST], COUNT / 6);
    end(3);
}
END_TEST

/* ------------------------------------------------------------------ other limits */

START_TEST(an_abused_host_is_left_in_peace_by_all)
{
    begin(1);
    hosts[0].status = 429;
    hosts[0].fields = "Retry-After: 60\r\n";
    hosts[0].body = "Too Many Requests (HAP429).\n";
    world_start(&world);
    ck_assert_int_eq(run(probe_job(&probe)), -EAGAIN); /* by a blob */
    ck_assert_int_eq(probe.result.retry_after_ms, 60000);
    struct upstream_job job = manifest("latest");
    job.head = true;
    ck_assert_int_eq(run(job), -EAGAIN);
    ck_assert_int_eq(run(manifest(DIGEST)), -EAGAIN);
    ck_assert_uint_eq(asked(0), 1);
    ck_assert_int_gt(probe.result.retry_after_ms, 50000);
    ck_assert_ptr_nonnull(strstr(probe.message, "it is asked too much; again in 60 s"));
    ck_assert_int_gt(world_state(&world, "one.test", "first").paced_until, clock_real_ms());
    end(1);
}
END_TEST

START_TEST(a_limit_of_bytes_stops_gets_only)
{
    begin(1);
    hosts[0].status = 429;
    hosts[0].fields = "Retry-After: 60\r\n";
    hosts[0].body = "toomanyrequests: Data limit exceeded";
    world_start(&world);
    ck_assert_int_eq(run(probe_job(&probe)), -EAGAIN);
    ck_assert_int_eq(run(probe_job(&probe)), -EAGAIN);
    ck_assert_uint_eq(asked(0), 1);
    ck_assert_ptr_nonnull(strstr(probe.message, "data limit reached, about "));
    hosts[0].status = 200;
    struct upstream_job job = manifest("latest");
    job.head = true;
    ck_assert_int_eq(run(job), 0);
    end(1);
}
END_TEST

START_TEST(a_moment_too_fast_is_waited_for)
{
    begin(1);
    hosts[0].moments = 3;
    world_start(&world);
    ck_assert_int_eq(run(manifest(DIGEST)), 0);
    ck_assert_uint_eq(probe.result.requests, 4);
    hosts[0].moments = UINT_MAX;
    ck_assert_int_eq(run(manifest(DIGEST)), -EAGAIN);
    ck_assert_uint_eq(probe.result.requests, 4);
    ck_assert_int_eq(probe.result.retry_after_ms, 100);
    ck_assert_int_eq(world_state(&world, "one.test", "first").budget.blocked_until, 0);
    end(1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sources");
    TCase *t = tcase_create("sources");
    suite_add_tcase(s, t);
    tcase_set_timeout(t, 100);
    tcase_add_test(t, the_first_source_is_asked_and_named);
    tcase_add_loop_test(t, each_way_to_fail_leads_to_the_next_source, 0, ARRAY_SIZE(moves));
    tcase_add_test(t, a_source_that_is_not_there_leads_to_the_next);
    tcase_add_test(t, who_is_to_be_avoided_is_not_asked_unless_nobody_else_is_there);
    tcase_add_test(t, tags_come_from_those_that_are_believed_only);
    tcase_add_test(t, the_first_ones_word_that_there_is_no_such_tag_is_believed);
    tcase_add_test(t, what_is_nowhere_is_not_found);
    tcase_add_test(t, a_prefix_stands_before_the_repository);
    tcase_add_test(t, a_break_behind_the_head_ends_the_job);
    tcase_add_test(t, a_sibling_is_asked_first_for_what_has_a_digest);
    tcase_add_test(t, a_sibling_is_not_asked_what_the_public_may_see);
    tcase_add_test(t, a_sibling_is_not_asked_for_what_is_fetched_ahead);
    tcase_add_test(t, a_sibling_is_shown_its_account_unasked_and_nobody_else_is);
    tcase_add_test(t, a_sibling_that_refuses_the_account_is_passed_over_and_its_challenge_is_not_answered);
    tcase_add_test(t, an_account_for_siblings_is_no_other_source_s);
    tcase_add_test(t, a_sibling_that_does_not_have_it_is_asked_the_next_time);
    tcase_add_test(t, a_source_in_trouble_is_left_alone_for_a_while);
    tcase_add_test(t, with_nobody_to_ask_the_job_ends_at_once_and_says_when_to_come_again);
    tcase_add_test(t, a_missing_thing_or_a_denied_one_is_no_trouble);
    tcase_add_test(t, a_pull_limit_stops_pulls_and_nothing_else);
    tcase_add_test(t, what_is_left_is_learnt_from_heads_and_gets);
    tcase_add_test(t, seeding_leaves_a_reserve_and_looks_before_it_spends);
    tcase_add_test(t, one_looks_and_the_others_wait_for_it);
    tcase_add_test(t, a_stop_ends_those_that_wait_for_a_look);
    tcase_add_test(t, the_next_account_is_asked_when_the_first_has_spent_its_limit);
    tcase_add_test(t, the_account_that_has_more_left_goes_before_one_that_is_low);
    tcase_add_test(t, a_question_of_the_public_shows_no_account);
    tcase_add_loop_test(t, who_refuses_what_an_account_may_see_is_not_overruled, 0, 8);
    tcase_add_test(t, every_host_that_has_an_account_must_show_it);
    tcase_add_loop_test(t, who_has_no_account_can_only_say_that_there_is_something, 0, 2);
    tcase_add_test(t, without_an_account_each_may_have_had_one);
    tcase_add_test(t, what_the_public_has_left_is_seen_beside_what_an_account_has);
    tcase_add_test(t, what_a_redirect_of_an_account_leads_to_is_the_accounts);
    tcase_add_test(t, a_registry_that_answers_no_heads_is_not_kept_from_gets);
    tcase_add_test(t, a_budget_outlives_a_reload);
    tcase_add_test(t, a_budget_is_restored_where_nothing_newer_is_known);
    tcase_add_test(t, what_was_left_a_window_ago_is_not_shown_any_more);
    tcase_add_test(t, others_may_look_and_reload_while_everything_happens);
    tcase_add_test(t, an_abused_host_is_left_in_peace_by_all);
    tcase_add_test(t, a_limit_of_bytes_stops_gets_only);
    tcase_add_test(t, a_moment_too_fast_is_waited_for);
    return suite_run(s);
}
