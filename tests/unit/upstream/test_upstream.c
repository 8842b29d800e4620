/* The thread as a whole, by its public calls, against a registry, a token server and a CDN of the test's own. */
#include "upstream/upstream.h"

#include "base/clock.h"
#include "base/limits.h"
#include "suite.h"
#include "world.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#define BODY "the bytes of the blob"
#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"

/* ------------------------------------------------------------------ a registry as Docker Hub is one */

struct hub {
    struct httpd *registry, *auth, *cdn;
    const char *challenge; /* format with the realm's port; NULL: none is needed */
    const char *stale;     /* what an expired token is answered with; NULL: as above */
    const char *wanted;    /* the Authorization that is let in */
    const char *reply;     /* of the token server */
    int auth_status;
    bool redirects;
    sem_t *gate; /* the token server answers when it is passed */
    sem_t *reached;
    char leak[128];  /* an Authorization that the CDN saw */
    char basic[128]; /* what the token server saw */
    char range[64], accept[512], agent[64], encoding[64];
};

/* What a field said, or "". Connections have threads of their own. */
static void note(struct exchange *x, const char *field, char *to, size_t size)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    const char *value = exchange_field(x, field);
    (void)pthread_mutex_lock(&lock);
    (void)snprintf(to, size, "%s", value ? value : "");
    (void)pthread_mutex_unlock(&lock);
}

static void registry(struct exchange *x)
{
    struct hub *hub = x->arg;
    const char *authorization = exchange_field(x, "Authorization");
    char fields[1024];
    if (hub->challenge && (!authorization || strcmp(authorization, hub->wanted) != 0)) {
        int n = snprintf(fields, sizeof(fields), "WWW-Authenticate: ");
        (void)snprintf(fields + n, sizeof(fields) - (size_t)n,
                       authorization && hub->stale ? hub->stale : hub->challenge, httpd_port(hub->auth));
        n = (int)strlen(fields);
        (void)snprintf(fields + n, sizeof(fields) - (size_t)n, "\r\n");
        exchange_reply(x, 401, fields, "{}");
    } else if (hub->redirects) {
        (void)snprintf(fields, sizeof(fields), "Location: http://127.0.0.1:%u/signed?key=s3cret\r\n",
                       httpd_port(hub->cdn));
        exchange_reply(x, 307, fields, "moved");
    } else {
        note(x, "Accept", hub->accept, sizeof(hub->accept));
        note(x, "User-Agent", hub->agent, sizeof(hub->agent));
        note(x, "Accept-Encoding", hub->encoding, sizeof(hub->encoding));
        exchange_reply(x, 200,
                       "Content-Type: application/vnd.oci.image.manifest.v1+json; charset=utf-8\r\n"
                       "Docker-Content-Digest: sha256:aa\r\nETag: \"sha256:aa\"\r\n",
                       BODY);
    }
}

static void auth(struct exchange *x)
{
    struct hub *hub = x->arg;
    note(x, "Authorization", hub->basic, sizeof(hub->basic));
    if (hub->reached)
        (void)sem_post(hub->reached);
    if (hub->gate)
        (void)sem_wait(hub->gate);
    exchange_reply(x, hub->auth_status, hub->auth_status == 429 ? "Retry-After: 30\r\n" : "", hub->reply);
}

static void cdn(struct exchange *x)
{
    struct hub *hub = x->arg;
    if (exchange_field(x, "Authorization"))
        note(x, "Authorization", hub->leak, sizeof(hub->leak));
    if (exchange_field(x, "Range")) {
        note(x, "Range", hub->range, sizeof(hub->range));
        exchange_reply(x, 206, "Content-Range: bytes 4-20/21\r\n", &BODY[4]);
    } else {
        exchange_reply(x, 200, "", BODY);
    }
}

#define CHALLENGE "Bearer realm=\"http://127.0.0.1:%u/token\",service=\"s\",scope=\"repository:library/a:pull\""

static struct hub hub;
static struct world world;
static struct probe probe;

static void hub_start(void)
{
    hub = (struct hub){.challenge = CHALLENGE,
                       .wanted = "Bearer good",
                       .reply = "{\"token\":\"good\",\"expires_in\":300}",
                       .auth_status = 200};
    hub.registry = httpd_start("127.0.0.1", registry, &hub);
    hub.auth = httpd_start("127.0.0.1", auth, &hub);
    hub.cdn = httpd_start("127.0.0.1", cdn, &hub);
    world_init(&world);
    (void)world_add(&world, hub.registry);
    probe_init(&probe);
}

static void hub_stop(void)
{
    world_finish(&world);
    probe_finish(&probe);
    httpd_stop(hub.registry);
    httpd_stop(hub.auth);
    httpd_stop(hub.cdn);
}

/* Another job, with a probe of its own. */
static int again(struct upstream_job job, unsigned *ret_requests)
{
    struct probe p;
    probe_init(&p);
    job.arg = &p;
    int error = probe_run(&world, &p, &job);
    ck_assert_uint_eq(p.dones, 1);
    if (ret_requests)
        *ret_requests = p.result.requests;
    probe_finish(&p);
    return error;
}

static unsigned tokens(void)
{
    return httpd_count(hub.auth, "GET /");
}

/* ------------------------------------------------------------------ tokens */

START_TEST(a_manifest_is_fetched_with_a_token)
{
    hub_start();
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    job.object = UPSTREAM_MANIFEST;
    job.reference = "1.0";
    ck_assert_int_eq(probe_run(&world, &probe, &job), 0);
    ck_assert_uint_eq(probe.heads, 1);
    ck_assert_int_eq(probe.head.status, 200);
    ck_assert_int_eq(probe.head.length, sizeof(BODY) - 1);
    ck_assert_int_eq(probe.head.total, sizeof(BODY) - 1);
    ck_assert_int_eq(probe.head.range_start, -1);
    ck_assert_str_eq(probe.content_type, OCI_MANIFEST);
    ck_assert_str_eq(probe.digest, "sha256:aa");
    ck_assert_str_eq(probe.etag, "\"sha256:aa\"");
    ck_assert_str_eq(probe.body.data, BODY);
    ck_assert_int_eq(probe.result.status, 200);
    ck_assert_uint_eq(probe.result.requests, 3);
    ck_assert_uint_eq(httpd_count(hub.registry, "GET /v2/library/a/manifests/1.0"), 2);
    ck_assert_uint_eq(httpd_count(hub.auth, "GET /token?service=s&scope=repository%3Alibrary%2Fa%3Apull"), 1);
    ck_assert_str_eq(hub.encoding, "identity");
    ck_assert_str_eq(hub.agent, "entrepot/" ENTREPOT_VERSION);
    ck_assert_ptr_nonnull(strstr(hub.accept, OCI_MANIFEST));
    ck_assert_ptr_nonnull(strstr(hub.accept, "application/vnd.docker.distribution.manifest.list.v2+json"));
    ck_assert_ptr_null(strstr(hub.accept, "v1+prettyjws"));
    hub_stop();
}
END_TEST

START_TEST(the_next_job_has_the_token_before_it_asks)
{
    hub_start();
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    unsigned requests;
    ck_assert_int_eq(again(job, &requests), 0);
    ck_assert_uint_eq(requests, 3);
    ck_assert_int_eq(again(job, &requests), 0);
    ck_assert_uint_eq(requests, 1);
    job.repository = "library/b"; /* what it will be asked for can be told from the other's challenge */
    ck_assert_int_eq(again(job, &requests), 0);
    ck_assert_uint_eq(requests, 2);
    ck_assert_uint_eq(httpd_count(hub.auth, "GET /token?service=s&scope=repository%3Alibrary%2Fb%3Apull"), 1);
    hub_stop();
}
END_TEST

START_TEST(many_jobs_wait_for_one_token)
{
    enum { COUNT = 50 };
    static struct probe probes[COUNT];
    sem_t gate, reached;
    (void)sem_init(&gate, 0, 0);
    (void)sem_init(&reached, 0, 0);
    hub_start();
    hub.gate = &gate;
    hub.reached = &reached;
    world_start(&world);
    for (int i = 0; i < COUNT; i++) {
        probe_init(&probes[i]);
        struct upstream_job job = probe_job(&probes[i]);
        probe_submit(&world, &probes[i], &job);
    }
    (void)sem_wait(&reached);
    (void)sem_post(&gate);
    for (int i = 0; i < COUNT; i++) {
        probe_wait(&probes[i]);
        ck_assert_int_eq(probes[i].result.error, 0);
        probe_finish(&probes[i]);
    }
    ck_assert_uint_eq(tokens(), 1);
    hub_stop();
    (void)sem_destroy(&gate);
    (void)sem_destroy(&reached);
}
END_TEST

START_TEST(the_scope_is_the_challenges_own_or_the_repositorys)
{
    static const struct {
        const char *challenge, *asked;
    } cases[] = {
        {"Bearer realm=\"http://127.0.0.1:%u/token/\",scope=\"aws\"", "GET /token/?scope=aws"},
        {"Bearer realm=\"http://127.0.0.1:%u/token\",scope=\"\"", "GET /token?scope=repository%3Alibrary%2Fa%3Apull"},
        {"Bearer realm=\"http://127.0.0.1:%u/token\"", "GET /token?scope=repository%3Alibrary%2Fa%3Apull"},
        {"Bearer realm=\"http://127.0.0.1:%u/token\",scope=\"a:b:c d:e:f\"",
         "GET /token?scope=a%3Ab%3Ac&scope=d%3Ae%3Af"},
        {"Bearer realm=\"http://127.0.0.1:%u/token?a=1,b=2&c=3\",service=\"r\\\"s\",scope=\"x\"",
         "GET /token?a=1,b=2&c=3&service=r%22s&scope=x"},
        {"Negotiate, Bearer realm=http://127.0.0.1:%u/token,scope=x", "GET /token?scope=x"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        hub_start();
        hub.challenge = cases[i].challenge;
        world_start(&world);
        ck_assert_int_eq(again(probe_job(&probe), NULL), 0);
        ck_assert_uint_eq(tokens(), 1);
        ck_assert_msg(httpd_count(hub.auth, cases[i].asked) == 1, "%s", cases[i].asked);
        hub_stop();
    }
}
END_TEST

START_TEST(a_scope_for_all_is_asked_for_once)
{
    hub_start();
    hub.challenge = "Bearer realm=\"http://127.0.0.1:%u/token/\",scope=\"aws\"";
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    unsigned requests;
    ck_assert_int_eq(again(job, NULL), 0);
    job.repository = "library/b";
    ck_assert_int_eq(again(job, &requests), 0);
    ck_assert_uint_eq(requests, 1);
    ck_assert_uint_eq(tokens(), 1);
    hub_stop();
}
END_TEST

START_TEST(a_token_that_expired_early_is_replaced_whatever_its_challenge_says)
{
    hub_start();
    hub.stale = "Bearer realm=\"http://127.0.0.1:%u/useless\",service=\"registry\",error=\"invalid_token\"";
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    ck_assert_int_eq(again(job, NULL), 0);
    hub.wanted = "Bearer newer";
    hub.reply = "{\"token\":\"newer\"}";
    unsigned requests;
    ck_assert_int_eq(again(job, &requests), 0);
    ck_assert_uint_eq(requests, 4); /* 401 to the old one, 401 to none, token, 200 */
    ck_assert_uint_eq(tokens(), 2);
    ck_assert_uint_eq(httpd_count(hub.auth, "GET /useless"), 0);
    hub_stop();
}
END_TEST

START_TEST(a_fresh_token_that_is_refused_is_the_end_of_it)
{
    hub_start();
    hub.wanted = "nothing is good enough";
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    unsigned requests;
    ck_assert_int_eq(probe_run(&world, &probe, &job), -EACCES);
    ck_assert_int_eq(probe.result.status, 401);
    ck_assert_uint_eq(probe.result.requests, 3);
    ck_assert_int_eq(again(job, &requests), -EACCES);
    ck_assert_uint_eq(requests, 1); /* the same token, and the word from before */
    hub_stop();
}
END_TEST

START_TEST(a_scope_that_is_not_enough_is_widened_once)
{
    hub_start();
    hub.stale = "Bearer realm=\"http://127.0.0.1:%u/token\",error=\"insufficient_scope\",scope=\"more\"";
    hub.wanted = "nothing is good enough";
    world_start(&world);
    unsigned requests;
    ck_assert_int_eq(again(probe_job(&probe), &requests), -EACCES);
    ck_assert_uint_eq(httpd_count(hub.auth, "GET /token?scope=more"), 1);
    ck_assert_uint_eq(tokens(), 2);
    ck_assert_uint_eq(requests, 5);
    hub_stop();
}
END_TEST

START_TEST(a_realm_that_has_moved_is_found_again)
{
    hub_start();
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    ck_assert_int_eq(again(job, NULL), 0);
    hub.challenge = NULL; /* none is needed any more, and no token is to be had */
    hub.auth_status = 404;
    job.repository = "library/b";
    unsigned requests;
    ck_assert_int_eq(again(job, &requests), 0);
    ck_assert_uint_eq(requests, 2);
    ck_assert_int_eq(again(job, &requests), 0);
    ck_assert_uint_eq(requests, 1);
    hub_stop();
}
END_TEST

START_TEST(a_token_server_that_fails_is_an_error_and_is_not_asked_again_at_once)
{
    static const struct {
        int status;
        const char *reply;
        int error;
        int64_t retry_after_ms;
    } cases[] = {
        {200, "{}", -EPROTO, -1},    {200, "<html>", -EPROTO, -1}, {401, "{}", -EACCES, -1}, {403, "{}", -EACCES, -1},
        {429, "{}", -EAGAIN, 30000}, {503, "{}", -EREMOTEIO, -1},  {302, "{}", -EPROTO, -1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        hub_start();
        hub.auth_status = cases[i].status;
        hub.reply = cases[i].reply;
        world_start(&world);
        struct upstream_job job = probe_job(&probe);
        ck_assert_int_eq(probe_run(&world, &probe, &job), cases[i].error);
        ck_assert_int_le(probe.result.retry_after_ms, cases[i].retry_after_ms);
        ck_assert_int_ge(probe.result.retry_after_ms, cases[i].retry_after_ms - 5000);
        char where[64];
        (void)snprintf(where, sizeof(where), "127.0.0.1:%u: ", httpd_port(hub.auth));
        ck_assert_msg(strncmp(probe.message, where, strlen(where)) == 0, "%s", probe.message);
        ck_assert_uint_eq(tokens(), 1);
        if (cases[i].error == -EACCES || cases[i].error == -EAGAIN) {
            ck_assert_int_eq(again(job, NULL), cases[i].error);
            ck_assert_uint_eq(tokens(), 1);
        }
        hub_stop();
    }
}
END_TEST

START_TEST(a_limited_token_server_is_asked_for_no_other_token_and_live_ones_serve)
{
    hub_start();
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    ck_assert_int_eq(again(job, NULL), 0);
    hub.auth_status = 429; /* Retry-After: 30 */
    job.repository = "library/b";
    ck_assert_int_eq(again(job, NULL), -EAGAIN);
    ck_assert_uint_eq(tokens(), 2);
    job.repository = "library/c";
    ck_assert_int_eq(probe_run(&world, &probe, &job), -EAGAIN);
    ck_assert_uint_eq(tokens(), 2);
    ck_assert_int_gt(probe.result.retry_after_ms, 20000);
    ck_assert_ptr_nonnull(strstr(probe.message, "too many token requests (429), again in 30 s"));
    job.repository = "library/a";
    ck_assert_int_eq(again(job, NULL), 0);
    ck_assert_uint_eq(tokens(), 2);
    hub_stop();
}
END_TEST

static char large[LIMIT_TOKEN_BODY + 1024];

START_TEST(a_token_without_end_is_cut)
{
    hub_start();
    (void)snprintf(large, sizeof(large), "{\"token\":\"%0*d\"}", (int)LIMIT_TOKEN_BODY, 0);
    hub.reply = large;
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    ck_assert_int_eq(probe_run(&world, &probe, &job), -EFBIG);
    ck_assert_ptr_nonnull(strstr(probe.message, "the token is too large"));
    hub_stop();
}
END_TEST

/* ------------------------------------------------------------------ accounts */

static char credentials_name[64];

/* jo:s3cret */
static void give_account(struct config_source *r)
{
    (void)snprintf(credentials_name, sizeof(credentials_name), "%s", "/tmp/test_upstream.XXXXXX");
    int fd = mkstemp(credentials_name);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(dprintf(fd, "{\"auths\":{\"one.test\":{\"auth\":\"am86czNjcmV0\"}}}"), 0);
    (void)close(fd);
    r->credentials = credentials_name;
}

START_TEST(the_token_server_is_told_the_account_and_the_registry_is_not)
{
    hub_start();
    give_account(&world.sources[0][0]);
    world_start(&world);
    ck_assert_int_eq(unlink(credentials_name), 0);
    ck_assert_uint_eq(world.errors.len, 0);
    ck_assert_int_eq(again(probe_job(&probe), NULL), 0);
    ck_assert_str_eq(hub.basic, "Basic am86czNjcmV0");
    hub_stop();
}
END_TEST

START_TEST(a_login_that_is_refused_is_said_and_not_repeated_at_once)
{
    hub_start();
    give_account(&world.sources[0][0]);
    hub.auth_status = 401;
    world_start(&world);
    ck_assert_int_eq(unlink(credentials_name), 0);
    struct upstream_job job = probe_job(&probe);
    ck_assert_int_eq(probe_run(&world, &probe, &job), -EACCES);
    ck_assert_ptr_nonnull(strstr(probe.message, "login refused"));
    ck_assert_ptr_null(strstr(probe.message, "s3cret"));
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(again(job, NULL), -EACCES);
    ck_assert_uint_eq(tokens(), 1);
    hub.challenge = "Bearer realm=\"http://127.0.0.1:%u/token\""; /* nor for every other repository */
    for (int i = 0; i < 10; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "other/%d", i);
        job.repository = name;
        ck_assert_int_eq(again(job, NULL), -EACCES);
    }
    ck_assert_uint_eq(tokens(), 3);
    hub_stop();
}
END_TEST

START_TEST(a_basic_challenge_is_answered_by_the_account)
{
    hub_start();
    give_account(&world.sources[0][0]);
    hub.challenge = "Basic realm=\"double\"";
    hub.wanted = "Basic am86czNjcmV0";
    hub.redirects = true;
    world_start(&world);
    ck_assert_int_eq(unlink(credentials_name), 0);
    unsigned requests;
    ck_assert_int_eq(again(probe_job(&probe), &requests), 0);
    ck_assert_uint_eq(requests, 3);
    ck_assert_int_eq(again(probe_job(&probe), &requests), 0);
    ck_assert_uint_eq(requests, 2);
    ck_assert_str_eq(hub.leak, "");
    hub.wanted = "another";
    ck_assert_int_eq(again(probe_job(&probe), &requests), -EACCES);
    ck_assert_uint_eq(requests, 1);
    unsigned before = httpd_count(hub.registry, "GET /");
    ck_assert_int_eq(again(probe_job(&probe), &requests), -EACCES);
    ck_assert_uint_eq(httpd_count(hub.registry, "GET /"), before + 1);
    hub_stop();
}
END_TEST

START_TEST(without_an_account_a_basic_challenge_is_the_end)
{
    hub_start();
    hub.challenge = "Basic realm=\"double\"";
    world_start(&world);
    unsigned requests;
    ck_assert_int_eq(again(probe_job(&probe), &requests), -EACCES);
    ck_assert_uint_eq(requests, 1);
    hub_stop();
}
END_TEST

START_TEST(a_realm_of_somebody_else_is_not_told_the_account)
{
    struct httpd *other;
    for (int trusted = 0; trusted < 2; trusted++) {
        hub_start();
        other = httpd_start("127.0.0.2", auth, &hub);
        char challenge[128];
        (void)snprintf(challenge, sizeof(challenge), "Bearer realm=\"http://127.0.0.2:%u/token\"", httpd_port(other));
        hub.challenge = challenge;
        give_account(&world.sources[0][0]);
        char *hosts[] = {(char[]){"127.0.0.2"}, NULL};
        if (trusted)
            world.sources[0][0].auth_hosts = (struct config_list){hosts, 1};
        world_start(&world);
        ck_assert_int_eq(unlink(credentials_name), 0);
        ck_assert_int_eq(again(probe_job(&probe), NULL), 0);
        ck_assert_str_eq(hub.basic, trusted ? "Basic am86czNjcmV0" : "");
        hub.wanted = "nothing is good enough";
        struct upstream_job job = probe_job(&probe);
        job.repository = "library/b";
        ck_assert_int_eq(probe_run(&world, &probe, &job), -EACCES);
        ck_assert_int_eq(strstr(probe.message, "auth_hosts") == NULL, trusted);
        hub_stop();
        httpd_stop(other);
    }
}
END_TEST

START_TEST(files_that_cannot_be_read_are_said_and_done_without)
{
    hub_start();
    world.sources[0][0].credentials = (char[]){"/nonexistent/config.json"};
    world.sources[0][0].ca_file = (char[]){"/nonexistent/ca.pem"};
    world_start(&world);
    ck_assert_str_eq(world.errors.data, "/nonexistent/ca.pem: No such file or directory\n"
                                        "/nonexistent/config.json: No such file or directory\n");
    ck_assert_int_eq(again(probe_job(&probe), NULL), 0);
    ck_assert_str_eq(hub.basic, "");
    hub_stop();
}
END_TEST

/* ------------------------------------------------------------------ redirects */

START_TEST(a_redirect_keeps_the_range_and_not_the_token)
{
    hub_start();
    hub.redirects = true;
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    job.offset = 4;
    ck_assert_int_eq(probe_run(&world, &probe, &job), 0);
    ck_assert_int_eq(probe.head.status, 206);
    ck_assert_int_eq(probe.head.range_start, 4);
    ck_assert_int_eq(probe.head.total, 21);
    ck_assert_int_eq(probe.head.length, 17);
    ck_assert_str_eq(probe.body.data, &BODY[4]);
    ck_assert_str_eq(hub.range, "bytes=4-");
    ck_assert_str_eq(hub.leak, "");
    ck_assert_uint_eq(probe.result.requests, 4);
    hub_stop();
}
END_TEST

START_TEST(a_part_is_asked_for_from_its_first_byte_to_its_last)
{
    hub_start();
    hub.redirects = true;
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    job.offset = 4;
    job.length = 17;
    ck_assert_int_eq(probe_run(&world, &probe, &job), 0);
    ck_assert_str_eq(hub.range, "bytes=4-20");
    job.offset = 0; /* a part that is at the start is a part all the same */
    ck_assert_int_eq(again(job, NULL), 0);
    ck_assert_str_eq(hub.range, "bytes=0-16");
    hub_stop();
}
END_TEST

/* Redirects to what the test says. */
static char location[256];

static void redirector(struct exchange *x)
{
    char field[300];
    (void)snprintf(field, sizeof(field), "Location: %s\r\n", location);
    exchange_reply(x, 302, field, "");
}

static struct httpd *only(httpd_fn answer)
{
    world_init(&world);
    struct httpd *h = httpd_start("127.0.0.1", answer, NULL);
    (void)world_add(&world, h);
    probe_init(&probe);
    return h;
}

static void only_stop(struct httpd *h)
{
    world_finish(&world);
    probe_finish(&probe);
    httpd_stop(h);
}

START_TEST(redirects_in_a_circle_end)
{
    struct httpd *h = only(redirector);
    (void)snprintf(location, sizeof(location), "%s", "/v2/library/a/blobs/sha256:aa");
    world_start(&world);
    ck_assert_int_eq(again(probe_job(&probe), NULL), -EPROTO);
    ck_assert_uint_eq(httpd_count(h, "GET /"), LIMIT_REDIRECTS + 1);
    only_stop(h);
}
END_TEST

START_TEST(a_redirect_that_may_not_be_followed_is_refused)
{
    static const struct {
        const char *location;
        int error;
    } cases[] = {
        {"file:///etc/passwd", -EPERM},    {"ftp://127.0.0.1/x", -EPERM}, {"gopher://127.0.0.1:70/_x", -EPERM},
        {"http://u:p@127.0.0.1/", -EPERM}, {"http://", -EPROTO},          {"", -EPROTO},
    };
    struct httpd *h = only(redirector);
    world_start(&world);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        (void)snprintf(location, sizeof(location), "%s", cases[i].location);
        ck_assert_msg(again(probe_job(&probe), NULL) == cases[i].error, "%s", cases[i].location);
    }
    ck_assert_uint_eq(httpd_count(h, "GET /"), ARRAY_SIZE(cases));
    only_stop(h);
}
END_TEST

START_TEST(a_redirect_to_a_private_address_is_not_even_dialled)
{
    static const char *const hosts[] = {"127.0.0.1", "127.1",       "2130706433",
                                        "localhost", "a.localhost", "[::ffff:127.0.0.1]"};
    struct httpd *h = only(redirector), *inner = httpd_start("127.0.0.1", cdn, &hub);
    world.sources[0][0].allow_private = false;
    world_start(&world);
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        (void)snprintf(location, sizeof(location), "http://%s:%u/metadata?key=s3cret", hosts[i], httpd_port(inner));
        struct probe p;
        probe_init(&p);
        struct upstream_job job = probe_job(&p);
        ck_assert_msg(probe_run(&world, &p, &job) == -EPERM, "%s", hosts[i]);
        ck_assert_ptr_null(strstr(p.message, "s3cret"));
        probe_finish(&p);
    }
    ck_assert_uint_eq(httpd_connections(inner), 0);
    ck_assert_uint_eq(httpd_count(h, "GET /"), ARRAY_SIZE(hosts));
    only_stop(h);
    httpd_stop(inner);
}
END_TEST

START_TEST(a_token_server_at_a_private_address_is_not_asked)
{
    hub_start();
    world.sources[0][0].allow_private = false;
    world_start(&world);
    ck_assert_int_eq(again(probe_job(&probe), NULL), -EPERM);
    ck_assert_uint_eq(httpd_connections(hub.auth), 0);
    hub_stop();
}
END_TEST

static int target_status;
static const char *target_fields;

static void target(struct exchange *x)
{
    exchange_reply(x, target_status, target_fields, "{}");
}

START_TEST(a_signed_url_that_is_refused_says_nothing_about_the_blob)
{
    static const struct {
        int status;
        enum upstream_object object;
        int error;
    } cases[] = {
        {400, UPSTREAM_BLOB, -EREMOTEIO},  {401, UPSTREAM_BLOB, -EREMOTEIO},  {403, UPSTREAM_BLOB, -EREMOTEIO},
        {410, UPSTREAM_BLOB, -EREMOTEIO},  {404, UPSTREAM_BLOB, -ENOENT},     {503, UPSTREAM_BLOB, -EREMOTEIO},
        {403, UPSTREAM_MANIFEST, -EACCES}, {404, UPSTREAM_MANIFEST, -ENOENT},
    };
    struct httpd *h = only(redirector), *other = httpd_start("127.0.0.1", target, NULL);
    target_fields = "";
    (void)snprintf(location, sizeof(location), "http://127.0.0.1:%u/x", httpd_port(other));
    world_start(&world);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        target_status = cases[i].status;
        struct upstream_job job = probe_job(&probe);
        job.object = cases[i].object;
        ck_assert_msg(again(job, NULL) == cases[i].error, "%d", cases[i].status);
    }
    only_stop(h);
    httpd_stop(other);
}
END_TEST

START_TEST(a_challenge_of_the_redirects_target_is_answered_without_the_account)
{
    hub_start(); /* the target: a registry of another name, with its own token server */
    struct httpd *first = httpd_start("127.0.0.2", redirector, NULL);
    (void)snprintf(location, sizeof(location), "http://127.0.0.1:%u/v2/library/a/manifests/1",
                   httpd_port(hub.registry));
    (void)snprintf(world.urls[0], sizeof(world.urls[0]), "http://127.0.0.2:%u", httpd_port(first));
    give_account(&world.sources[0][0]);
    world_start(&world);
    ck_assert_int_eq(unlink(credentials_name), 0);
    struct upstream_job job = probe_job(&probe);
    job.object = UPSTREAM_MANIFEST;
    job.reference = "1";
    ck_assert_int_eq(probe_run(&world, &probe, &job), 0);
    ck_assert_str_eq(probe.body.data, BODY);
    ck_assert_str_eq(hub.basic, "");
    ck_assert_uint_eq(tokens(), 1);
    ck_assert_uint_eq(httpd_count(first, "GET /"), 1);
    hub_stop();
    httpd_stop(first);
}
END_TEST

/* ------------------------------------------------------------------ answers */

START_TEST(each_status_has_its_error)
{
    static const struct {
        int status;
        const char *fields;
        int error;
        int64_t retry_after_ms;
    } cases[] = {
        {401, "", -EACCES, -1},
        {403, "", -EACCES, -1},
        {404, "", -ENOENT, -1},
        {416, "", -ERANGE, -1},
        {429, "", -EAGAIN, 0}, /* our own guess */
        {429, "Retry-After: 7\r\n", -EAGAIN, 7000},
        {500, "", -EREMOTEIO, -1},
        {503, "Retry-After: 0\r\n", -EREMOTEIO, 1000},
        {204, "", -EREMOTEIO, -1},
        {304, "", -EREMOTEIO, -1},
        {405, "", -EREMOTEIO, -1},
        {400, "", -EREMOTEIO, -1},
        {206, "Content-Range: bytes 0-1/9\r\n", -EREMOTEIO, -1},
        {200, "Content-Encoding: gzip\r\n", -EPROTO, -1},
        {200, "Content-Length: 3\r\n", -EPROTO, -1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct httpd *h = only(target); /* that knows nothing of the others */
        world_start(&world);
        target_status = cases[i].status;
        target_fields = cases[i].fields;
        struct probe p;
        probe_init(&p);
        struct upstream_job job = probe_job(&p);
        ck_assert_msg(probe_run(&world, &p, &job) == cases[i].error, "%d: %s", cases[i].status, p.message);
        if (cases[i].retry_after_ms != 0)
            ck_assert_int_eq(p.result.retry_after_ms, cases[i].retry_after_ms);
        else
            ck_assert_int_gt(p.result.retry_after_ms, 0);
        ck_assert_uint_eq(p.heads, 0);
        ck_assert_uint_eq(p.bodies, 0);
        ck_assert_msg(strncmp(p.message, "127.0.0.1:", 10) == 0, "%s", p.message);
        probe_finish(&p);
        only_stop(h);
    }
}
END_TEST

START_TEST(a_head_has_no_body)
{
    hub_start();
    hub.challenge = NULL;
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    job.head = true;
    ck_assert_int_eq(probe_run(&world, &probe, &job), 0);
    ck_assert_int_eq(probe.head.length, sizeof(BODY) - 1);
    ck_assert_uint_eq(probe.bodies, 0);
    ck_assert_uint_eq(httpd_count(hub.registry, "HEAD /v2/library/a/blobs/sha256:aa"), 1);
    hub_stop();
}
END_TEST

START_TEST(every_object_has_its_path)
{
    static const struct {
        enum upstream_object object;
        const char *query, *asked;
    } cases[] = {
        {UPSTREAM_BLOB, NULL, "GET /registry/v2/library/a/blobs/sha256:aa"},
        {UPSTREAM_TAGS, "n=100&last=x", "GET /registry/v2/library/a/tags/list?n=100&last=x"},
        {UPSTREAM_REFERRERS, "artifactType=a%2Fb", "GET /registry/v2/library/a/referrers/sha256:aa?artifactType=a%2Fb"},
    };
    hub_start();
    hub.challenge = NULL;
    (void)snprintf(world.urls[0], sizeof(world.urls[0]), "http://127.0.0.1:%u/registry", httpd_port(hub.registry));
    world_start(&world);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct upstream_job job = probe_job(&probe);
        job.object = cases[i].object;
        job.query = cases[i].query;
        ck_assert_int_eq(again(job, NULL), 0);
        ck_assert_msg(httpd_count(hub.registry, cases[i].asked) == 1, "%s", cases[i].asked);
    }
    ck_assert_str_eq(hub.accept, "application/vnd.oci.image.index.v1+json");
    hub_stop();
}
END_TEST

START_TEST(names_that_are_no_part_of_a_url_are_refused)
{
    static const char *const names[] = {"", "a/../b", "..", "a//b", "/a", "a?b", "a#b", "a b", "a\nb", "a%2fb", "./a"};
    hub_start();
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        job.repository = names[i];
        job.reference = "1";
        ck_assert_msg(upstream_submit(world.upstream, &job) == -EINVAL, "%s", names[i]);
        job.repository = "a";
        job.reference = names[i];
        ck_assert_msg(upstream_submit(world.upstream, &job) == -EINVAL, "%s", names[i]);
    }
    job.reference = "1";
    job.query = "a b";
    ck_assert_int_eq(upstream_submit(world.upstream, &job), -EINVAL);
    job.query = NULL;
    job.registry = "two.test";
    ck_assert_int_eq(upstream_submit(world.upstream, &job), -EINVAL);
    hub_stop();
    ck_assert_uint_eq(probe.dones, 0);
}
END_TEST

/* ------------------------------------------------------------------ what breaks */

static void odd(struct exchange *x)
{
    if (exchange_has(x, "short")) {
        exchange_send(x, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        exchange_end(x);
    } else if (exchange_has(x, "chunk")) {
        exchange_send(x, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        exchange_end(x);
    } else if (exchange_has(x, "reset")) {
        exchange_reset(x);
    } else if (exchange_has(x, "silent")) {
        exchange_hang(x);
    } else if (exchange_has(x, "headless")) {
        exchange_send(x, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n");
        exchange_hang(x);
    } else if (exchange_has(x, "stall")) {
        exchange_send(x, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        exchange_hang(x);
    } else if (exchange_has(x, "nonsense")) {
        exchange_send(x, "220 welcome to mail\r\n");
        exchange_end(x);
    } else if (exchange_has(x, "endless")) {
        exchange_send(x, "HTTP/1.1 200 OK\r\nX: %0*d\r\n\r\n", 200000, 0);
        exchange_hang(x);
    } else if (exchange_has(x, "fields")) {
        exchange_send(x, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 5000; i++)
            exchange_send(x, "X-Field: %020d\r\n", i);
        exchange_hang(x);
    } else if (exchange_has(x, "closed")) {
        exchange_send(x, "HTTP/1.1 200 OK\r\n\r\n" BODY);
        exchange_end(x);
    } else if (exchange_has(x, "part")) {
        exchange_send(x, "HTTP/1.1 206 OK\r\nContent-Range: bytes 5-99/100\r\n\r\nhalf");
        exchange_end(x);
    } else {
        exchange_send(x, "HTTP/1.1 206 OK\r\nContent-Range: bytes 5-6/100\r\n\r\nfour");
        exchange_end(x);
    }
}

START_TEST(each_way_to_break_has_its_error)
{
    static const struct {
        const char *reference;
        uint64_t offset;
        int error;
        unsigned heads;
    } cases[] = {
        {"short", 0, -ECONNRESET, 1}, {"chunk", 0, -ECONNRESET, 1}, {"reset", 0, -ECONNRESET, 0},
        {"nonsense", 0, -EPROTO, 0},  {"endless", 0, -EFBIG, 0},    {"fields", 0, -EFBIG, 0},
        {"closed", 0, 0, 1},          {"part", 5, -ECONNRESET, 1},  {"more", 5, -EPROTO, 1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct httpd *h = only(odd);
        world_start(&world);
        struct probe p;
        probe_init(&p);
        struct upstream_job job = probe_job(&p);
        job.reference = cases[i].reference;
        job.offset = cases[i].offset;
        int error = probe_run(&world, &p, &job);
        ck_assert_msg(error == cases[i].error, "%s: %d %s", cases[i].reference, error, p.message);
        ck_assert_uint_eq(p.heads, cases[i].heads);
        probe_finish(&p);
        only_stop(h);
    }
}
END_TEST

START_TEST(silence_has_an_end)
{
    static const char *const references[] = {"silent", "headless", "stall"};
    struct httpd *h = only(odd);
    world.config.upstream.header_timeout_ms = 100;
    world.config.upstream.stall_timeout_ms = 100;
    world_start(&world);
    for (size_t i = 0; i < ARRAY_SIZE(references); i++) {
        struct upstream_job job = probe_job(&probe);
        job.reference = references[i];
        ck_assert_msg(again(job, NULL) == -ETIMEDOUT, "%s", references[i]);
    }
    only_stop(h);
}
END_TEST

START_TEST(a_registry_that_is_not_there_is_said)
{
    struct httpd *h = only(odd);
    char expected[128];
    (void)snprintf(expected, sizeof(expected), "127.0.0.1:%u: connection refused", httpd_port(h));
    httpd_stop(h);
    struct config_source *six = world_add(&world, httpd_start("127.0.0.1", odd, NULL));
    six->url = (char[]){"http://[::1]:1"};
    six = world_add(&world, httpd_start("127.0.0.1", odd, NULL));
    six->url = (char[]){"http://nowhere.invalid"};
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    ck_assert_int_eq(probe_run(&world, &probe, &job), -ECONNREFUSED);
    ck_assert_str_eq(probe.message, expected);
    ck_assert_int_eq(probe.result.status, 0);
    job.registry = "two.test";
    int error = again(job, NULL);
    ck_assert(error == -ECONNREFUSED || error == -EHOSTUNREACH);
    job.registry = "three.test";
    ck_assert_int_eq(again(job, NULL), -EHOSTUNREACH);
    world_finish(&world);
    probe_finish(&probe);
}
END_TEST

START_TEST(what_a_callback_returns_ends_the_job)
{
    hub_start();
    hub.challenge = NULL;
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    probe.fail_head = -ENOSPC;
    ck_assert_int_eq(probe_run(&world, &probe, &job), -ENOSPC);
    ck_assert_uint_eq(probe.bodies, 0);
    probe_finish(&probe);
    probe_init(&probe);
    probe.fail_body = -EIO;
    ck_assert_int_eq(probe_run(&world, &probe, &job), -EIO);
    ck_assert_uint_eq(probe.bodies, 1);
    hub_stop();
}
END_TEST

/* ------------------------------------------------------------------ time, order, ends */

static void trickle(struct exchange *x)
{
    exchange_send(x, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
    (void)sem_wait((sem_t *)x->arg);
    exchange_send(x, "half");
}

START_TEST(a_tick_comes_after_bytes_that_none_follow)
{
    sem_t gate;
    (void)sem_init(&gate, 0, 0);
    world_init(&world);
    struct httpd *h = httpd_start("127.0.0.1", trickle, &gate);
    (void)world_add(&world, h);
    probe_init(&probe);
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    probe_submit(&world, &probe, &job);
    probe_wait_tick(&probe); /* the other half comes only after it */
    (void)sem_post(&gate);
    probe_wait(&probe);
    ck_assert_int_eq(probe.result.error, 0);
    ck_assert_str_eq(probe.body.data, "halfhalf");
    only_stop(h);
    (void)sem_destroy(&gate);
}
END_TEST

START_TEST(a_job_waits_for_its_delay)
{
    hub_start();
    hub.challenge = NULL;
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    job.delay_ms = 80;
    int64_t begin = clock_monotonic_ms();
    ck_assert_int_eq(again(job, NULL), 0);
    ck_assert_int_ge(clock_monotonic_ms() - begin, 80);
    hub_stop();
}
END_TEST

START_TEST(many_jobs_share_few_connections)
{
    enum { COUNT = 400, MOST = 6 };
    static struct probe probes[COUNT];
    hub_start();
    hub.redirects = true;
    world.config.upstream.max_connections_per_host = MOST;
    world_start(&world);
    for (int i = 0; i < COUNT; i++) {
        probe_init(&probes[i]);
        struct upstream_job job = probe_job(&probes[i]);
        job.object = i % 3 ? UPSTREAM_BLOB : UPSTREAM_MANIFEST;
        job.delay_ms = i % 7;
        probe_submit(&world, &probes[i], &job);
    }
    for (int i = 0; i < COUNT; i++) {
        probe_wait(&probes[i]);
        ck_assert_int_eq(probes[i].result.error, 0);
        ck_assert_str_eq(probes[i].body.data, BODY);
        ck_assert_uint_eq(probes[i].heads, 1);
        probe_finish(&probes[i]);
    }
    ck_assert_uint_le(httpd_most_at_once(hub.registry), MOST);
    ck_assert_uint_le(httpd_most_at_once(hub.cdn), MOST);
    ck_assert_uint_le(tokens(), 1);
    ck_assert_str_eq(hub.leak, "");
    hub_stop();
}
END_TEST

static void hold_blobs(struct exchange *x)
{
    if (exchange_has(x, "/blobs/"))
        exchange_hang(x);
    else
        exchange_reply(x, 200, "", BODY);
}

START_TEST(a_manifest_does_not_wait_behind_blobs)
{
    enum { COUNT = 8 };
    static struct probe probes[COUNT];
    struct httpd *h = only(hold_blobs);
    world.config.upstream.max_connections_per_host = 4;
    world_start(&world);
    for (int i = 0; i < COUNT; i++) {
        probe_init(&probes[i]);
        struct upstream_job blob = probe_job(&probes[i]);
        probe_submit(&world, &probes[i], &blob);
    }
    struct upstream_job job = probe_job(&probe);
    job.object = UPSTREAM_MANIFEST;
    ck_assert_int_eq(probe_run(&world, &probe, &job), 0);
    ck_assert_uint_le(httpd_count(h, "GET /v2/library/a/blobs/"), 3);
    only_stop(h);
    for (int i = 0; i < COUNT; i++) {
        ck_assert_uint_eq(probes[i].dones, 1);
        ck_assert_int_eq(probes[i].result.error, -ECANCELED);
        probe_finish(&probes[i]);
    }
}
END_TEST

START_TEST(a_job_that_must_find_a_connection_to_spare_leaves_half_of_them_and_does_not_wait)
{
    enum { HELD = 3 };
    static struct probe probes[HELD];
    struct httpd *h = only(hold_blobs);
    world.config.upstream.max_connections_per_host = 4;
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    job.object = UPSTREAM_MANIFEST;
    job.spare = true;
    ck_assert_int_eq(probe_run(&world, &probe, &job), 0); /* all of them are free */
    for (int i = 0; i < HELD; i++) {
        probe_init(&probes[i]);
        struct upstream_job blob = probe_job(&probes[i]);
        blob.spare = i == 1;
        probe_submit(&world, &probes[i], &blob);
    }
    ck_assert_int_eq(again(job, NULL), -EBUSY);
    ck_assert_uint_eq(probes[1].dones, 0); /* the second of four was to be had */
    job.spare = false;
    ck_assert_int_eq(again(job, NULL), 0);
    only_stop(h);
    for (int i = 0; i < HELD; i++) {
        ck_assert_int_eq(probes[i].result.error, -ECANCELED);
        probe_finish(&probes[i]);
    }
}
END_TEST

static struct upstream *resubmit_to;
static int resubmitted;

static int ignore_head(void *arg, const struct upstream_head *head)
{
    (void)arg;
    (void)head;
    return 0;
}

static int ignore_body(void *arg, const void *data, size_t len)
{
    (void)arg;
    (void)data;
    (void)len;
    return 0;
}

static void submit_again(void *arg, const struct upstream_result *result)
{
    ck_assert_int_eq(result->error, -ECANCELED);
    struct upstream_job job = probe_job(arg);
    resubmitted = upstream_submit(resubmit_to, &job);
}

START_TEST(a_stop_ends_every_job_once_in_whatever_state_it_is)
{
    enum { DELAYED, TOKEN, BODY_COMES, QUEUED, COUNT };
    static struct probe probes[COUNT];
    sem_t gate, reached;
    (void)sem_init(&gate, 0, 0);
    (void)sem_init(&reached, 0, 0);
    hub_start();
    hub.gate = &gate;
    hub.reached = &reached;
    struct httpd *h = httpd_start("127.0.0.1", odd, NULL);
    (void)world_add(&world, h);
    world.config.upstream.max_connections_per_host = 1;
    world_start(&world);
    struct upstream_job job;
    for (int i = 0; i < COUNT; i++) {
        probe_init(&probes[i]);
        job = probe_job(&probes[i]);
        job.delay_ms = i == DELAYED ? 3600000 : 0;
        job.reference = "stall";
        if (i >= BODY_COMES)
            job.registry = "two.test";
        probe_submit(&world, &probes[i], &job);
    }
    static const struct upstream_callbacks again_callbacks = {
        .on_head = ignore_head, .on_body = ignore_body, .on_done = submit_again};
    job = probe_job(&probe);
    job.delay_ms = 3600000;
    job.callbacks = &again_callbacks;
    resubmit_to = world.upstream;
    probe_submit(&world, &probe, &job);
    (void)sem_wait(&reached);
    probe_wait_body(&probes[BODY_COMES]);
    upstream_stop(world.upstream);
    for (int i = 0; i < COUNT; i++) {
        ck_assert_uint_eq(probes[i].dones, 1);
        ck_assert_int_eq(probes[i].result.error, -ECANCELED);
    }
    ck_assert_int_eq(resubmitted, -ECANCELED);
    job = probe_job(&probe);
    ck_assert_int_eq(upstream_submit(world.upstream, &job), -ECANCELED);
    (void)sem_post(&gate);
    hub_stop();
    httpd_stop(h);
    for (int i = 0; i < COUNT; i++) {
        ck_assert_uint_eq(probes[i].dones, 1);
        probe_finish(&probes[i]);
    }
    (void)sem_destroy(&gate);
    (void)sem_destroy(&reached);
}
END_TEST

START_TEST(a_reload_is_for_new_jobs)
{
    sem_t gate;
    (void)sem_init(&gate, 0, 0);
    hub_start();
    hub.challenge = NULL;
    struct httpd *old = httpd_start("127.0.0.1", trickle, &gate);
    struct config config = world.config;
    struct config_registry first = world.registries[0];
    struct config_source first_source = world.sources[0][0];
    first.sources = &first_source;
    char url[64];
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", httpd_port(old));
    world.sources[0][0].url = url;
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    probe_submit(&world, &probe, &job);
    probe_wait_body(&probe);

    config.registries = &first;
    ck_assert_int_eq(upstream_reload(world.upstream, &config, &world.errors), 0);
    memset(url, 'x', sizeof(url)); /* the old one is referred to no more */
    memset(&world.registries, 0, sizeof(world.registries));
    memset(&world.sources, 0, sizeof(world.sources));
    ck_assert_int_eq(again(job, NULL), 0);
    ck_assert_uint_eq(httpd_count(hub.registry, "GET /"), 1);
    (void)sem_post(&gate);
    probe_wait(&probe);
    ck_assert_int_eq(probe.result.error, 0);
    ck_assert_str_eq(probe.body.data, "halfhalf");

    config.registry_count = 0;
    ck_assert_int_eq(upstream_reload(world.upstream, &config, &world.errors), 0);
    ck_assert_int_eq(upstream_submit(world.upstream, &job), -EINVAL);
    hub_stop();
    httpd_stop(old);
    (void)sem_destroy(&gate);
}
END_TEST

START_TEST(a_configuration_that_makes_no_sense_does_not_start)
{
    hub_start();
    world.sources[0][0].url = (char[]){"ftp://nowhere"};
    ck_assert_int_eq(upstream_start(&world.config, &world.errors, &world.upstream), -EINVAL);
    ck_assert_ptr_null(world.upstream);
    hub_stop();
}
END_TEST

/* ------------------------------------------------------------------ proxies */

START_TEST(a_proxy_is_asked_but_for_the_hosts_that_need_none)
{
    hub_start();
    hub.challenge = NULL;
    struct httpd *proxy = httpd_start("127.0.0.1", target, NULL);
    target_status = 200;
    target_fields = "";
    char url[64];
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", httpd_port(proxy));
    struct config_source *far = world_add(&world, hub.registry);
    far->url = (char[]){"http://far.example"};
    far->allow_private = false; /* the proxy itself may be anywhere */
    far->proxy = url;
    struct config_source *near = world_add(&world, hub.registry);
    near->proxy = url;
    near->no_proxy = (char[]){"127.0.0.0/8"};
    world_start(&world);
    struct upstream_job job = probe_job(&probe);
    job.registry = "two.test";
    ck_assert_int_eq(again(job, NULL), 0);
    ck_assert_uint_eq(httpd_count(proxy, "GET http://far.example/v2/library/a/blobs/sha256:aa"), 1);
    job.registry = "three.test";
    ck_assert_int_eq(again(job, NULL), 0);
    ck_assert_uint_eq(httpd_count(hub.registry, "GET /v2/library/a/blobs/sha256:aa"), 1);
    ck_assert_uint_eq(httpd_count(proxy, "GET /"), 0);
    hub_stop();
    httpd_stop(proxy);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("upstream");
    TCase *t = tcase_create("upstream");
    suite_add_tcase(s, t);
    tcase_set_timeout(t, 100);
    tcase_add_test(t, a_manifest_is_fetched_with_a_token);
    tcase_add_test(t, the_next_job_has_the_token_before_it_asks);
    tcase_add_test(t, many_jobs_wait_for_one_token);
    tcase_add_test(t, the_scope_is_the_challenges_own_or_the_repositorys);
    tcase_add_test(t, a_scope_for_all_is_asked_for_once);
    tcase_add_test(t, a_token_that_expired_early_is_replaced_whatever_its_challenge_says);
    tcase_add_test(t, a_fresh_token_that_is_refused_is_the_end_of_it);
    tcase_add_test(t, a_scope_that_is_not_enough_is_widened_once);
    tcase_add_test(t, a_realm_that_has_moved_is_found_again);
    tcase_add_test(t, a_token_server_that_fails_is_an_error_and_is_not_asked_again_at_once);
    tcase_add_test(t, a_limited_token_server_is_asked_for_no_other_token_and_live_ones_serve);
    tcase_add_test(t, a_token_without_end_is_cut);
    tcase_add_test(t, the_token_server_is_told_the_account_and_the_registry_is_not);
    tcase_add_test(t, a_login_that_is_refused_is_said_and_not_repeated_at_once);
    tcase_add_test(t, a_basic_challenge_is_answered_by_the_account);
    tcase_add_test(t, without_an_account_a_basic_challenge_is_the_end);
    tcase_add_test(t, a_realm_of_somebody_else_is_not_told_the_account);
    tcase_add_test(t, files_that_cannot_be_read_are_said_and_done_without);
    tcase_add_test(t, a_redirect_keeps_the_range_and_not_the_token);
    tcase_add_test(t, a_part_is_asked_for_from_its_first_byte_to_its_last);
    tcase_add_test(t, redirects_in_a_circle_end);
    tcase_add_test(t, a_redirect_that_may_not_be_followed_is_refused);
    tcase_add_test(t, a_redirect_to_a_private_address_is_not_even_dialled);
    tcase_add_test(t, a_token_server_at_a_private_address_is_not_asked);
    tcase_add_test(t, a_signed_url_that_is_refused_says_nothing_about_the_blob);
    tcase_add_test(t, a_challenge_of_the_redirects_target_is_answered_without_the_account);
    tcase_add_test(t, each_status_has_its_error);
    tcase_add_test(t, a_head_has_no_body);
    tcase_add_test(t, every_object_has_its_path);
    tcase_add_test(t, names_that_are_no_part_of_a_url_are_refused);
    tcase_add_test(t, each_way_to_break_has_its_error);
    tcase_add_test(t, silence_has_an_end);
    tcase_add_test(t, a_registry_that_is_not_there_is_said);
    tcase_add_test(t, what_a_callback_returns_ends_the_job);
    tcase_add_test(t, a_tick_comes_after_bytes_that_none_follow);
    tcase_add_test(t, a_job_waits_for_its_delay);
    tcase_add_test(t, many_jobs_share_few_connections);
    tcase_add_test(t, a_manifest_does_not_wait_behind_blobs);
    tcase_add_test(t, a_job_that_must_find_a_connection_to_spare_leaves_half_of_them_and_does_not_wait);
    tcase_add_test(t, a_stop_ends_every_job_once_in_whatever_state_it_is);
    tcase_add_test(t, a_reload_is_for_new_jobs);
    tcase_add_test(t, a_configuration_that_makes_no_sense_does_not_start);
    tcase_add_test(t, a_proxy_is_asked_but_for_the_hosts_that_need_none);
    return suite_run(s);
}
