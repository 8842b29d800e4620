/*
 * Memory that runs out, at each allocation in turn. An image is pulled over and over; the first time its first
 * allocation fails, the next time its second, and so on until a pull gets through. Whatever failed: every request comes
 * to an orderly end, no byte of what is complete is wrong, nothing leaks or hangs, and when there is memory again the
 * next pull is right.
 */
#include "starve.h"
#include "world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REPOSITORY "acme/thing"
#define TAGS "{\"name\":\"acme/thing\",\"tags\":[\"1\",\"2\"]}"
#define REFERRERS "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_INDEX "\",\"manifests\":[]}"

#define CONFIG_SIZE 300
#define LAYER_SIZE 600000 /* gathered and written more than once */

/* Config, layer, and what names them. */
static struct content {
    char *bytes;
    size_t len;
    char name[DIGEST_TEXT_MAX];
} config, layer, manifest;

/* What a pull asks for, in this order. */
enum ask { ASK_HEAD, ASK_TAG, ASK_DIGEST, ASK_CONFIG, ASK_LAYER, ASK_TAGS, ASK_REFERRERS, ASKS };

static void make(struct content *c, unsigned number, size_t len)
{
    struct digest digest;
    c->bytes = scratch_bytes(number, len, &digest);
    c->len = len;
    (void)digest_format(&digest, c->name);
}

static void setup(void)
{
    struct digest digest;
    client_enters = starve_enter;
    world_setup();
    make(&config, 1, CONFIG_SIZE);
    make(&layer, 2, LAYER_SIZE);
    manifest.bytes = malloc(2048);
    ck_assert_ptr_nonnull(manifest.bytes);
    manifest.len = (size_t)snprintf(manifest.bytes, 2048,
                                    "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST
                                    "\",\"config\":{\"digest\":\"%s\",\"size\":%d},"
                                    "\"layers\":[{\"digest\":\"%s\",\"size\":%d}]}",
                                    config.name, CONFIG_SIZE, layer.name, LAYER_SIZE);
    ck_ok(digest_of(DIGEST_SHA256, manifest.bytes, manifest.len, &digest));
    (void)digest_format(&digest, manifest.name);
}

static void cleanup(void)
{
    world_cleanup();
    free(config.bytes);
    free(layer.bytes);
    free(manifest.bytes);
}

/* ------------------------------------------------------------------ the upstream */

static void give(struct fake_job *j, const char *type, const char *bytes, size_t len, const char *digest)
{
    size_t from = j->job.offset < len ? j->job.offset : len;
    struct upstream_head head = fake_header(j->job.offset ? 206 : 200, (int64_t)(len - from));
    head.total = (int64_t)len;
    head.range_start = j->job.offset ? (int64_t)from : -1;
    head.content_type = type;
    head.digest = digest;
    int r = fake_play_head(j, &head);
    for (size_t n; r == 0 && !j->job.head && from < len; from += n) {
        n = len - from < 16384 ? len - from : 16384;
        r = fake_play_body(j, bytes + from, n);
        if (r == 0 && j->job.callbacks->on_tick)
            j->job.callbacks->on_tick(j->job.arg);
    }
    fake_play_done(j, 0, 200);
}

static void play(struct fake_job *j, void *arg)
{
    (void)arg;
    switch (j->job.object) {
    case UPSTREAM_TAGS:
        give(j, "application/json", TAGS, strlen(TAGS), "");
        break;
    case UPSTREAM_REFERRERS:
        give(j, MEDIA_TYPE_OCI_INDEX, REFERRERS, strlen(REFERRERS), "");
        break;
    case UPSTREAM_MANIFEST:
        if (j->job.look)
            fake_play_done(j, -EACCES, 401); /* nothing here is for everybody */
        else
            give(j, MEDIA_TYPE_OCI_MANIFEST, manifest.bytes, manifest.len, manifest.name);
        break;
    case UPSTREAM_BLOB: {
        const struct content *c = strcmp(j->job.reference, config.name) == 0 ? &config : &layer;
        give(j, "application/octet-stream", c->bytes, c->len, c->name);
        break;
    }
    }
}

/* ------------------------------------------------------------------ one pull */

static struct mirror_request request_of(enum ask ask, const struct content **ret_content)
{
    struct mirror_request r = {.object = MIRROR_MANIFEST, .name = REPOSITORY, .page_size = -1};
    *ret_content = NULL;
    switch (ask) {
    case ASK_HEAD:
        r.head = true;
        r.reference = "latest";
        break;
    case ASK_TAG:
        r.reference = "latest";
        *ret_content = &manifest;
        break;
    case ASK_DIGEST:
        r.reference = manifest.name;
        *ret_content = &manifest;
        break;
    case ASK_CONFIG:
        r.object = MIRROR_BLOB;
        r.reference = config.name;
        *ret_content = &config;
        break;
    case ASK_LAYER:
        r.object = MIRROR_BLOB;
        r.reference = layer.name;
        *ret_content = &layer;
        break;
    case ASK_TAGS:
        r.object = MIRROR_TAGS;
        break;
    default:
        r.object = MIRROR_REFERRERS;
        r.reference = manifest.name;
    }
    return r;
}

/* Reads all there is; whether it came to the end. What did not may have any bytes; what did has the right ones. */
static bool read_all(struct client *c, const struct content *want)
{
    static char got[LAYER_SIZE];
    size_t n = client_read_to(c, 0, got, want->len);
    ck_assert(n <= want->len);
    if (n == want->len)
        ck_assert_mem_eq(got, want->bytes, n);
    return n == want->len;
}

/* Whether it was answered, and to its end. */
static bool ask_for(enum ask ask)
{
    struct client c;
    const struct content *want;
    struct mirror_request request = request_of(ask, &want);
    if (!client_try_open(&c, &request))
        return false;
    const struct mirror_answer *a = client_answer(&c);
    bool is_complete = a->status == 200;
    if (!is_complete) {
        ck_assert_msg(a->status >= 400 && a->error_code && *a->error_message, "%d: %s", a->status, a->error_message);
    } else if (want) {
        ck_assert_uint_eq(a->size, want->len);
        is_complete = read_all(&c, want);
    }
    client_close(&c);
    return is_complete;
}

/* Returns how many were complete. */
static unsigned pull_what_can_be_had(void)
{
    unsigned complete = 0;
    for (enum ask ask = 0; ask < ASKS; ask++)
        complete += ask_for(ask);
    return complete;
}

/* What failed for want of memory is no reason to wait now. */
static void pull_everything(void)
{
    ck_ok(mirror_reload(world.mirror, &world.config));
    for (enum ask ask = 0; ask < ASKS; ask++)
        ck_assert_msg(ask_for(ask), "request %d fails though there is memory again", (int)ask);
}

/* ------------------------------------------------------------------ the tests */

enum state { COLD, WARM, PAST_ITS_TTL, STATES };

/* Which state of the store, and how long there is no memory. */
static void run(enum state state, enum starve_extent extent)
{
    unsigned n = 0;
    for (bool fired = true; fired; n++) {
        ck_assert_uint_lt(n, 3000);
        fake_serve(world.upstream, play, NULL);
        if (state != COLD)
            pull_everything();
        if (state == PAST_ITS_TTL)
            world_advance(world.config.tags.ttl_ms + 1);
        starve_arm(n, extent);
        unsigned complete = pull_what_can_be_had();
        fake_await_idle(world.upstream);
        world_settle();
        fired = starve_disarm();
        if (!fired)
            ck_assert_uint_eq(complete, ASKS);
        pull_everything();
        world_stop();
        if (state == COLD) {
            scratch_cleanup();
            scratch_setup();
        }
        world_start();
    }
    ck_assert_uint_gt(n, state == WARM ? 20 : 90); /* those that failed */
}

START_TEST(whichever_allocation_fails_the_pull_ends_orderly_and_the_next_is_right)
{
    run((enum state)(_i / STARVE_EXTENTS), (enum starve_extent)(_i % STARVE_EXTENTS));
}
END_TEST

START_TEST(private_content_stays_private_whichever_allocation_fails)
{
    unsigned n = 0;
    world_stop();
    world.has_accounts = true;
    world_start();
    for (bool fired = true; fired; n++) {
        ck_assert_uint_lt(n, 3000);
        fake_serve(world.upstream, play, NULL);
        starve_arm(n, STARVE_ONE);
        for (enum ask ask = 0; ask < ASKS; ask++)
            ck_assert_msg(!ask_for(ask), "request %d is answered with what is private", (int)ask);
        fake_await_idle(world.upstream);
        world_settle();
        fired = starve_disarm();
        world_stop();
        world_start();
    }
    ck_assert_uint_gt(n, 10);
}
END_TEST

/* Starting is many allocations and threads; whichever fails, it says so and leaves nothing behind. */
START_TEST(a_start_without_memory_fails_as_a_whole)
{
    unsigned n = 0;
    const struct mirror_options options = {.config = &world.config, .store = world.store, .upstream = world.upstream};
    mirror_cut(world.mirror);
    mirror_stop(world.mirror);
    for (int r = -1; r < 0; n++) {
        starve_arm(n, STARVE_ONE);
        starve_enter(true);
        r = mirror_start(&options, &world.mirror);
        bool fired = starve_disarm();
        if (r < 0)
            ck_assert_msg(fired && (r == -ENOMEM || r == -EAGAIN), "%d", r);
    }
    ck_assert_uint_gt(n, 10);
    fake_serve(world.upstream, play, NULL);
    pull_everything();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *tests = tcase_create("memory");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 200);
    tcase_add_loop_test(tests, whichever_allocation_fails_the_pull_ends_orderly_and_the_next_is_right, 0,
                        STATES * STARVE_EXTENTS);
    tcase_add_test(tests, private_content_stays_private_whichever_allocation_fails);
    tcase_add_test(tests, a_start_without_memory_fails_as_a_whole);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
