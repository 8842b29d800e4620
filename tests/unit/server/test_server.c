#include "server/server.h"

#include "base/log.h"
#include "base/metrics.h"
#include "client.h"
#include "fake_mirror.h"
#include "suite.h"

#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define KIB 1024u
#define MIB (1024u * KIB)
#define DIGEST(c) "sha256:" c c c c c c c c c c c c c c c c
#define MEMORY DIGEST("aaaa")
#define SMALL_FILE DIGEST("bbbb")
#define FILE_ DIGEST("cccc")
#define FLIGHT DIGEST("dddd")
#define EMPTY DIGEST("eeee")
#define PACKED DIGEST("ffff")
#define PACKED_SIZE 70000u /* of FILE_SIZE: the fake has the same bytes for both */
#define MEMORY_SIZE 2000u
#define FILE_SIZE (3 * MIB)
#define FLIGHT_SIZE (5 * MIB)
#define BLOB(d) "/v2/library/x/blobs/" d
#define MANIFEST(r) "/v2/library/x/manifests/" r

static char *listen_items[] = {(char[]){"127.0.0.1:0"}, NULL};
static struct config config;
static struct mirror *mirror;
static struct server *server;
static struct fake_object *memory, *flight, *packed;
static uint16_t port;

static void start(void)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    int r = server_start(&config, mirror, NULL, &server, &error);
    ck_assert_msg(r == 0, "%s", error.data);
    port = client_port();
}

static void setup(void)
{
    log_configure(LOG_ERROR, LOG_TEXT);
    config = (struct config){
        .server = {.listen = {.items = listen_items, .count = 1},
                   .threads = 3,
                   .max_connections = 200,
                   .idle_timeout_ms = 60000,
                   .drain_timeout_ms = 60000,
                   .max_ranges = 1024},
    };
    mirror = fake_mirror_create();
    memory = fake_add(mirror, MEMORY, MIRROR_MEMORY, MEMORY_SIZE);
    (void)fake_add(mirror, SMALL_FILE, MIRROR_FILE, 100);
    (void)fake_add(mirror, FILE_, MIRROR_FILE, FILE_SIZE);
    (void)fake_add(mirror, EMPTY, MIRROR_MEMORY, 0);
    flight = fake_add(mirror, FLIGHT, MIRROR_FLIGHT, FLIGHT_SIZE);
    packed = fake_add(mirror, PACKED, MIRROR_FILE, FILE_SIZE);
    packed->answer.packed_fd = packed->fd;
    packed->answer.packed_size = PACKED_SIZE;
    start();
}

static void stop(void)
{
    server_stop(server);
    server = NULL;
}

static void teardown(void)
{
    stop();
    fake_mirror_destroy(mirror);
}

/* Not an assertion a byte: each of them is a write to a pipe. */
static void check_content(const void *data, uint64_t first, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((const uint8_t *)data)[i] != fake_byte(first + i))
            ck_abort_msg("wrong byte at %lu", (unsigned long)(first + i));
}

static void check_bytes(const struct response *r, uint64_t first, uint64_t last)
{
    ck_assert_int_eq(r->end, END_COMPLETE);
    ck_assert_uint_eq(r->body.len, last - first + 1);
    check_content(r->body.data, first, r->body.len);
}

static void check_header(const struct response *r, const char *name, const char *want)
{
    char value[4096];
    ck_assert_str_eq(response_header(r, name, value, sizeof(value)), want);
}

static void check_error(const struct response *r, int status, const char *code)
{
    char want[128];
    ck_assert_int_eq(r->status, status);
    ck_assert_int_eq(r->end, END_COMPLETE);
    check_header(r, "Content-Type", "application/json");
    (void)snprintf(want, sizeof(want), "{\"errors\":[{\"code\":\"%s\",\"message\":\"", code);
    ck_assert_msg(strncmp(r->body.data, want, strlen(want)) == 0, "%s", r->body.data);
}

static void get(const char *target, const char *headers, struct response *r)
{
    client_get(port, target, headers, r);
}

static void get_error(const char *target, const char *headers, int status, const char *code)
{
    struct response r;
    get(target, headers, &r);
    check_error(&r, status, code);
    response_finish(&r);
}

/* ------------------------------------------------------------------ answers */

START_TEST(the_ping_is_answered_without_the_mirror)
{
    struct response r;
    get("/v2/", "", &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(r.body.data, "{}");
    check_header(&r, "Docker-Distribution-Api-Version", "registry/2.0");
    check_header(&r, "Content-Type", "application/json");
    response_finish(&r);
    client_head(port, "/v2", "", &r);
    ck_assert_int_eq(r.status, 200);
    check_header(&r, "Content-Length", "2");
    response_finish(&r);
    ck_assert_uint_eq(fake_opened(mirror), 0);
}
END_TEST

START_TEST(a_manifest_comes_from_memory_with_its_headers)
{
    struct response r;
    memory->answer.content_type = "application/vnd.oci.image.index.v1+json";
    get(MANIFEST(MEMORY) "?ns=docker.io%3A443", "", &r);
    ck_assert_int_eq(r.status, 200);
    check_bytes(&r, 0, MEMORY_SIZE - 1);
    check_header(&r, "Content-Type", "application/vnd.oci.image.index.v1+json");
    check_header(&r, "Content-Length", "2000");
    check_header(&r, "Docker-Content-Digest", MEMORY);
    check_header(&r, "ETag", "\"" MEMORY "\"");
    check_header(&r, "OCI-Namespace", "registry.example");
    check_header(&r, "Docker-Distribution-Api-Version", "registry/2.0");
    check_header(&r, "Warning", "");
    check_header(&r, "Retry-After", "");
    response_finish(&r);
    struct fake_seen seen = fake_seen(mirror);
    ck_assert_int_eq(seen.object, MIRROR_MANIFEST);
    ck_assert(!seen.head);
    ck_assert_str_eq(seen.ns, "docker.io:443");
    ck_assert_str_eq(seen.name, "library/x");
    ck_assert_str_eq(seen.reference, MEMORY);
}
END_TEST

static const struct {
    const char *digest;
    uint64_t size;
} stored[] = {{MEMORY, MEMORY_SIZE}, {SMALL_FILE, 100}, {FILE_, FILE_SIZE}};

START_TEST(a_blob_comes_whole_from_memory_or_file)
{
    struct response r;
    char target[256];
    (void)snprintf(target, sizeof(target), BLOB("%s"), stored[_i].digest);
    get(target, "", &r);
    ck_assert_int_eq(r.status, 200);
    check_bytes(&r, 0, stored[_i].size - 1);
    check_header(&r, "Accept-Ranges", "bytes");
    check_header(&r, "Docker-Content-Digest", stored[_i].digest);
    response_finish(&r);
    ck_assert_int_eq(fake_seen(mirror).object, MIRROR_BLOB);
}
END_TEST

START_TEST(an_empty_body_is_an_answer)
{
    struct response r;
    get(BLOB(EMPTY), "Range: bytes=0-\r\n", &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert_int_eq(r.end, END_COMPLETE);
    check_header(&r, "Content-Length", "0");
    response_finish(&r);
}
END_TEST

static const char *const heads[] = {MEMORY, FILE_, FLIGHT};
static const char *const head_lengths[] = {"2000", "3145728", "5242880"};

START_TEST(a_head_has_the_headers_of_the_get_and_no_body)
{
    struct response r;
    char target[256];
    int fd = client_connect(port);
    (void)snprintf(target, sizeof(target), BLOB("%s"), heads[_i]);
    for (int i = 0; i < 2; i++) { /* a body would be taken for the next answer */
        client_ask(fd, "HEAD", target, "Range: bytes=0-5\r\n");
        client_read(fd, true, 0, &r);
        ck_assert_int_eq(r.status, 200);
        check_header(&r, "Content-Length", head_lengths[_i]);
        check_header(&r, "Accept-Ranges", "bytes");
        check_header(&r, "Docker-Content-Digest", heads[_i]);
        response_finish(&r);
    }
    (void)close(fd);
    ck_assert(fake_seen(mirror).head);
}
END_TEST

START_TEST(tags_and_referrers_have_links_and_filters)
{
    struct response r;
    struct fake_object *tags = fake_add(mirror, "library/tags", MIRROR_MEMORY, 50);
    tags->answer.digest = NULL;
    tags->answer.link = "n=10&last=a%2Bb";
    get("/v2/library/tags/tags/list?n=10&last=x&ns=quay.example%3A1", "", &r);
    ck_assert_int_eq(r.status, 200);
    check_header(&r, "Link", "</v2/library/tags/tags/list?n=10&last=a%2Bb&ns=quay.example%3A1>; rel=\"next\"");
    check_header(&r, "ETag", "");
    response_finish(&r);
    struct fake_seen seen = fake_seen(mirror);
    ck_assert_int_eq(seen.object, MIRROR_TAGS);
    ck_assert_int_eq(seen.page_size, 10);
    ck_assert_str_eq(seen.last, "x");

    memory->answer.link = "next=1";
    memory->answer.filters = "artifactType";
    get("/v2/library/x/referrers/" MEMORY "?artifactType=a%2Fb", "", &r);
    ck_assert_int_eq(r.status, 200);
    check_header(&r, "Link", "</v2/library/x/referrers/" MEMORY "?next=1>; rel=\"next\"");
    check_header(&r, "OCI-Filters-Applied", "artifactType");
    response_finish(&r);
    ck_assert_str_eq(fake_seen(mirror).artifact_type, "a/b");
}
END_TEST

START_TEST(a_stale_answer_says_so)
{
    struct response r;
    memory->answer.warning = "299 - \"served stale\"";
    get(MANIFEST(MEMORY), "", &r);
    check_header(&r, "Warning", "299 - \"served stale\"");
    response_finish(&r);
}
END_TEST

/* ------------------------------------------------------------------ errors */

START_TEST(an_error_of_the_mirror_has_a_body_of_the_specification)
{
    struct response r;
    struct fake_object *o = fake_add_error(mirror, "gone", 429, "TOOMANYREQUESTS");
    o->answer.retry_after_s = 30;
    get(MANIFEST("gone"), "", &r);
    check_error(&r, 429, "TOOMANYREQUESTS");
    ck_assert_str_eq(r.body.data,
                     "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"so the \\\"test\\\" says\"}]}\n");
    check_header(&r, "Retry-After", "30");
    check_header(&r, "OCI-Namespace", "registry.example");
    response_finish(&r);
    client_head(port, MANIFEST("gone"), "", &r);
    ck_assert_int_eq(r.status, 429);
    response_finish(&r);
}
END_TEST

static const struct {
    const char *headers;
    bool wanted;
} cached_only[] = {
    {"", false},
    {"Cache-Control: no-cache\r\n", false},
    {"Cache-Control: only-if-cached\r\n", true},
    {"cache-control: no-cache, Only-If-Cached\r\n", true},
    {"Cache-Control: no-cache\r\nCache-Control: only-if-cached\r\n", true},
    {"Pragma: only-if-cached\r\n", false},
    {"Entrepot-Hop: 0123456789abcdef\r\n", true},
    {"entrepot-hop:\r\n", true},
};

START_TEST(a_sibling_asks_for_what_is_here_and_is_told_504_otherwise)
{
    struct response r;
    (void)fake_add_error(mirror, "absent", 504, "UNAVAILABLE");
    get(MANIFEST("absent"), cached_only[_i].headers, &r);
    bool is_hop = fake_seen(mirror).is_of_sibling;
    ck_assert((fake_seen(mirror).only_if_cached || is_hop) == cached_only[_i].wanted);
    ck_assert(is_hop == (strncasecmp(cached_only[_i].headers, "Entrepot-Hop:", 13) == 0));
    check_error(&r, 504, "UNAVAILABLE");
    response_finish(&r);
}
END_TEST

START_TEST(what_is_no_name_is_refused_without_the_mirror)
{
    get_error("/v2/Library/x/manifests/1", "", 400, "NAME_INVALID");
    get_error("/v2//manifests/1", "", 400, "NAME_INVALID");
    get_error(MANIFEST(".."), "", 400, "MANIFEST_INVALID");
    get_error(BLOB("sha256:abc"), "", 400, "DIGEST_INVALID");
    get_error("/v2/a%00b/manifests/1", "", 400, "UNSUPPORTED");
    get_error("/v2/a/tags/list?n=x", "", 400, "PAGINATION_NUMBER_INVALID");
    get_error("/favicon.ico", "", 404, "UNSUPPORTED");
    get_error("/v2x", "", 404, "UNSUPPORTED");
    get_error("/v2/a/tags", "", 404, "UNSUPPORTED");
    ck_assert_uint_eq(fake_opened(mirror), 0);
}
END_TEST

static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"};

START_TEST(pushing_is_405_and_the_connection_goes_on)
{
    struct response r;
    int fd = client_connect(port);
    for (int i = 0; i < 2; i++) {
        client_ask(fd, methods[_i], i ? BLOB("uploads/") : MANIFEST("1"), "Content-Length: 0\r\n");
        client_read(fd, false, SIZE_MAX, &r);
        check_error(&r, 405, "UNSUPPORTED");
        check_header(&r, "Allow", "GET, HEAD");
        response_finish(&r);
    }
    (void)close(fd);
    ck_assert_uint_eq(fake_opened(mirror), 0);
}
END_TEST

static const char *const uploads[] = {"Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n",
                                      "Content-Length: 1000000\r\nExpect: 100-continue\r\n"};

START_TEST(an_upload_is_refused_before_it_is_sent)
{
    struct response r;
    size_t rest = 0;
    int fd = client_connect(port);
    client_ask(fd, "PUT", MANIFEST("1"), uploads[_i]);
    client_read(fd, false, SIZE_MAX, &r);
    check_error(&r, 405, "UNSUPPORTED");
    response_finish(&r);
    ck_assert_int_eq(client_end(fd, &rest), END_FIN);
    (void)close(fd);
}
END_TEST

START_TEST(an_upload_that_comes_at_once_is_refused_without_a_reset)
{
    AUTO_BUF struct buf b = BUF_INIT(MIB);
    struct response r;
    size_t rest = 0;
    int fd = client_connect(port);
    ck_assert_int_eq(buf_adds(&b, "PUT " MANIFEST("1") " HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n"), 0);
    for (unsigned i = 0; i < 1000; i++)
        ck_assert_int_eq(buf_addf(&b, "%0100u", i), 0);
    client_send(fd, b.data);
    client_read(fd, false, SIZE_MAX, &r);
    check_error(&r, 405, "UNSUPPORTED");
    response_finish(&r);
    ck_assert_int_eq(client_end(fd, &rest), END_FIN);
    (void)close(fd);
}
END_TEST

START_TEST(the_body_of_a_get_is_thrown_away)
{
    struct response r;
    int fd = client_connect(port);
    for (int i = 0; i < 2; i++) {
        client_ask(fd, "GET", MANIFEST(MEMORY), "Content-Length: 5\r\n");
        client_send(fd, "12345");
        client_read(fd, false, SIZE_MAX, &r);
        ck_assert_int_eq(r.status, 200);
        check_bytes(&r, 0, MEMORY_SIZE - 1);
        response_finish(&r);
    }
    (void)close(fd);
}
END_TEST

START_TEST(what_is_no_request_is_refused_and_others_are_served)
{
    static const char *const nonsense[] = {"GET\r\n\r\n", "GET /v2/ HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02 TLS\r\n\r\n",
                                           "GET /v2/ HTTP/9.9\r\n\r\n",
                                           "GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"};
    struct response r;
    for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
        size_t n = 0;
        int fd = client_connect(port);
        client_send(fd, nonsense[i]);
        (void)shutdown(fd, SHUT_WR);
        (void)client_end(fd, &n);
        (void)close(fd);
    }
    get(MANIFEST(MEMORY), "", &r);
    ck_assert_int_eq(r.status, 200);
    response_finish(&r);
}
END_TEST

static const char *const unclear[] = {"Content-Length: 0\r\nContent-Length: 40\r\n",
                                      "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                                      "Transfer-Encoding: gzip, chunked\r\n",
                                      "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
                                      "Content-Length : 40\r\n",
                                      "Host: y\r\n"};

/* What comes behind would be an answer to somebody else's request, where a proxy shares the connection. */
START_TEST(a_request_without_a_certain_end_is_refused_and_nothing_behind_it_is_one)
{
    size_t n = 0;
    struct response r;
    char value[64];
    AUTO_BUF struct buf b = BUF_INIT(KIB);
    int fd = client_connect(port);
    ck_assert_int_eq(buf_addf(&b, "GET /v2/ HTTP/1.1\r\nHost: x\r\n%s\r\n0\r\n\r\n", unclear[_i]), 0);
    ck_assert_int_eq(buf_adds(&b, "GET " MANIFEST(MEMORY) " HTTP/1.1\r\nHost: x\r\n\r\n"), 0);
    client_send(fd, b.data);
    client_read(fd, false, SIZE_MAX, &r);
    ck_assert_int_eq(r.status, 400);
    ck_assert_str_eq(response_header(&r, "Connection", value, sizeof(value)), "close");
    response_finish(&r);
    ck_assert_int_eq(client_end(fd, &n), END_FIN);
    ck_assert_uint_eq(n, 0);
    (void)close(fd);
}
END_TEST

static void get_with_long_header(size_t length, struct response *r)
{
    AUTO_BUF struct buf b = BUF_INIT(MIB);
    ck_assert_int_eq(buf_adds(&b, "X-Long: "), 0);
    while (b.len < length - 2)
        ck_assert_int_eq(buf_adds(&b, "x"), 0);
    ck_assert_int_eq(buf_adds(&b, "\r\n"), 0);
    get(MANIFEST(MEMORY), b.data, r);
}

START_TEST(the_head_of_a_request_may_have_32_kib_but_not_everything)
{
    struct response r;
    get_with_long_header(32 * KIB - 256, &r);
    ck_assert_int_eq(r.status, 200);
    check_bytes(&r, 0, MEMORY_SIZE - 1);
    response_finish(&r);
    get_with_long_header(64 * KIB, &r);
    ck_assert_int_ge(r.status, 400);
    response_finish(&r);
}
END_TEST

/* ------------------------------------------------------------------ parts and conditions */

static const struct {
    const char *header;
    uint64_t first, last;
} parts[] = {{"bytes=0-0", 0, 0},
             {"bytes=500-1499", 500, 1499},
             {"bytes=1-", 1, MEMORY_SIZE - 1},
             {"bytes=-500", MEMORY_SIZE - 500, MEMORY_SIZE - 1},
             {"bytes=1900-99999", 1900, MEMORY_SIZE - 1}};

/* Makes the flight's object one of the same size as the others, or they of it. */
static struct fake_object *body_of(enum mirror_body body, uint64_t size)
{
    struct fake_object *o = fake_add(mirror, DIGEST("1234"), body, size);
    if (body == MIRROR_FLIGHT)
        fake_advance(mirror, o, size);
    return o;
}

#define EACH_BODY(b) for (enum mirror_body b = MIRROR_MEMORY; b <= MIRROR_FLIGHT; b++)

START_TEST(a_range_is_206_of_every_kind_of_body)
{
    EACH_BODY(body)
    {
        struct response r;
        char headers[128], want[128];
        (void)body_of(body, MEMORY_SIZE);
        (void)snprintf(headers, sizeof(headers), "Range: %s\r\n", parts[_i].header);
        get(BLOB(DIGEST("1234")), headers, &r);
        ck_assert_int_eq(r.status, 206);
        (void)snprintf(want, sizeof(want), "bytes %u-%u/%u", (unsigned)parts[_i].first, (unsigned)parts[_i].last,
                       MEMORY_SIZE);
        check_header(&r, "Content-Range", want);
        check_header(&r, "ETag", "\"" DIGEST("1234") "\"");
        check_bytes(&r, parts[_i].first, parts[_i].last);
        response_finish(&r);
    }
}
END_TEST

START_TEST(a_range_outside_is_416)
{
    struct response r;
    get(BLOB(FILE_), "Range: bytes=3145728-\r\n", &r);
    check_error(&r, 416, "SIZE_INVALID");
    check_header(&r, "Content-Range", "bytes */3145728");
    response_finish(&r);
    get(BLOB(FILE_), "Range: bytes=nonsense\r\n", &r);
    ck_assert_int_eq(r.status, 200);
    response_finish(&r);
}
END_TEST

/* Walks over a multipart body and compares every part with what it should be. */
static void check_multipart(const struct response *r, unsigned count, uint64_t step, uint64_t length, uint64_t size)
{
    char type[256], delimiter[300];
    ck_assert_int_eq(r->status, 206);
    ck_assert_int_eq(r->end, END_COMPLETE);
    check_header(r, "Content-Range", "");
    response_header(r, "Content-Type", type, sizeof(type));
    ck_assert_int_eq(strncmp(type, "multipart/byteranges; boundary=", 31), 0);
    (void)snprintf(delimiter, sizeof(delimiter), "--%s", type + 31);
    const char *p = r->body.data;
    for (unsigned i = 0; i < count; i++) {
        char want[512];
        (void)snprintf(want, sizeof(want),
                       "%s%s\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes %lu-%lu/%lu\r\n\r\n",
                       i ? "\r\n" : "", delimiter, (unsigned long)(i * step), (unsigned long)(i * step + length - 1),
                       (unsigned long)size);
        ck_assert_int_eq(strncmp(p, want, strlen(want)), 0);
        p += strlen(want);
        check_content(p, i * step, length);
        p += length;
    }
    ck_assert_int_eq(strncmp(p, "\r\n", 2), 0);
    ck_assert_int_eq(strncmp(p + 2, delimiter, strlen(delimiter)), 0);
    ck_assert_str_eq(p + 2 + strlen(delimiter), "--\r\n");
}

static void range_header(struct buf *b, unsigned count, uint64_t step, uint64_t length)
{
    ck_assert_int_eq(buf_adds(b, "Range: bytes="), 0);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(
            buf_addf(b, "%s%lu-%lu", i ? "," : "", (unsigned long)(i * step), (unsigned long)(i * step + length - 1)),
            0);
    ck_assert_int_eq(buf_adds(b, "\r\n"), 0);
}

START_TEST(many_ranges_are_multipart_of_every_kind_of_body)
{
    static const struct {
        unsigned count;
        uint64_t length;
    } cases[] = {{2, 7}, {64, 7}, {1024, 7}, {3, 100000}};
    EACH_BODY(body)
    {
        (void)body_of(body, FILE_SIZE);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            struct response r;
            AUTO_BUF struct buf b = BUF_INIT(MIB);
            uint64_t step = FILE_SIZE / cases[i].count;
            range_header(&b, cases[i].count, step, cases[i].length);
            get(BLOB(DIGEST("1234")), b.data, &r);
            check_multipart(&r, cases[i].count, step, cases[i].length, FILE_SIZE);
            response_finish(&r);
        }
    }
}
END_TEST

START_TEST(a_multipart_of_a_flight_waits_for_each_part)
{
    struct response r;
    AUTO_BUF struct buf b = BUF_INIT(MIB);
    range_header(&b, 5, MIB, 1000);
    int fd = client_connect(port);
    client_ask(fd, "GET", BLOB(FLIGHT), b.data);
    for (unsigned i = 0; i < 5; i++) {
        fake_await_waiting(mirror, 1);
        fake_advance(mirror, flight, i * MIB + 1);
        fake_await_waiting(mirror, 1);
        fake_advance(mirror, flight, i * MIB + 1000);
    }
    client_read(fd, false, SIZE_MAX, &r);
    check_multipart(&r, 5, MIB, 1000, FLIGHT_SIZE);
    response_finish(&r);
    (void)close(fd);
}
END_TEST

START_TEST(more_ranges_than_allowed_are_400)
{
    AUTO_BUF struct buf b = BUF_INIT(MIB);
    range_header(&b, 1025, 10, 1);
    get_error(BLOB(FILE_), b.data, 400, "UNSUPPORTED");
}
END_TEST

START_TEST(a_digest_that_is_known_is_304)
{
    static const char *const known[] = {"\"" MEMORY "\"", "W/\"" MEMORY "\"", "\"x\", \"" MEMORY "\"", "*"};
    struct response r;
    int fd = client_connect(port);
    for (size_t i = 0; i < 4; i++) {
        char headers[512];
        (void)snprintf(headers, sizeof(headers), "If-None-Match: %s\r\nRange: bytes=0-1\r\n", known[i]);
        client_ask(fd, "GET", MANIFEST(MEMORY), headers);
        client_read(fd, false, SIZE_MAX, &r);
        ck_assert_int_eq(r.status, 304);
        check_header(&r, "ETag", "\"" MEMORY "\"");
        check_header(&r, "Content-Length", "2000"); /* as of the 200, or not at all */
        response_finish(&r);
    }
    (void)close(fd);
    get(MANIFEST(MEMORY), "If-None-Match: \"x\"\r\n", &r);
    ck_assert_int_eq(r.status, 200);
    response_finish(&r);
}
END_TEST

START_TEST(who_accepts_zstd_gets_the_whole_as_it_is_stored)
{
    struct response r;
    get(BLOB(PACKED), "Accept-Encoding: gzip, zstd;q=0.5\r\n", &r);
    ck_assert_int_eq(r.status, 200);
    check_bytes(&r, 0, PACKED_SIZE - 1);
    check_header(&r, "Content-Encoding", "zstd");
    check_header(&r, "ETag", "\"" PACKED "-zstd\"");
    check_header(&r, "Docker-Content-Digest", PACKED);
    check_header(&r, "Vary", "Accept-Encoding");
    check_header(&r, "Transfer-Encoding", "chunked");
    check_header(&r, "Content-Length", "");
    response_finish(&r);

    get(BLOB(PACKED), "Accept-Encoding: zstd\r\nIf-None-Match: \"x\", \"" PACKED "-zstd\"\r\n", &r);
    ck_assert_int_eq(r.status, 304);
    check_header(&r, "ETag", "\"" PACKED "-zstd\"");
    response_finish(&r);
}
END_TEST

START_TEST(parts_heads_and_others_are_about_the_content)
{
    static const char *const others[] = {"", "Accept-Encoding: gzip\r\n", "Accept-Encoding: zstd;q=0\r\n"};
    struct response r;
    for (size_t i = 0; i < 3; i++) {
        get(BLOB(PACKED), others[i], &r);
        check_bytes(&r, 0, FILE_SIZE - 1);
        check_header(&r, "ETag", "\"" PACKED "\"");
        check_header(&r, "Vary", "Accept-Encoding");
        check_header(&r, "Content-Encoding", "");
        response_finish(&r);
    }
    get(BLOB(PACKED), "Accept-Encoding: zstd\r\nRange: bytes=0-9\r\n", &r);
    ck_assert_int_eq(r.status, 206);
    check_bytes(&r, 0, 9);
    response_finish(&r);
    int fd = client_connect(port);
    client_ask(fd, "HEAD", BLOB(PACKED), "Accept-Encoding: zstd\r\n");
    client_read(fd, true, SIZE_MAX, &r);
    check_header(&r, "Content-Length", "3145728");
    check_header(&r, "ETag", "\"" PACKED "\"");
    response_finish(&r);
    (void)close(fd);
    get(BLOB(FILE_), "Accept-Encoding: zstd\r\n", &r); /* not stored like that */
    check_bytes(&r, 0, FILE_SIZE - 1);
    check_header(&r, "Vary", "");
    response_finish(&r);
}
END_TEST

START_TEST(if_range_decides_between_part_and_whole)
{
    struct response r;
    get(BLOB(FILE_), "Range: bytes=0-9\r\nIf-Range: \"" FILE_ "\"\r\n", &r);
    ck_assert_int_eq(r.status, 206);
    check_bytes(&r, 0, 9);
    response_finish(&r);
    get(BLOB(FILE_), "Range: bytes=0-9\r\nIf-Range: \"x\"\r\n", &r);
    ck_assert_int_eq(r.status, 200);
    check_bytes(&r, 0, FILE_SIZE - 1);
    response_finish(&r);
}
END_TEST

/* ------------------------------------------------------------------ waiting */

START_TEST(a_request_waits_for_its_answer_without_a_thread)
{
    int fds[20]; /* more than there are threads */
    struct response r;
    fake_hold(mirror, memory);
    for (size_t i = 0; i < 20; i++) {
        fds[i] = client_connect(port);
        client_ask(fds[i], "GET", MANIFEST(MEMORY), "");
    }
    fake_await_waiting(mirror, 20);
    get(BLOB(SMALL_FILE), "", &r);
    ck_assert_int_eq(r.status, 200);
    response_finish(&r);
    fake_tick(mirror); /* woken for nothing, they wait again */
    fake_await_waiting(mirror, 20);
    fake_release(mirror, memory);
    for (size_t i = 0; i < 20; i++) {
        client_read(fds[i], false, SIZE_MAX, &r);
        ck_assert_int_eq(r.status, 200);
        check_bytes(&r, 0, MEMORY_SIZE - 1);
        response_finish(&r);
        (void)close(fds[i]);
    }
}
END_TEST

START_TEST(a_flight_is_read_as_it_grows)
{
    struct response r;
    int fd = client_connect(port);
    client_ask(fd, "GET", BLOB(FLIGHT), "");
    fake_await_waiting(mirror, 1);
    client_read(fd, false, 0, &r); /* status and length are there before the first byte */
    ck_assert_int_eq(r.status, 200);
    check_header(&r, "Content-Length", "5242880");
    response_finish(&r);
    for (size_t at = 0; at < FLIGHT_SIZE;) {
        size_t next = at + 700 * KIB + 13 < FLIGHT_SIZE ? at + 700 * KIB + 13 : FLIGHT_SIZE;
        fake_advance(mirror, flight, next);
        while (at < next) {
            char piece[65536];
            ssize_t n = recv(fd, piece, sizeof(piece), 0);
            ck_assert_int_gt(n, 0);
            ck_assert_uint_le((size_t)n, next - at);
            check_content(piece, at, (size_t)n);
            at += (size_t)n;
        }
        if (at < FLIGHT_SIZE)
            fake_await_waiting(mirror, 1);
    }
    (void)close(fd);
}
END_TEST

START_TEST(a_flight_that_fails_ends_short_by_a_fin)
{
    struct response r;
    int fd = client_connect(port);
    client_ask(fd, "GET", BLOB(FLIGHT), "");
    fake_await_waiting(mirror, 1);
    fake_advance(mirror, flight, MIB);
    fake_await_waiting(mirror, 1);
    fake_fail(mirror, flight);
    client_read(fd, false, SIZE_MAX, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert_int_eq(r.end, END_FIN);
    ck_assert_uint_eq(r.body.len, MIB);
    response_finish(&r);
    (void)close(fd);
}
END_TEST

START_TEST(a_flight_that_fails_ends_by_a_fin_even_if_the_client_has_sent_more)
{
    AUTO_BUF struct buf more = BUF_INIT(MIB);
    struct response r;
    int fd = client_connect(port);
    client_ask(fd, "GET", BLOB(FLIGHT), "");
    fake_await_waiting(mirror, 1);
    fake_advance(mirror, flight, 2 * MIB);
    fake_await_waiting(mirror, 1);
    for (unsigned i = 0; i < 1000; i++)
        ck_assert_int_eq(buf_adds(&more, "GET " MANIFEST(MEMORY) " HTTP/1.1\r\nHost: test\r\n\r\n"), 0);
    more.data[50000] = '\0'; /* more than is read ahead, and what the kernel takes at once */
    client_send(fd, more.data);
    fake_fail(mirror, flight);
    client_read(fd, false, SIZE_MAX, &r);
    ck_assert_int_eq(r.end, END_FIN);
    ck_assert_uint_eq(r.body.len, 2 * MIB);
    response_finish(&r);
    (void)close(fd);
}
END_TEST

START_TEST(a_client_that_leaves_while_it_waits_for_an_answer_is_noticed)
{
    fake_hold(mirror, memory);
    int fd = client_connect(port), other = client_connect(port);
    client_ask(fd, "GET", MANIFEST(MEMORY), "");
    client_ask(other, "GET", MANIFEST(MEMORY), "");
    fake_await_waiting(mirror, 2);
    (void)close(fd);
    client_reset(other);
    while (fake_tick(mirror), fake_open(mirror) > 0)
        ;
}
END_TEST

START_TEST(a_client_that_leaves_while_it_waits_for_bytes_is_noticed)
{
    struct response r;
    int fds[2];
    for (size_t i = 0; i < 2; i++) {
        fds[i] = client_connect(port);
        client_ask(fds[i], "GET", BLOB(FLIGHT), "");
        client_read(fds[i], false, 0, &r);
        response_finish(&r);
    }
    fake_await_waiting(mirror, 2);
    (void)close(fds[0]);
    client_reset(fds[1]);
    while (fake_tick(mirror), fake_open(mirror) > 0)
        ;
}
END_TEST

START_TEST(a_client_that_leaves_while_bytes_flow_harms_nobody)
{
    struct response r;
    fake_advance(mirror, flight, FLIGHT_SIZE);
    for (unsigned i = 0; i < 20; i++) {
        int fd = client_connect(port);
        client_ask(fd, "GET", i % 2 ? BLOB(FLIGHT) : BLOB(FILE_), "");
        client_read(fd, false, 100 * KIB * (i / 4), &r);
        response_finish(&r);
        if (i % 3)
            (void)close(fd);
        else
            client_reset(fd);
    }
    get(BLOB(FLIGHT), "", &r);
    check_bytes(&r, 0, FLIGHT_SIZE - 1);
    response_finish(&r);
    fake_await_open(mirror, 0);
}
END_TEST

/* ------------------------------------------------------------------ connections */

START_TEST(a_connection_is_kept_for_the_next_request)
{
    static const char *const targets[] = {MANIFEST(MEMORY), BLOB(FILE_), "/v2/", BLOB(FLIGHT), "/none", BLOB(EMPTY)};
    struct response r;
    int fd = client_connect(port);
    fake_advance(mirror, flight, FLIGHT_SIZE);
    for (unsigned i = 0; i < 30; i++) {
        client_ask(fd, "GET", targets[i % 6], "");
        client_read(fd, false, SIZE_MAX, &r);
        ck_assert_int_eq(r.status, i % 6 == 4 ? 404 : 200);
        ck_assert_int_eq(r.end, END_COMPLETE);
        response_finish(&r);
    }
    (void)close(fd);
}
END_TEST

START_TEST(requests_may_be_sent_before_the_answers_are_read)
{
    struct response r;
    int fd = client_connect(port);
    for (unsigned i = 0; i < 10; i++)
        client_ask(fd, "GET", i % 2 ? MANIFEST(MEMORY) : BLOB(SMALL_FILE), "");
    for (unsigned i = 0; i < 10; i++) {
        client_read(fd, false, SIZE_MAX, &r);
        check_bytes(&r, 0, i % 2 ? MEMORY_SIZE - 1 : 99);
        response_finish(&r);
    }
    (void)close(fd);
}
END_TEST

START_TEST(an_old_client_is_served_and_its_connection_closed)
{
    struct response r;
    size_t rest = 0;
    int fd = client_connect(port);
    client_send(fd, "GET " MANIFEST(MEMORY) " HTTP/1.0\r\n\r\n");
    client_read(fd, false, SIZE_MAX, &r);
    check_bytes(&r, 0, MEMORY_SIZE - 1);
    response_finish(&r);
    ck_assert_int_eq(client_end(fd, &rest), END_FIN);
    (void)close(fd);
}
END_TEST

START_TEST(connections_beyond_the_limit_wait_for_their_turn)
{
    enum { LIMIT = 200, MORE = 30 };
    int fds[LIMIT + MORE];
    struct response r;
    fake_hold(mirror, memory);
    for (int i = 0; i < LIMIT + MORE; i++) {
        fds[i] = client_connect(port);
        client_ask(fds[i], "GET", MANIFEST(MEMORY), "");
    }
    fake_await_waiting(mirror, LIMIT);
    fake_release(mirror, memory);
    ck_assert_uint_eq(fake_opened(mirror), LIMIT);
    for (int i = 0; i < LIMIT + MORE; i++) { /* as each is closed, one that waited is let in */
        client_read(fds[i], false, SIZE_MAX, &r);
        check_bytes(&r, 0, MEMORY_SIZE - 1);
        response_finish(&r);
        (void)close(fds[i]);
    }
    ck_assert_uint_eq(fake_opened(mirror), LIMIT + MORE);
}
END_TEST

/* libmicrohttpd takes 128 events at a time from epoll, and when it gets just as many it waits for more of them before
 * it looks at these. */
START_TEST(a_crowd_of_any_size_that_asks_at_once_is_answered_at_once)
{
    enum { CROWD = 140 };
    int fds[CROWD];
    struct response r;
    stop();
    config.server.threads = 1;
    start();
    for (int i = 0; i < CROWD; i++)
        fds[i] = client_connect(port);
    for (int size = 124; size <= CROWD; size++) {
        fake_freeze(mirror);
        unsigned asked = fake_asked(mirror);
        for (int i = 0; i < size; i++) {
            client_ask(fds[i], "GET", MANIFEST(MEMORY), "");
            while (fake_asked(mirror) == asked) /* the first one keeps the thread busy */
                (void)poll(NULL, 0, 1);
        }
        fake_thaw(mirror);
        for (int i = 0; i < size; i++) {
            client_read(fds[i], false, SIZE_MAX, &r);
            ck_assert_int_eq(r.status, 200);
            response_finish(&r);
        }
    }
    for (int i = 0; i < CROWD; i++)
        (void)close(fds[i]);
}
END_TEST

START_TEST(an_address_that_is_taken_or_none_is_told)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    char taken[64];
    char *items[] = {taken, NULL};
    struct config other = config;
    struct server *s = NULL;
    other.server.listen = (struct config_list){.items = items, .count = 1};
    (void)snprintf(taken, sizeof(taken), "127.0.0.1:%u", port);
    ck_assert_int_lt(server_start(&other, mirror, NULL, &s, &error), 0);
    ck_assert_ptr_nonnull(strstr(error.data, taken));
    ck_assert_ptr_nonnull(strstr(error.data, "in use"));
    static const char *const none[] = {"127.0.0.1", "[::1:0", "127.0.0.1:port", ""};
    for (size_t i = 0; i < 4; i++) {
        buf_reset(&error);
        (void)snprintf(taken, sizeof(taken), "%s", none[i]);
        ck_assert_int_lt(server_start(&other, mirror, NULL, &s, &error), 0);
        ck_assert_ptr_nonnull(strstr(error.data, "cannot listen on"));
    }
    ck_assert_ptr_null(s);
}
END_TEST

/* ------------------------------------------------------------------ the log */

START_TEST(each_request_is_one_line_in_the_log)
{
    struct response r;
    int log = memfd_create("log", MFD_CLOEXEC), before = dup(STDERR_FILENO);
    ck_assert_int_ge(log, 0);
    ck_assert_int_eq(dup2(log, STDERR_FILENO), STDERR_FILENO);
    log_configure(LOG_INFO, LOG_TEXT);
    get(BLOB(FILE_) "?ns=docker.io", "Range: bytes=0-9\r\nUser-Agent: containerd/2.4\r\n", &r);
    response_finish(&r);
    get("/v2/A/manifests/1", "", &r);
    response_finish(&r);
    stop();
    log_configure(LOG_ERROR, LOG_TEXT);
    (void)dup2(before, STDERR_FILENO);
    (void)close(before);

    char text[16384];
    ssize_t n = pread(log, text, sizeof(text) - 1, 0);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    (void)close(log);
    const char *line = strstr(text, "event=request");
    ck_assert_ptr_nonnull(line);
    static const char *const wanted[] = {" client=127.0.0.1",
                                         " method=GET",
                                         " object=blob",
                                         " registry=registry.example",
                                         " repository=the/repository",
                                         " reference=" FILE_,
                                         " ns=docker.io",
                                         " range=\"bytes=0-9\"",
                                         " status=206",
                                         " outcome=joined",
                                         " bytes=10",
                                         " ms=",
                                         " upstream_requests=3",
                                         " end=complete",
                                         " agent=containerd/2.4"};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        ck_assert_msg(strstr(line, wanted[i]) && strstr(line, wanted[i]) < strchr(line, '\n'), "%s in %s", wanted[i],
                      line);
    line = strstr(line + 1, "event=request");
    ck_assert_ptr_nonnull(line);
    ck_assert_ptr_nonnull(strstr(line, " path=/v2/A/manifests/1 status=400 "));
    ck_assert_ptr_null(strstr(line + 1, "event=request"));
    ck_assert_ptr_nonnull(strstr(text, "event=drained"));
}
END_TEST

START_TEST(each_request_is_counted_by_what_it_was_and_how_it_ended)
{
    struct response r;
    (void)fake_add_error(mirror, "gone", 429, "TOOMANYREQUESTS");
    get(BLOB(FILE_), "", &r);
    response_finish(&r);
    get(BLOB(FILE_), "Range: bytes=0-9\r\n", &r);
    response_finish(&r);
    client_head(port, BLOB(FILE_), "", &r);
    response_finish(&r);
    get(MANIFEST("gone"), "", &r);
    response_finish(&r);
    get("/v2/", "", &r);
    response_finish(&r);
    get("/v2/A/manifests/1", "", &r);
    response_finish(&r);
    fake_advance(mirror, flight, FLIGHT_SIZE);
    get(BLOB(FLIGHT), "", &r);
    response_finish(&r);
    ck_assert_int_ge(metrics_value(METRIC_CONNECTIONS, NO_LABELS), 0);
    stop();
    ck_assert_int_eq(metrics_value(METRIC_REQUESTS, LABELS("blob", "joined", "2xx")), 4);
    ck_assert_int_eq(metrics_value(METRIC_REQUESTS, LABELS("ping", "none", "2xx")), 1);
    ck_assert_int_eq(metrics_value(METRIC_REQUESTS, LABELS("manifest", "none", "4xx")), 1);
    ck_assert_int_eq(metrics_value(METRIC_REQUESTS, LABELS("manifest", "joined", "4xx")), 1);
    ck_assert_int_eq(metrics_value(METRIC_REQUEST_DURATION, LABELS("blob", "joined")), 4);
    ck_assert_int_eq(metrics_value(METRIC_REQUEST_FIRST_BYTE, LABELS("blob", "joined")), 4);
    ck_assert_int_eq(metrics_value(METRIC_RESPONSE_BYTES, LABELS("blob", "joined")), FILE_SIZE + 10 + FLIGHT_SIZE);
    ck_assert_int_eq(metrics_value(METRIC_CONNECTIONS, NO_LABELS), 0);
    ck_assert_int_eq(metrics_value(METRIC_CONNECTIONS_LIMIT, NO_LABELS), config.server.max_connections);
}
END_TEST

/* ------------------------------------------------------------------ the end */

static void *stop_in_thread(void *arg)
{
    stop();
    return arg;
}

/* Waits until nobody can connect any more: the drain has begun. */
static void await_drain(void)
{
    const struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (bool refused = false; !refused;) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        refused = connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0;
        (void)close(fd);
    }
}

START_TEST(a_stop_lets_running_requests_end)
{
    pthread_t stopper;
    struct response r;
    int stream = client_connect(port), question = client_connect(port), idle = client_connect(port);
    client_ask(idle, "GET", MANIFEST(MEMORY), "");
    client_read(idle, false, SIZE_MAX, &r);
    check_header(&r, "Connection", "");
    response_finish(&r);
    fake_hold(mirror, memory);
    client_ask(stream, "GET", BLOB(FLIGHT), "");
    client_ask(question, "GET", MANIFEST(MEMORY), "");
    fake_await_waiting(mirror, 2);
    ck_assert_int_eq(pthread_create(&stopper, NULL, stop_in_thread, NULL), 0);
    await_drain();

    /* A connection that was open already is answered once more, and closed. */
    client_ask(idle, "GET", BLOB(SMALL_FILE), "");
    client_read(idle, false, SIZE_MAX, &r);
    check_bytes(&r, 0, 99);
    check_header(&r, "Connection", "close");
    response_finish(&r);

    fake_release(mirror, memory);
    client_read(question, false, SIZE_MAX, &r);
    ck_assert_int_eq(r.status, 200);
    check_header(&r, "Connection", "close");
    response_finish(&r);
    ck_assert(!fake_was_cut(mirror));
    fake_advance(mirror, flight, FLIGHT_SIZE);
    client_read(stream, false, SIZE_MAX, &r);
    check_bytes(&r, 0, FLIGHT_SIZE - 1);
    response_finish(&r);
    (void)pthread_join(stopper, NULL);
    ck_assert_uint_eq(fake_open(mirror), 0);
    (void)close(stream);
    (void)close(question);
    (void)close(idle);
}
END_TEST

START_TEST(a_stop_that_takes_too_long_cuts_what_is_left)
{
    struct response r;
    config.server.drain_timeout_ms = 1;
    int stream = client_connect(port), question = client_connect(port);
    fake_hold(mirror, memory);
    fake_advance(mirror, flight, MIB);
    client_ask(stream, "GET", BLOB(FLIGHT), "");
    client_ask(question, "GET", MANIFEST(MEMORY), "");
    fake_await_waiting(mirror, 2);
    stop();
    ck_assert(fake_was_cut(mirror));
    ck_assert_uint_eq(fake_open(mirror), 0);
    client_read(stream, false, SIZE_MAX, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert_int_eq(r.end, END_FIN);
    ck_assert_uint_eq(r.body.len, MIB);
    response_finish(&r);
    client_read(question, false, SIZE_MAX, &r);
    check_error(&r, 503, "UNAVAILABLE");
    response_finish(&r);
    (void)close(stream);
    (void)close(question);
}
END_TEST

START_TEST(a_stop_cuts_a_file_that_nobody_reads_by_a_fin)
{
    struct response r;
    struct fake_object *large = fake_add(mirror, DIGEST("5678"), MIRROR_FILE, 64 * MIB);
    config.server.drain_timeout_ms = 1;
    int fd = client_connect(port);
    client_ask(fd, "GET", BLOB(DIGEST("5678")), "");
    client_read(fd, false, KIB, &r);
    ck_assert_int_eq(r.status, 200);
    response_finish(&r);
    stop();
    size_t rest = 0;
    ck_assert_int_eq(client_end(fd, &rest), END_FIN);
    ck_assert_uint_lt(rest, large->answer.size - KIB);
    (void)close(fd);
}
END_TEST

#define LOOP(t, list) tcase_add_loop_test(c, t, 0, (int)(sizeof(list) / sizeof((list)[0])))

static TCase *add_case(Suite *s, const char *name)
{
    TCase *c = tcase_create(name);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    suite_add_tcase(s, c);
    return c;
}

int main(void)
{
    Suite *s = suite_create("server");
    TCase *c = add_case(s, "answers");
    tcase_add_test(c, the_ping_is_answered_without_the_mirror);
    tcase_add_test(c, a_manifest_comes_from_memory_with_its_headers);
    LOOP(a_blob_comes_whole_from_memory_or_file, stored);
    tcase_add_test(c, an_empty_body_is_an_answer);
    LOOP(a_head_has_the_headers_of_the_get_and_no_body, heads);
    tcase_add_test(c, tags_and_referrers_have_links_and_filters);
    tcase_add_test(c, a_stale_answer_says_so);

    c = add_case(s, "errors");
    tcase_add_test(c, an_error_of_the_mirror_has_a_body_of_the_specification);
    LOOP(a_sibling_asks_for_what_is_here_and_is_told_504_otherwise, cached_only);
    tcase_add_test(c, what_is_no_name_is_refused_without_the_mirror);
    LOOP(pushing_is_405_and_the_connection_goes_on, methods);
    LOOP(an_upload_is_refused_before_it_is_sent, uploads);
    tcase_add_test(c, an_upload_that_comes_at_once_is_refused_without_a_reset);
    tcase_add_test(c, the_body_of_a_get_is_thrown_away);
    tcase_add_test(c, what_is_no_request_is_refused_and_others_are_served);
    tcase_add_loop_test(c, a_request_without_a_certain_end_is_refused_and_nothing_behind_it_is_one, 0,
                        ARRAY_SIZE(unclear));
    tcase_add_test(c, the_head_of_a_request_may_have_32_kib_but_not_everything);

    c = add_case(s, "parts");
    LOOP(a_range_is_206_of_every_kind_of_body, parts);
    tcase_add_test(c, a_range_outside_is_416);
    tcase_add_test(c, many_ranges_are_multipart_of_every_kind_of_body);
    tcase_add_test(c, a_multipart_of_a_flight_waits_for_each_part);
    tcase_add_test(c, more_ranges_than_allowed_are_400);
    tcase_add_test(c, a_digest_that_is_known_is_304);
    tcase_add_test(c, if_range_decides_between_part_and_whole);
    tcase_add_test(c, who_accepts_zstd_gets_the_whole_as_it_is_stored);
    tcase_add_test(c, parts_heads_and_others_are_about_the_content);

    c = add_case(s, "waiting");
    tcase_add_test(c, a_request_waits_for_its_answer_without_a_thread);
    tcase_add_test(c, a_flight_is_read_as_it_grows);
    tcase_add_test(c, a_flight_that_fails_ends_short_by_a_fin);
    tcase_add_test(c, a_flight_that_fails_ends_by_a_fin_even_if_the_client_has_sent_more);
    tcase_add_test(c, a_client_that_leaves_while_it_waits_for_an_answer_is_noticed);
    tcase_add_test(c, a_client_that_leaves_while_it_waits_for_bytes_is_noticed);
    tcase_add_test(c, a_client_that_leaves_while_bytes_flow_harms_nobody);

    c = add_case(s, "connections");
    tcase_add_test(c, a_connection_is_kept_for_the_next_request);
    tcase_add_test(c, requests_may_be_sent_before_the_answers_are_read);
    tcase_add_test(c, an_old_client_is_served_and_its_connection_closed);
    tcase_add_test(c, connections_beyond_the_limit_wait_for_their_turn);
    tcase_add_test(c, a_crowd_of_any_size_that_asks_at_once_is_answered_at_once);
    tcase_add_test(c, an_address_that_is_taken_or_none_is_told);
    tcase_add_test(c, each_request_is_one_line_in_the_log);
    tcase_add_test(c, each_request_is_counted_by_what_it_was_and_how_it_ended);

    c = add_case(s, "the end");
    tcase_add_test(c, a_stop_lets_running_requests_end);
    tcase_add_test(c, a_stop_that_takes_too_long_cuts_what_is_left);
    tcase_add_test(c, a_stop_cuts_a_file_that_nobody_reads_by_a_fin);

    return suite_run(s);
}
