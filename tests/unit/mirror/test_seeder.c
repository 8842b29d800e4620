/* Seeds: what they fetch and what they leave, how they wait for a limit, what outlives a restart, what they pin. */
#include "world.h"

#include "base/clock.h"
#include "mirror/pins.h"
#include "mirror/seeder.h"
#include "mirror/seeding.h"
#include "mirror/stock.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

/* --- a registry ---------------------------------------------------------------------------------------------- */

#define THINGS_MAX 128

struct thing {
    const char *type;                /* NULL: a blob */
    char name[DIGEST_TEXT_MAX + 64]; /* a digest, or "repository:tag" */
    char digest[DIGEST_TEXT_MAX];
    char *bytes;
    size_t len;
};

static struct {
    struct thing things[THINGS_MAX];
    size_t count;
    atomic_int pulls_left; /* for seeding; -1: no limit */
    atomic_uint gets, heads, live_gets, blob_gets, lists;
    atomic_int broken; /* answers of 500 to come */
    atomic_bool holds; /* blobs get no answer */
    char list[2048];
} hub;

static struct thing *find(const char *name)
{
    for (size_t i = 0; i < hub.count; i++)
        if (strcmp(hub.things[i].name, name) == 0)
            return &hub.things[i];
    return NULL;
}

static struct thing *add(const char *type, const char *name, const char *bytes, size_t len)
{
    struct digest digest;
    struct thing *t = &hub.things[hub.count++];
    ck_assert_uint_le(hub.count, THINGS_MAX);
    ck_ok(digest_of(DIGEST_SHA256, bytes, len, &digest));
    *t = (struct thing){.type = type, .bytes = malloc(len + 1), .len = len};
    memcpy(t->bytes, bytes, len);
    (void)digest_format(&digest, t->digest);
    (void)snprintf(t->name, sizeof(t->name), "%s", name ? name : t->digest);
    return t;
}

/* An image of one layer; its manifest, by digest. */
static struct thing *add_image(unsigned n, size_t layer_len)
{
    struct digest digest;
    char text[1024], config[64];
    AUTO_FREE char *layer = scratch_bytes(n, layer_len, &digest);
    const struct thing *l = add(NULL, NULL, layer, layer_len);
    (void)snprintf(config, sizeof(config), "{\"os\":\"linux\",\"architecture\":\"amd64\",\"n\":%u}", n);
    const struct thing *c = add(NULL, NULL, config, strlen(config));
    int len = snprintf(text, sizeof(text),
                       "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST
                       "\",\"config\":{\"digest\":\"%s\",\"size\":%zu},\"layers\":[{\"digest\":\"%s\",\"size\":%zu}]}",
                       c->digest, c->len, l->digest, l->len);
    return add(MEDIA_TYPE_OCI_MANIFEST, NULL, text, (size_t)len);
}

static void add_tag(const char *name, const struct thing *t)
{
    (void)add(t->type, name, t->bytes, t->len);
}

/* An index of two platforms under a tag. */
static struct thing *add_index(const char *tag, const struct thing *amd64, const struct thing *arm64)
{
    char text[2048];
    int len =
        snprintf(text, sizeof(text),
                 "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_INDEX "\",\"manifests\":["
                 "{\"digest\":\"%s\",\"size\":%zu,\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}},"
                 "{\"digest\":\"%s\",\"size\":%zu,\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"}},"
                 "{\"digest\":\"sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\",\"size\":3,"
                 "\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}}]}",
                 amd64->digest, amd64->len, arm64->digest, arm64->len);
    struct thing *t = add(MEDIA_TYPE_OCI_INDEX, NULL, text, (size_t)len);
    if (tag)
        add_tag(tag, t);
    return t;
}

static void answer(struct fake_job *j, const struct thing *t)
{
    struct upstream_head head = fake_header(200, (int64_t)t->len);
    head.content_type = t->type ? t->type : "application/octet-stream";
    head.digest = t->digest;
    if (fake_play_head(j, &head) == 0 && !j->job.head)
        (void)fake_play_body(j, t->bytes, t->len);
    fake_play_done(j, 0, 200);
}

static void play_list(struct fake_job *j)
{
    struct upstream_head head = fake_header(200, (int64_t)strlen(hub.list));
    head.content_type = MEDIA_TYPE_JSON;
    hub.lists++;
    if (fake_play_head(j, &head) == 0)
        (void)fake_play_body(j, hub.list, strlen(hub.list));
    fake_play_done(j, 0, 200);
}

static void play(struct fake_job *j, void *arg)
{
    (void)arg;
    char name[DIGEST_TEXT_MAX + 64];
    bool is_manifest = j->job.object == UPSTREAM_MANIFEST;
    if (j->job.object == UPSTREAM_TAGS) {
        play_list(j);
        return;
    }
    if (!is_manifest && hub.holds)
        return;
    if (strchr(j->job.reference, ':'))
        (void)snprintf(name, sizeof(name), "%s", j->job.reference);
    else
        (void)snprintf(name, sizeof(name), "%s:%s", j->job.repository, j->job.reference);
    const struct thing *t = find(name);
    if (!is_manifest)
        hub.blob_gets++;
    else if (j->job.head)
        hub.heads++;
    else if (j->job.class != UPSTREAM_SEEDING)
        hub.live_gets++;
    if (hub.broken > 0) {
        hub.broken--;
        fake_play_done(j, -EREMOTEIO, 503);
    } else if (!t) {
        fake_play_done(j, -ENOENT, 404);
    } else if (is_manifest && !j->job.head && j->job.class == UPSTREAM_SEEDING && hub.pulls_left == 0) {
        fake_play_done(j, -EAGAIN, 0);
    } else {
        bool counts = is_manifest && !j->job.head && j->job.class == UPSTREAM_SEEDING;
        hub.gets += counts;
        if (counts && hub.pulls_left > 0)
            hub.pulls_left--;
        answer(j, t);
    }
}

/* --- the fixture --------------------------------------------------------------------------------------------- */

static void setup(void)
{
    world_setup();
    hub.pulls_left = -1;
    world.config.seeding.max_flights = 4;
    fake_serve(world.upstream, play, NULL);
}

static void cleanup(void)
{
    world_cleanup();
    for (size_t i = 0; i < hub.count; i++)
        free(hub.things[i].bytes);
    hub.count = 0;
}

static void restart(void)
{
    world_stop();
    world_start();
    fake_serve(world.upstream, play, NULL);
}

static uint64_t seed_order(const struct seed_order *order)
{
    struct seed_complaint why = {""};
    uint64_t id = 0;
    int r = seeding_add(world.mirror, order, &id, &why);
    ck_assert_msg(r == 0, "%d: %s", r, why.text);
    return id;
}

static uint64_t seed_images(size_t count, const char *const *images)
{
    struct seed_wish wishes[16] = {0};
    for (size_t i = 0; i < count; i++)
        wishes[i] = (struct seed_wish){.image = images[i], .origin = "list.txt:1"};
    const struct seed_order order = {.platforms = "linux/amd64", .wishes = wishes, .wish_count = count};
    return seed_order(&order);
}

static uint64_t seed_image(const char *image)
{
    return seed_images(1, &image);
}

/* What is seen of a seed; the texts are copies. */
struct seen {
    struct seed_status status;
    char waits_for[256], cause[SEED_CAUSE_MAX + 1], advice[256], current[512];
    size_t failures;
};

static int see(void *arg, const struct seed_status *status)
{
    struct seen *s = arg;
    *s = (struct seen){.status = *status};
    (void)snprintf(s->waits_for, sizeof(s->waits_for), "%s", status->waits_for);
    (void)snprintf(s->current, sizeof(s->current), "%s", status->current);
    for (size_t i = 0; i < status->images; i++) {
        if (status->list[i].state == SEED_FAILED || !*s->cause) {
            (void)snprintf(s->cause, sizeof(s->cause), "%s", status->list[i].cause);
            (void)snprintf(s->advice, sizeof(s->advice), "%s", status->list[i].advice);
        }
        s->failures += status->list[i].state == SEED_FAILED;
    }
    return 0;
}

static struct seen look(uint64_t id)
{
    struct seen s;
    ck_ok(seeding_look(world.mirror, id, 0, 0, see, &s));
    return s;
}

static struct seen await(uint64_t id, bool (*is_so)(const struct seen *s))
{
    struct timespec now;
    struct seen s = look(id);
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    for (time_t until = now.tv_sec + PATIENCE_MS / 1000; !is_so(&s); (void)clock_gettime(CLOCK_MONOTONIC, &now)) {
        ck_assert_msg(now.tv_sec < until, "seed %d: %zu done, %zu failed, %s", (int)id, s.status.done, s.status.failed,
                      s.waits_for);
        ck_ok(seeding_look(world.mirror, id, s.status.sequence, 1000, see, &s));
    }
    return s;
}

static bool has_ended(const struct seen *s)
{
    return s->status.ended_at != 0;
}

static bool waits(const struct seen *s)
{
    return s->waits_for[0] != '\0';
}

static bool is_at_it(const struct seen *s)
{
    return s->current[0] != '\0' && s->status.current_missing > 0;
}

static void await_done(uint64_t id)
{
    struct seen s = await(id, has_ended);
    ck_assert_msg(s.status.state == SEED_DONE, "%s: %s", seed_state_name(s.status.state), s.cause);
}

static bool is_stored(const struct thing *t)
{
    struct digest digest;
    struct blobstore_info info;
    ck_ok(digest_parse(t->digest, strlen(t->digest), &digest));
    return blobstore_stat(world.store, &digest, &info) == 0;
}

/* All that was added from `first` on, up to the things with a name of their own. */
static bool are_stored(size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++)
        if (!is_stored(&hub.things[i]))
            return false;
    return true;
}

/* --- what it fetches ----------------------------------------------------------------------------------------- */

START_TEST(a_seed_brings_what_its_platforms_need_and_nothing_else)
{
    struct thing *amd64 = add_image(1, 100000), *arm64 = add_image(2, 100000);
    struct thing *index = add_index("library/alpine:3", amd64, arm64);
    uint64_t id = seed_image("alpine:3");
    await_done(id);
    world_settle();
    ck_assert(are_stored(0, 3) && is_stored(index));
    ck_assert(!is_stored(&hub.things[3]) && !is_stored(&hub.things[4]) && !is_stored(arm64));
    ck_assert_uint_eq(hub.gets, 2);
    ck_assert_uint_eq(hub.blob_gets, 2);
    struct seen s = look(id);
    ck_assert_uint_eq(s.status.bytes, 100000 + hub.things[1].len);
    ck_assert_uint_eq(s.status.fetched, s.status.bytes);
}
END_TEST

START_TEST(several_platforms_and_all_of_them)
{
    struct thing *amd64 = add_image(1, 1000), *arm64 = add_image(2, 1000);
    (void)add_index("library/alpine:3", amd64, arm64);
    struct seed_wish wish = {.image = "alpine:3", .platforms = "all"};
    const struct seed_order order = {.wishes = &wish, .wish_count = 1};
    await_done(seed_order(&order));
    world_settle();
    ck_assert(are_stored(0, 7));
}
END_TEST

static void add_to_index(struct buf *text, const struct thing *t, const char *platform)
{
    ck_ok(buf_addf(text, "%s{\"digest\":\"%s\",\"size\":%zu%s}", text->len ? "," : "", t->digest, t->len, platform));
}

static struct thing *end_index(struct buf *children)
{
    AUTO_BUF struct buf text = BUF_INIT(16 * KIB);
    ck_ok(buf_addf(&text, "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_INDEX "\",\"manifests\":[%s]}",
                   children->data));
    return add(MEDIA_TYPE_OCI_INDEX, NULL, text.data, text.len);
}

#define AMD64 ",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}"
#define I386 ",\"platform\":{\"os\":\"linux\",\"architecture\":\"386\"}"
#define NOWHERE ",\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}"

/* Two for one platform, one for nearly that one, an attestation, an image that says nothing, and an index in it. */
static void add_tricky_index(void)
{
    AUTO_BUF struct buf inner = BUF_INIT(16 * KIB), outer = BUF_INIT(16 * KIB);
    add_to_index(&inner, add_image(1, 100), AMD64);
    add_to_index(&inner, add_image(2, 100), I386);
    const struct thing *nested = end_index(&inner);
    add_to_index(&outer, add_image(3, 100), I386);
    add_to_index(&outer, add_image(4, 100), AMD64);
    add_to_index(&outer, add_image(5, 100), AMD64);
    add_to_index(&outer, add_image(6, 100), NOWHERE);
    add_to_index(&outer, add_image(7, 100), "");
    add_to_index(&outer, nested, "");
    add_tag("library/alpine:3", end_index(&outer));
}

static bool is_listed(const struct stock *s, const struct thing *t)
{
    char text[DIGEST_TEXT_MAX];
    for (size_t i = 0; i < s->item_count; i++)
        if (strcmp(digest_format(&s->items[i].digest, text), t->digest) == 0)
            return true;
    return false;
}

START_TEST(what_a_seed_brings_is_what_an_audit_looks_for)
{
    static const struct {
        const char *platforms;
        size_t images;
    } rows[] = {{"linux/amd64", 3}, {"linux/386", 3}, {"linux/amd64 linux/386", 5}, {"all", 6}};
    AUTO(auto_stock_destroy) struct stock *s = NULL;
    struct image_name name;
    struct platform platforms[SEED_PLATFORMS_MAX];
    const char *wrong;
    size_t count, images = 0;
    add_tricky_index();
    const struct seed_wish wish = {.image = "alpine:3", .platforms = rows[_i].platforms};
    const struct seed_order order = {.wishes = &wish, .wish_count = 1};
    await_done(seed_order(&order));
    world_settle();
    ck_ok(image_name_parse("alpine:3", strlen("alpine:3"), &name, &wrong));
    ck_ok(seeder_platforms(world.mirror->seeder, rows[_i].platforms, "", platforms, &count));
    ck_ok(mirror_stock(world.mirror, &name, platforms, count, &s));
    ck_assert_int_eq(s->verdict, STOCK_SERVED);
    ck_assert_uint_eq(s->manifest_gets + s->missing_bytes, 0);
    for (size_t i = 0; i < hub.count; i++) {
        ck_assert_int_eq(is_listed(s, &hub.things[i]), is_stored(&hub.things[i]));
        images +=
            is_stored(&hub.things[i]) && hub.things[i].type && strcmp(hub.things[i].type, MEDIA_TYPE_OCI_MANIFEST) == 0;
    }
    ck_assert_uint_eq(images, rows[_i].images);
}
END_TEST

START_TEST(what_is_stored_costs_a_head_and_no_get)
{
    add_tag("library/alpine:3", add_image(1, 1000));
    await_done(seed_image("alpine:3"));
    unsigned gets = hub.gets, heads = hub.heads, blobs = hub.blob_gets;
    await_done(seed_image("alpine:3"));
    ck_assert_uint_eq(hub.gets, gets);
    ck_assert_uint_eq(hub.blob_gets, blobs);
    ck_assert_uint_eq(hub.heads, heads + 1);
}
END_TEST

START_TEST(by_digest_not_even_a_head)
{
    struct thing *t = add_image(1, 1000);
    char image[256];
    (void)snprintf(image, sizeof(image), "docker.io/library/alpine@%s", t->digest);
    await_done(seed_image(image));
    ck_assert_uint_eq(hub.heads, 0);
    ck_assert_uint_eq(hub.gets, 1);
}
END_TEST

START_TEST(a_tag_that_has_moved_is_fetched_although_it_was_fresh)
{
    struct thing *one = add_image(1, 1000), *two = add_image(2, 1000);
    add_tag("library/alpine:3", one);
    await_done(seed_image("alpine:3"));
    struct thing *tag = find("library/alpine:3");
    free(tag->bytes);
    hub.count--;
    add_tag("library/alpine:3", two);
    await_done(seed_image("alpine:3"));
    world_settle();
    ck_assert(is_stored(two));
}
END_TEST

START_TEST(a_platform_that_is_not_offered_fails_alone_and_is_noted_beside_others)
{
    (void)add_index("library/alpine:3", add_image(1, 1000), add_image(2, 1000));
    struct seed_wish wishes[] = {{.image = "alpine:3", .platforms = "linux/s390x"},
                                 {.image = "alpine:3", .platforms = "linux/amd64 linux/s390x"}};
    struct seed_order order = {.wishes = &wishes[0], .wish_count = 1};
    struct seen s = await(seed_order(&order), has_ended);
    ck_assert_int_eq(s.status.state, SEED_FAILED);
    ck_assert_str_eq(s.cause, "it is not made for linux/s390x");
    ck_assert_str_ne(s.advice, "");
    order.wishes = &wishes[1];
    s = await(seed_order(&order), has_ended);
    ck_assert_int_eq(s.status.state, SEED_DONE);
    ck_assert_str_eq(s.cause, "it is not made for linux/s390x");
}
END_TEST

START_TEST(a_pattern_brings_the_tags_that_match)
{
    add_tag("library/alpine:3.1", add_image(1, 1000));
    add_tag("library/alpine:3.2", add_image(2, 1000));
    (void)stpcpy(hub.list, "{\"name\":\"library/alpine\",\"tags\":[\"3.1\",\"3.2\",\"edge\"]}");
    struct seed_wish wish = {.image = "alpine", .platforms = "linux/amd64", .pattern = "whole\n=>= 3.1"};
    const struct seed_order order = {.wishes = &wish, .wish_count = 1};
    uint64_t id = seed_order(&order);
    await_done(id);
    ck_assert_uint_eq(look(id).status.images, 3);
    ck_assert_uint_eq(hub.gets, 2);
    ck_assert_uint_eq(hub.lists, 1);
}
END_TEST

/* --- limits -------------------------------------------------------------------------------------------------- */

static void add_images(unsigned count, const char **images, char names[][32])
{
    for (unsigned i = 0; i < count; i++) {
        char tag[64];
        (void)snprintf(tag, sizeof(tag), "library/alpine:%u", i);
        add_tag(tag, add_image(i, 1000));
        (void)snprintf(names[i], 32, "alpine:%u", i);
        images[i] = names[i];
    }
}

START_TEST(a_limit_is_waited_for_and_live_pulls_go_on)
{
    const char *images[4];
    char names[4][32];
    add_images(4, images, names);
    add_tag("library/busybox:1", add_image(99, 1000));
    hub.pulls_left = 2;
    uint64_t id = seed_images(4, images);
    struct seen s = await(id, waits);
    ck_assert_uint_eq(s.status.done, 2);
    ck_assert_uint_eq(s.status.failed, 0);
    ck_assert(s.status.waits_until > 0);

    struct client c;
    client_open(&c, MIRROR_MANIFEST, false, "busybox", "1");
    ck_assert_int_eq(client_answer(&c)->status, 200);
    client_close(&c);
    /* and what the seed was refused */
    client_open(&c, MIRROR_MANIFEST, false, "alpine", "2");
    ck_assert_int_eq(client_answer(&c)->status, 200);
    client_close(&c);
    ck_assert_uint_eq(hub.live_gets, 2);

    hub.pulls_left = 10;
    ck_ok(mirror_reload(world.mirror, &world.config));
    await_done(id);
    ck_assert_uint_eq(hub.gets, 3);
}
END_TEST

START_TEST(a_limit_of_one_registry_does_not_keep_another_waiting)
{
    add_tag("library/alpine:3", add_image(1, 1000));
    add_tag("a/b:1", add_image(2, 1000));
    hub.pulls_left = 0;
    const char *images[] = {"alpine:3", "ghcr.io/a/b:1"};
    uint64_t id = seed_images(2, images);
    (void)await(id, waits);
    unsigned before = hub.heads;
    ck_assert_uint_ge(before, 2); /* both were tried: the fake refuses both */
}
END_TEST

START_TEST(who_joins_a_question_of_a_seed_is_not_refused_with_it)
{
    struct thing *t = add_image(1, 1000);
    char image[256];
    fake_serve(world.upstream, NULL, NULL);
    (void)snprintf(image, sizeof(image), "docker.io/library/alpine@%s", t->digest);
    uint64_t id = seed_image(image);
    struct fake_job *j = fake_expect(world.upstream, UPSTREAM_MANIFEST, false, t->digest);
    ck_assert_int_eq(j->job.class, UPSTREAM_SEEDING);
    struct client c;
    client_open(&c, MIRROR_MANIFEST, false, "alpine", t->digest);
    ck_assert(!client_step(&c));
    fake_done(j, -EAGAIN, 0);
    j = fake_expect(world.upstream, UPSTREAM_MANIFEST, false, t->digest);
    ck_assert_int_eq(j->job.class, UPSTREAM_LIVE);
    fake_give(j, t->type, t->bytes, t->len);
    client_expect(&c, t->bytes, t->len);
    client_close(&c);
    fake_serve(world.upstream, play, NULL);
    await_done(id);
}
END_TEST

/* --- failures ------------------------------------------------------------------------------------------------ */

START_TEST(what_is_not_there_fails_with_its_cause_and_the_others_come)
{
    add_tag("library/alpine:3", add_image(1, 1000));
    const char *images[] = {"nothing:1", "unknown.example/a/b:1", "alpine:3"};
    struct seen s = await(seed_images(3, images), has_ended);
    ck_assert_int_eq(s.status.state, SEED_FAILED);
    ck_assert_uint_eq(s.status.done, 1);
    ck_assert_uint_eq(s.status.failed, 2);
    ck_assert_str_ne(s.cause, "");
    ck_assert_str_ne(s.advice, "");
}
END_TEST

START_TEST(what_may_pass_is_tried_again_so_often)
{
    add_tag("library/alpine:3", add_image(1, 1000));
    hub.broken = 1000000;
    uint64_t id = seed_image("alpine:3");
    for (unsigned i = 1; i < SEED_ATTEMPTS; i++) {
        struct seen s = await(id, waits);
        ck_assert_uint_eq(s.status.failed, 0);
        uint64_t before = s.status.sequence;
        ck_ok(mirror_reload(world.mirror, &world.config));
        do
            ck_ok(seeding_look(world.mirror, id, s.status.sequence, 1000, see, &s));
        while (s.status.sequence == before || (s.status.ended_at == 0 && !waits(&s)));
    }
    struct seen s = await(id, has_ended);
    ck_assert_int_eq(s.status.state, SEED_FAILED);
}
END_TEST

START_TEST(what_has_passed_is_no_failure)
{
    add_tag("library/alpine:3", add_image(1, 1000));
    hub.broken = 3; /* as often as a question is tried */
    uint64_t id = seed_image("alpine:3");
    (void)await(id, waits);
    ck_ok(mirror_reload(world.mirror, &world.config));
    await_done(id);
}
END_TEST

/* --- a life of its own --------------------------------------------------------------------------------------- */

START_TEST(a_seed_goes_on_after_a_restart)
{
    const char *images[4];
    char names[4][32];
    add_images(4, images, names);
    hub.pulls_left = 2;
    uint64_t id = seed_images(4, images);
    (void)await(id, waits);
    restart();
    (void)await(id, waits);
    unsigned heads = hub.heads;
    hub.pulls_left = 10;
    ck_ok(mirror_reload(world.mirror, &world.config));
    await_done(id);
    ck_assert_uint_eq(hub.gets, 4);
    ck_assert_uint_eq(hub.heads, heads + 2); /* those that were done are left alone */
    struct seen s = look(id);
    ck_assert_uint_eq(s.status.done, 4);
}
END_TEST

START_TEST(a_stop_in_the_middle_of_a_blob_is_no_failure)
{
    add_tag("library/alpine:3", add_image(1, 100000));
    hub.holds = true;
    uint64_t id = seed_image("alpine:3");
    (void)await(id, is_at_it);
    world_stop();
    hub.holds = false;
    world_start();
    fake_serve(world.upstream, play, NULL);
    await_done(id);
    world_settle();
    ck_assert(are_stored(0, 3));
}
END_TEST

START_TEST(a_seed_that_is_cancelled_stops_and_stays)
{
    const char *images[3];
    char names[3][32];
    add_images(3, images, names);
    hub.holds = true;
    uint64_t id = seed_images(3, images);
    (void)await(id, is_at_it);
    ck_ok(seeding_cancel(world.mirror, id));
    ck_assert_int_eq(seeding_cancel(world.mirror, id), -EALREADY);
    ck_assert_int_eq(seeding_cancel(world.mirror, 77), -ENOENT);
    hub.holds = false;
    struct seen s = look(id);
    ck_assert_int_eq(s.status.state, SEED_CANCELLED);
    restart();
    ck_assert_int_eq(look(id).status.state, SEED_CANCELLED);
    add_tag("library/busybox:1", add_image(9, 1000));
    await_done(seed_image("busybox:1")); /* nothing of the first is in its way */
}
END_TEST

static unsigned seed_records(void)
{
    return scratch_records(world.store, BLOBSTORE_JOBS, SEED_KEY_PREFIX, SEED_KEY_PREFIX_LEN);
}

START_TEST(a_seed_that_is_forgotten_leaves_no_record)
{
    add_tag("library/alpine:3", add_image(1, 100000));
    uint64_t id = seed_image("alpine:3");
    await_done(id);
    world_settle();
    ck_assert_uint_eq(seed_records(), 2);
    ck_ok(seeding_forget(world.mirror, id));
    ck_assert_uint_eq(seed_records(), 0);
    struct seen s;
    ck_assert_int_eq(seeding_look(world.mirror, id, 0, 0, see, &s), -ENOENT);
    /* in the middle of its work */
    add_tag("library/busybox:1", add_image(2, 100000));
    hub.holds = true;
    id = seed_image("busybox:1");
    (void)await(id, is_at_it);
    ck_ok(seeding_forget(world.mirror, id));
    hub.holds = false;
    restart();
    ck_assert_uint_eq(seed_records(), 0);
}
END_TEST

START_TEST(a_seed_of_a_name_takes_the_place_of_another)
{
    add_tag("library/alpine:3", add_image(1, 1000));
    add_tag("library/alpine:4", add_image(2, 1000));
    struct seed_wish wish = {.image = "alpine:3"};
    const struct seed_order order = {.name = "base", .platforms = "linux/amd64", .wishes = &wish, .wish_count = 1};
    uint64_t one = seed_order(&order);
    await_done(one);
    wish.image = "alpine:4";
    uint64_t two = seed_order(&order);
    await_done(two);
    struct seen s;
    ck_assert_int_eq(seeding_look(world.mirror, one, 0, 0, see, &s), -ENOENT);
    world_settle();
    ck_assert_uint_eq(seed_records(), 2);
}
END_TEST

START_TEST(a_seed_is_repeated_when_its_time_has_come)
{
    add_tag("library/alpine:3", add_image(1, 1000));
    struct seed_wish wish = {.image = "alpine:3"};
    const struct seed_order order = {
        .platforms = "linux/amd64", .every_ms = 3600 * CLOCK_SECOND, .wishes = &wish, .wish_count = 1};
    uint64_t id = seed_order(&order);
    await_done(id);
    unsigned heads = hub.heads;
    int64_t ended = look(id).status.ended_at;
    ck_assert_int_eq(look(id).status.next_at, ended + 3600 * CLOCK_SECOND);
    restart();
    world_advance(3600 * CLOCK_SECOND);
    ck_ok(mirror_reload(world.mirror, &world.config));
    struct seen s = look(id);
    while (s.status.started_at <= ended || s.status.ended_at == 0)
        ck_ok(seeding_look(world.mirror, id, s.status.sequence, 1000, see, &s));
    ck_assert_int_eq(s.status.state, SEED_DONE);
    ck_assert_uint_eq(hub.heads, heads + 1);
    ck_assert_uint_eq(hub.gets, 1);
}
END_TEST

/* --- pins ---------------------------------------------------------------------------------------------------- */

static bool is_pinned(const struct thing *t)
{
    AUTO_DIGEST_SET struct digest_set pinned = {0};
    struct digest digest;
    ck_ok(digest_parse(t->digest, strlen(t->digest), &digest));
    ck_ok(pins_resolve(world.store, clock_real_ms(), &pinned));
    return digest_set_has(&pinned, &digest);
}

/* The seeder has done what it was told before. */
static void settle(void)
{
    add_tag("library/settle:1", add_image(1000 + (unsigned)hub.count, 10));
    await_done(seed_image("settle:1"));
    world_settle();
}

START_TEST(a_seed_pins_as_long_as_it_is_kept)
{
    struct thing *one = add_image(1, 1000), *two = add_image(2, 1000);
    char by_digest[256];
    add_tag("library/alpine:3", one);
    (void)snprintf(by_digest, sizeof(by_digest), "alpine@%s", two->digest);
    struct seed_wish wishes[] = {{.image = "alpine:3"}, {.image = by_digest}};
    struct seed_order order = {.name = "a", .pin = true, .wishes = wishes, .wish_count = 2};
    uint64_t first = seed_order(&order);
    await_done(first);
    settle();
    ck_assert(is_pinned(one) && is_pinned(two));
    /* another that pins the same: it stays pinned until both are gone */
    order.name = "b";
    order.wish_count = 1;
    uint64_t second = seed_order(&order);
    await_done(second);
    settle();
    ck_ok(seeding_forget(world.mirror, first));
    settle();
    ck_assert(is_pinned(one) && !is_pinned(two));
    ck_ok(seeding_forget(world.mirror, second));
    settle();
    ck_assert(!is_pinned(one));
    ck_assert_uint_eq(scratch_records(world.store, BLOBSTORE_PINS, NULL, 0), 0);
}
END_TEST

START_TEST(pins_of_others_are_left_alone)
{
    struct thing *one = add_image(1, 1000);
    struct pointer_key what;
    AUTO_BUF struct buf key = BUF_INIT(400), value = BUF_INIT(4096);
    add_tag("library/alpine:3", one);
    pointer_key_make(&what, "docker.io", "library/alpine", POINTER_TAG, "3");
    const struct pin pin = {
        .kind = PIN_TAG, .what = what.bytes, .what_len = what.len, .origin = "admin", .origin_len = 5};
    ck_ok(pin_encode(&pin, &key, &value));
    struct bundle *b = bundle_create();
    bundle_put(b, BLOBSTORE_PINS, &key, &value);
    ck_ok(bundle_commit(b, world.mirror->keeper));
    struct seed_wish wish = {.image = "alpine:3"};
    const struct seed_order order = {.pin = true, .wishes = &wish, .wish_count = 1};
    uint64_t id = seed_order(&order);
    await_done(id);
    ck_ok(seeding_forget(world.mirror, id));
    settle();
    ck_assert(is_pinned(one));
}
END_TEST

/* --- orders -------------------------------------------------------------------------------------------------- */

static void expect_refusal(const struct seed_order *order, const char *words)
{
    struct seed_complaint why = {""};
    uint64_t id = 77;
    ck_assert_int_eq(seeding_add(world.mirror, order, &id, &why), -EINVAL);
    ck_assert_msg(strstr(why.text, words) != NULL, "%s", why.text);
    ck_assert_uint_eq(id, 77);
}

START_TEST(an_order_that_makes_no_sense_is_refused_in_words)
{
    struct seed_wish wish = {.image = "alpine:3"};
    struct seed_order order = {.wishes = &wish, .wish_count = 0};
    expect_refusal(&order, "names no image");
    order.wish_count = 1;
    order.name = "a/b";
    expect_refusal(&order, "a name has");
    order.name = NULL;
    order.every_ms = 10;
    expect_refusal(&order, "once a minute");
    order.every_ms = 0;
    order.platforms = "linux";
    expect_refusal(&order, "no platform");
    order.platforms = NULL;
    wish.image = "alpine:-3";
    expect_refusal(&order, "alpine:-3: ");
    wish = (struct seed_wish){.image = "alpine", .pattern = "whole\n+("};
    expect_refusal(&order, "no regular expression");
    wish = (struct seed_wish){.image = "alpine", .platforms = "x"};
    expect_refusal(&order, "no platform");
    ck_assert_uint_eq(hub.heads, 0);
}
END_TEST

START_TEST(there_are_so_many_seeds_and_spent_ones_make_room)
{
    add_tag("library/alpine:3", add_image(1, 1000));
    struct seed_wish wish = {.image = "alpine:3"};
    struct seed_order order = {.pin = true, .wishes = &wish, .wish_count = 1};
    uint64_t spent = seed_image("alpine:3"), last = 0;
    await_done(spent);
    for (unsigned i = 0; i < SEEDS_MAX; i++)
        last = seed_order(&order);
    await_done(last);
    struct seen s;
    ck_assert_int_eq(seeding_look(world.mirror, spent, 0, 0, see, &s), -ENOENT);
    struct seed_complaint why;
    uint64_t id;
    ck_assert_int_eq(seeding_add(world.mirror, &order, &id, &why), -ENOSPC);
}
END_TEST

static Suite *seeder_suite(void)
{
    Suite *suite = suite_create("seeder");
    TCase *tc = tcase_create("seeds");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, cleanup);
    tcase_add_test(tc, a_seed_brings_what_its_platforms_need_and_nothing_else);
    tcase_add_test(tc, several_platforms_and_all_of_them);
    tcase_add_loop_test(tc, what_a_seed_brings_is_what_an_audit_looks_for, 0, 4);
    tcase_add_test(tc, what_is_stored_costs_a_head_and_no_get);
    tcase_add_test(tc, by_digest_not_even_a_head);
    tcase_add_test(tc, a_tag_that_has_moved_is_fetched_although_it_was_fresh);
    tcase_add_test(tc, a_platform_that_is_not_offered_fails_alone_and_is_noted_beside_others);
    tcase_add_test(tc, a_pattern_brings_the_tags_that_match);
    tcase_add_test(tc, a_limit_is_waited_for_and_live_pulls_go_on);
    tcase_add_test(tc, a_limit_of_one_registry_does_not_keep_another_waiting);
    tcase_add_test(tc, who_joins_a_question_of_a_seed_is_not_refused_with_it);
    tcase_add_test(tc, what_is_not_there_fails_with_its_cause_and_the_others_come);
    tcase_add_test(tc, what_may_pass_is_tried_again_so_often);
    tcase_add_test(tc, what_has_passed_is_no_failure);
    tcase_add_test(tc, a_seed_goes_on_after_a_restart);
    tcase_add_test(tc, a_stop_in_the_middle_of_a_blob_is_no_failure);
    tcase_add_test(tc, a_seed_that_is_cancelled_stops_and_stays);
    tcase_add_test(tc, a_seed_that_is_forgotten_leaves_no_record);
    tcase_add_test(tc, a_seed_of_a_name_takes_the_place_of_another);
    tcase_add_test(tc, a_seed_is_repeated_when_its_time_has_come);
    tcase_add_test(tc, a_seed_pins_as_long_as_it_is_kept);
    tcase_add_test(tc, pins_of_others_are_left_alone);
    tcase_add_test(tc, an_order_that_makes_no_sense_is_refused_in_words);
    tcase_add_test(tc, there_are_so_many_seeds_and_spent_ones_make_room);
    suite_add_tcase(suite, tc);
    return suite;
}

int main(void)
{
    return suite_run(seeder_suite());
}
