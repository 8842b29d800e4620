/* Private stays private: who is shown what an account has brought in, by any name, by any way. */
#include "world.h"

#include "base/clock.h"
#include "mirror/guests.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECRET "acme/secret" /* private, and open to the cluster where a test says so */
#define SISTER "acme/sister" /* the same */
#define PUBLIC "library/alpine"
#define THIRD "library/third"

#define MANIFEST_HEAD                                                                                                  \
    "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST "\",\"config\":{\"digest\":\"sha256:"              \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"size\":7},\"layers\":[{\"digest\":\""
#define MANIFEST_TAIL "\",\"size\":1000}]}"

static struct {
    char bytes[1024];
    size_t len;
    struct digest digest;
    char name[DIGEST_TEXT_MAX];
} manifest;

static struct {
    char *bytes;
    size_t len;
    struct digest digest;
    char name[DIGEST_TEXT_MAX];
} blob;

static char glob[] = "acme/*";
static char *globs[] = {glob, NULL};

static void open_to_all(bool open)
{
    for (size_t i = 0; i < world.config.registry_count; i++)
        world.config.registries[i].open = (struct config_list){.items = globs, .count = open ? 1 : 0};
}

static void setup(void)
{
    world.has_accounts = true;
    world_setup();
    blob.len = 1000;
    blob.bytes = scratch_bytes(1, blob.len, &blob.digest);
    (void)digest_format(&blob.digest, blob.name);
    manifest.len =
        (size_t)snprintf(manifest.bytes, sizeof(manifest.bytes), "%s%s%s", MANIFEST_HEAD, blob.name, MANIFEST_TAIL);
    ck_ok(digest_of(DIGEST_SHA256, manifest.bytes, manifest.len, &manifest.digest));
    (void)digest_format(&manifest.digest, manifest.name);
}

static void cleanup(void)
{
    world_cleanup();
    free(blob.bytes);
}

static void restart(void)
{
    world_stop();
    world_start();
}

/* As if it had been asked a moment ago. */
static void know(const char *repository, enum visibility what)
{
    visibility_note(world.mirror->visibilities, "docker.io", repository, what);
}

static void know_all(void)
{
    know(SECRET, VISIBILITY_PRIVATE);
    know(SISTER, VISIBILITY_PRIVATE);
    know(PUBLIC, VISIBILITY_PUBLIC);
    know(THIRD, VISIBILITY_PUBLIC);
}

/* --- what is asked ---------------------------------------------------------------------------------------------- */

static struct fake_job *expect(const char *repository, bool anonymous, enum upstream_object object, bool head,
                               const char *reference)
{
    struct fake_job *j = fake_expect(world.upstream, object, head, reference);
    ck_assert_str_eq(j->job.repository, repository);
    ck_assert(j->job.look == anonymous);
    return j;
}

/* The anonymous look, whatever it looks at. */
static struct fake_job *expect_look(const char *repository)
{
    struct fake_job *j = fake_take(world.upstream);
    ck_assert_str_eq(j->job.repository, repository);
    ck_assert(j->job.look);
    return j;
}

static void refuse_look(const char *repository)
{
    fake_done(expect_look(repository), -EACCES, 401);
}

static bool step(struct client *c, enum mirror_object object, bool head, const char *repository, const char *reference)
{
    client_open(c, object, head, repository, reference);
    return client_step(c);
}

static void expect_unknown(struct client *c)
{
    client_answer(c);
    ck_assert_int_eq(c->answer.status, 404);
    ck_assert_int_eq(c->answer.body, MIRROR_NO_BODY);
    ck_assert_int_eq(c->answer.retry_after_s, -1);
    client_close(c);
}

static void expect_manifest(struct client *c)
{
    client_expect(c, manifest.bytes, manifest.len);
    client_close(c);
}

static void expect_blob(struct client *c)
{
    client_expect(c, blob.bytes, blob.len);
    client_close(c);
}

/* --- what is stored --------------------------------------------------------------------------------------------- */

static void give_manifest(const char *repository)
{
    fake_give(expect(repository, false, UPSTREAM_MANIFEST, false, manifest.name), MEDIA_TYPE_OCI_MANIFEST,
              manifest.bytes, manifest.len);
}

static void give_blob_size(const char *repository)
{
    fake_give_head(expect(repository, false, UPSTREAM_BLOB, true, blob.name), "application/octet-stream", blob.name,
                   (int64_t)blob.len);
}

static void give_blob_bytes(const char *repository)
{
    fake_give(expect(repository, false, UPSTREAM_BLOB, false, blob.name), "application/octet-stream", blob.bytes,
              blob.len);
}

static void pull_manifest(const char *repository)
{
    struct client c;
    ck_assert(!step(&c, MIRROR_MANIFEST, false, repository, manifest.name));
    give_manifest(repository);
    expect_manifest(&c);
    world_settle();
}

static void pull_blob(const char *repository)
{
    struct client c;
    uint64_t size;
    ck_assert(!step(&c, MIRROR_BLOB, false, repository, blob.name));
    if (library_size_hint(world.mirror->library, &blob.digest, &size) < 0)
        give_blob_size(repository);
    give_blob_bytes(repository);
    expect_blob(&c);
    world_settle();
}

/* A manifest and a blob of the private repository, which is open now. */
static void store_secrets(void)
{
    open_to_all(true);
    know_all();
    pull_manifest(SECRET);
    pull_blob(SECRET);
}

/* Under its own name it is there, and nobody is asked. */
static void expect_stored(const char *repository)
{
    struct client c;
    unsigned asked = fake_count(world.upstream);
    ck_assert(step(&c, MIRROR_MANIFEST, false, repository, manifest.name));
    expect_manifest(&c);
    ck_assert(step(&c, MIRROR_BLOB, false, repository, blob.name));
    expect_blob(&c);
    ck_assert_uint_eq(fake_count(world.upstream), asked);
}

/* Under this one it must be shown by an upstream first, which does not have it. */
static void expect_refused(const char *repository)
{
    struct client c;
    for (unsigned head = 0; head < 2; head++) {
        bool remembers = head; /* that it was not there a moment ago */
        ck_assert(step(&c, MIRROR_MANIFEST, head, repository, manifest.name) == remembers);
        if (!remembers)
            fake_done(expect(repository, false, UPSTREAM_MANIFEST, true, manifest.name), -ENOENT, 404);
        expect_unknown(&c);
        ck_assert(step(&c, MIRROR_BLOB, head, repository, blob.name) == remembers);
        if (!remembers)
            fake_done(expect(repository, false, UPSTREAM_BLOB, true, blob.name), -ENOENT, 404);
        expect_unknown(&c);
    }
}

/* --- a private repository ----------------------------------------------------------------------------------------- */

static const struct {
    enum mirror_object object;
    bool head, by_tag;
} requests[] = {
    {MIRROR_MANIFEST, false, true},  {MIRROR_MANIFEST, true, true}, {MIRROR_MANIFEST, false, false},
    {MIRROR_MANIFEST, true, false},  {MIRROR_BLOB, false, false},   {MIRROR_BLOB, true, false},
    {MIRROR_TAGS, false, false},     {MIRROR_TAGS, true, false},    {MIRROR_REFERRERS, false, false},
    {MIRROR_REFERRERS, true, false},
};

static bool ask(struct client *c, int i)
{
    const char *digest = requests[i].object == MIRROR_BLOB ? blob.name : manifest.name;
    const char *reference = requests[i].object == MIRROR_TAGS ? NULL : requests[i].by_tag ? "latest" : digest;
    return step(c, requests[i].object, requests[i].head, SECRET, reference);
}

START_TEST(a_repository_that_is_not_open_is_not_there)
{
    struct client c;
    ck_assert(!ask(&c, _i));
    refuse_look(SECRET);
    expect_unknown(&c);
    ck_assert(ask(&c, _i)); /* remembered */
    expect_unknown(&c);
    restart();
    ck_assert(ask(&c, _i));
    expect_unknown(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 0);
}
END_TEST

START_TEST(what_is_stored_of_it_is_not_there_either)
{
    struct client c;
    store_secrets();
    client_open(&c, MIRROR_TAGS, false, SECRET, NULL);
    ck_assert(!client_step(&c));
    fake_give(expect(SECRET, false, UPSTREAM_TAGS, false, NULL), MEDIA_TYPE_JSON, "{\"tags\":[\"a\"]}", 14);
    ck_assert_int_eq(client_answer(&c)->status, 200);
    client_close(&c);
    open_to_all(false);
    unsigned asked = fake_count(world.upstream);
    ck_assert(ask(&c, _i));
    expect_unknown(&c);
    ck_assert_uint_eq(fake_count(world.upstream), asked);
}
END_TEST

START_TEST(it_stays_so_when_the_account_is_taken_away)
{
    struct client c;
    store_secrets();
    open_to_all(false);
    world.has_accounts = false;
    restart();
    ck_assert(ask(&c, _i));
    expect_unknown(&c);
    world_advance(VISIBILITY_TTL_MS); /* asked again, as everybody would */
    ck_assert(!ask(&c, _i));
    refuse_look(SECRET);
    expect_unknown(&c);
}
END_TEST

START_TEST(an_open_one_is_served_with_the_account)
{
    struct client c;
    open_to_all(true);
    ck_assert(!step(&c, MIRROR_MANIFEST, false, SECRET, "latest"));
    fake_done(expect(SECRET, true, UPSTREAM_MANIFEST, true, "latest"), -EACCES, 401);
    client_go_on(&c);
    fake_give_head(expect(SECRET, false, UPSTREAM_MANIFEST, true, "latest"), MEDIA_TYPE_OCI_MANIFEST, manifest.name,
                   (int64_t)manifest.len);
    client_go_on(&c);
    give_manifest(SECRET);
    expect_manifest(&c);
    pull_blob(SECRET);
    expect_stored(SECRET);
    restart();
    expect_stored(SECRET);
}
END_TEST

START_TEST(a_public_one_is_served)
{
    struct client c;
    ck_assert(!step(&c, MIRROR_MANIFEST, false, PUBLIC, manifest.name));
    fake_give_head(expect_look(PUBLIC), MEDIA_TYPE_OCI_MANIFEST, manifest.name, (int64_t)manifest.len);
    client_go_on(&c);
    give_manifest(PUBLIC);
    expect_manifest(&c);
    pull_blob(PUBLIC);
    know(THIRD, VISIBILITY_PUBLIC);
    expect_stored(THIRD); /* by digest it is everybody's */
    open_to_all(true);
    know(SECRET, VISIBILITY_PRIVATE);
    expect_stored(SECRET);
}
END_TEST

START_TEST(without_accounts_nobody_looks)
{
    fake_has_accounts(world.upstream, false);
    pull_manifest(SECRET);
    pull_blob(SECRET);
    expect_stored(PUBLIC);
}
END_TEST

/* As the public would: no account is shown. */
static struct fake_job *expect_public(const char *repository, enum upstream_object object, bool head,
                                      const char *reference)
{
    struct fake_job *j = expect(repository, false, object, head, reference);
    ck_assert(j->job.as_public);
    return j;
}

START_TEST(what_began_before_there_was_an_account_shows_none)
{
    struct client c, early, late;
    fake_has_accounts(world.upstream, false);
    ck_assert(!step(&c, MIRROR_MANIFEST, false, SECRET, "latest"));
    ck_assert(!step(&early, MIRROR_BLOB, false, SECRET, blob.name));
    struct fake_job *j = expect_public(SECRET, UPSTREAM_MANIFEST, true, "latest");
    struct fake_job *bytes = expect_public(SECRET, UPSTREAM_BLOB, true, blob.name);
    fake_has_accounts(world.upstream, true);
    know(SECRET, VISIBILITY_PRIVATE);
    open_to_all(true);
    ck_assert(!step(&late, MIRROR_MANIFEST, false, SECRET, manifest.name)); /* joins none of them */
    struct fake_job *other = expect(SECRET, false, UPSTREAM_MANIFEST, false, manifest.name);
    ck_assert(!other->job.as_public);
    fake_give(other, MEDIA_TYPE_OCI_MANIFEST, manifest.bytes, manifest.len);
    expect_manifest(&late);
    fake_give_head(j, MEDIA_TYPE_OCI_MANIFEST, manifest.name, (int64_t)manifest.len);
    client_go_on(&c);
    /* what the account has brought in meanwhile is not for who has come without it */
    fake_done(expect_public(SECRET, UPSTREAM_MANIFEST, true, manifest.name), -EACCES, 401);
    expect_unknown(&c);
    fake_done(bytes, -EACCES, 401);
    expect_unknown(&early);
}
END_TEST

START_TEST(nor_is_it_served_a_list_that_an_account_has_brought_in)
{
    static const char tags[] = "{\"tags\":[\"a\"]}";
    struct client early, late;
    fake_has_accounts(world.upstream, false);
    ck_assert(!step(&early, MIRROR_TAGS, false, SECRET, NULL));
    struct fake_job *j = expect_public(SECRET, UPSTREAM_TAGS, false, NULL);
    fake_has_accounts(world.upstream, true);
    know(SECRET, VISIBILITY_PRIVATE);
    open_to_all(true);
    ck_assert(!step(&late, MIRROR_TAGS, false, SECRET, NULL));
    fake_give(expect(SECRET, false, UPSTREAM_TAGS, false, NULL), MEDIA_TYPE_JSON, tags, sizeof(tags) - 1);
    ck_assert_int_eq(client_answer(&late)->status, 200);
    client_close(&late);
    fake_done(j, -EACCES, 401);
    expect_unknown(&early);
}
END_TEST

/* --- the anonymous look --------------------------------------------------------------------------------------------
 */

START_TEST(everybody_waits_for_one_look_an_hour)
{
    struct client clients[8];
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
        ck_assert(!step(&clients[i], MIRROR_MANIFEST, false, SECRET, "latest"));
    refuse_look(SECRET);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
        expect_unknown(&clients[i]);
    world_advance(VISIBILITY_TTL_MS - 1);
    ck_assert(step(&clients[0], MIRROR_MANIFEST, false, SECRET, "latest"));
    expect_unknown(&clients[0]);
    ck_assert_uint_eq(fake_count(world.upstream), 1);
    world_advance(1);
    ck_assert(!step(&clients[0], MIRROR_MANIFEST, false, SECRET, "other"));
    refuse_look(SECRET);
    expect_unknown(&clients[0]);
    ck_assert_uint_eq(fake_count(world.upstream), 2);
}
END_TEST

static const struct {
    int error, status;
} failures[] = {{-EAGAIN, 429}, {-ETIMEDOUT, 0}, {-EHOSTUNREACH, 0}, {-EPROTO, 0}, {-ENOENT, 404}};

START_TEST(a_look_that_fails_shows_it_to_nobody)
{
    struct client c;
    ck_assert(!step(&c, MIRROR_MANIFEST, false, SECRET, "latest"));
    fake_done_after(expect_look(SECRET), failures[_i].error, failures[_i].status, CLOCK_MINUTE);
    ck_assert_int_ge(client_answer(&c)->status, 400);
    client_close(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 1); /* nothing else was asked */
}
END_TEST

/* Somebody has it, and who has the account does not answer. */
START_TEST(a_look_that_is_not_sure_shows_what_comes_without_the_account)
{
    struct client c;
    for (unsigned i = 0; i < 2; i++) { /* nothing is remembered of it */
        ck_assert(!step(&c, MIRROR_MANIFEST, false, THIRD, manifest.name));
        struct fake_job *j = expect_look(THIRD);
        j->unsure = true;
        fake_give_head(j, MEDIA_TYPE_OCI_MANIFEST, manifest.name, (int64_t)manifest.len);
        client_go_on(&c);
        if (i == 0)
            fake_give(expect_public(THIRD, UPSTREAM_MANIFEST, false, manifest.name), MEDIA_TYPE_OCI_MANIFEST,
                      manifest.bytes, manifest.len);
        expect_manifest(&c);
    }
    know(PUBLIC, VISIBILITY_PUBLIC);
    client_open(&c, MIRROR_MANIFEST, false, PUBLIC, manifest.name); /* what came so is everybody's */
    ck_assert(client_step(&c));
    expect_manifest(&c);
}
END_TEST

START_TEST(nor_does_it_change_what_is_known)
{
    struct client c;
    know_all();
    world_advance(VISIBILITY_TTL_MS);
    ck_assert(!step(&c, MIRROR_MANIFEST, false, SECRET, manifest.name));
    struct fake_job *j = expect_look(SECRET);
    j->unsure = true;
    fake_give_head(j, MEDIA_TYPE_OCI_MANIFEST, manifest.name, (int64_t)manifest.len);
    expect_unknown(&c);
}
END_TEST

START_TEST(while_a_look_fails_the_last_answer_counts)
{
    struct client c;
    store_secrets();
    open_to_all(false);
    know(THIRD, VISIBILITY_PUBLIC);
    world_advance(VISIBILITY_TTL_MS);
    ck_assert(!step(&c, MIRROR_BLOB, false, SECRET, blob.name));
    fake_done(expect_look(SECRET), failures[_i].error, failures[_i].status);
    expect_unknown(&c);
    open_to_all(true); /* and an open one is open */
    ck_assert(step(&c, MIRROR_BLOB, false, SECRET, blob.name));
    expect_blob(&c);
    ck_assert(!step(&c, MIRROR_BLOB, false, THIRD, blob.name)); /* a public one stays public */
    fake_done(expect_look(THIRD), failures[_i].error, failures[_i].status);
    client_go_on(&c);
    give_blob_size(THIRD);
    expect_blob(&c);
}
END_TEST

START_TEST(nobody_waits_for_a_look_that_nobody_answers_where_the_last_answer_counts)
{
    struct client c;
    store_secrets(); /* and it is open */
    world.config.server.answer_timeout_ms = 60 * CLOCK_MINUTE;
    world_advance(VISIBILITY_TTL_MS);
    ck_assert(!step(&c, MIRROR_BLOB, false, SECRET, blob.name));
    struct fake_job *j = expect_look(SECRET);
    expect_blob(&c);
    fake_done(j, -ETIMEDOUT, 0);
}
END_TEST

START_TEST(a_repository_that_becomes_public_is_shown)
{
    struct client c;
    store_secrets();
    open_to_all(false);
    world_advance(VISIBILITY_TTL_MS);
    ck_assert(!step(&c, MIRROR_MANIFEST, false, SECRET, manifest.name));
    fake_give_head(expect_look(SECRET), MEDIA_TYPE_OCI_MANIFEST, manifest.name, (int64_t)manifest.len);
    expect_manifest(&c);
    expect_stored(SECRET);
}
END_TEST

START_TEST(a_repository_that_becomes_private_is_hidden)
{
    struct client c;
    know(SECRET, VISIBILITY_PUBLIC);
    pull_manifest(SECRET);
    world_advance(VISIBILITY_TTL_MS);
    ck_assert(!step(&c, MIRROR_MANIFEST, false, SECRET, manifest.name));
    refuse_look(SECRET);
    expect_unknown(&c);
}
END_TEST

START_TEST(only_what_is_cached_is_not_looked_at)
{
    struct client c;
    const struct mirror_request request = {
        .object = MIRROR_MANIFEST, .name = SECRET, .reference = manifest.name, .page_size = -1, .only_if_cached = true};
    client_open_request(&c, &request);
    ck_assert(client_step(&c));
    ck_assert_int_eq(c.answer.status, 504);
    client_close(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 0);
}
END_TEST

/* --- by digest, under another name ----------------------------------------------------------------------------------
 */

START_TEST(what_is_stored_is_not_found_under_another_name)
{
    store_secrets();
    if (_i)
        restart();
    expect_refused(PUBLIC);
    expect_stored(SECRET);
}
END_TEST

START_TEST(nor_in_another_private_repository)
{
    store_secrets();
    expect_refused(SISTER);
}
END_TEST

START_TEST(nor_while_nobody_can_say)
{
    struct client c;
    store_secrets();
    ck_assert(!step(&c, MIRROR_BLOB, false, PUBLIC, blob.name));
    fake_done_after(expect(PUBLIC, false, UPSTREAM_BLOB, true, blob.name), -EHOSTUNREACH, 0, CLOCK_MINUTE);
    client_expect_error(&c, 503, "UNAVAILABLE");
    client_close(&c);
}
END_TEST

START_TEST(nor_by_one_who_wants_only_what_is_cached)
{
    struct client c;
    store_secrets();
    unsigned asked = fake_count(world.upstream);
    for (unsigned i = 0; i < 2; i++) {
        const struct mirror_request request = {.object = i ? MIRROR_BLOB : MIRROR_MANIFEST,
                                               .name = PUBLIC,
                                               .reference = i ? blob.name : manifest.name,
                                               .page_size = -1,
                                               .only_if_cached = true};
        client_open_request(&c, &request);
        ck_assert(client_step(&c));
        ck_assert_int_eq(c.answer.status, 504);
        client_close(&c);
    }
    ck_assert_uint_eq(fake_count(world.upstream), asked);
}
END_TEST

/* Whatever its login may: what it makes of it, nobody here knows. */
static int ask_as_sibling(const char *repository, unsigned i)
{
    struct client c;
    const struct mirror_request request = {.object = i ? MIRROR_BLOB : MIRROR_MANIFEST,
                                           .name = repository,
                                           .reference = i ? blob.name : manifest.name,
                                           .page_size = -1,
                                           .login = "Basic am86czNjcmV0",
                                           .login_key = "jo",
                                           .hop = "f"};
    client_open_request(&c, &request);
    mirror_admit(c.session);
    ck_assert(client_step(&c));
    int status = c.answer.status;
    client_close(&c);
    return status;
}

START_TEST(a_sibling_gets_what_everybody_may_see_whatever_its_login_may)
{
    store_secrets();
    open_to_all(false);
    const struct guest jo = {.registry = "docker.io", .repository = SECRET, .login = "jo"};
    guests_welcome(world.mirror->guests, &jo, clock_monotonic_ms());
    unsigned asked = fake_count(world.upstream);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(ask_as_sibling(SECRET, i), 504);
        ck_assert_int_eq(ask_as_sibling(PUBLIC, i), 504);
        ck_assert_int_eq(ask_as_sibling("company/unknown", i), 504);
    }
    open_to_all(true);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(ask_as_sibling(SECRET, i), 200);
        ck_assert_int_eq(ask_as_sibling(PUBLIC, i), 504);
    }
    ck_assert_uint_eq(fake_count(world.upstream), asked);
}
END_TEST

START_TEST(a_sibling_gets_what_is_public)
{
    know_all();
    pull_manifest(PUBLIC);
    pull_blob(PUBLIC);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(ask_as_sibling(PUBLIC, i), 200);
        ck_assert_int_eq(ask_as_sibling(SECRET, i), 504);
    }
}
END_TEST

START_TEST(what_an_upstream_shows_under_a_public_name_is_everybodys_from_then_on)
{
    struct client c;
    store_secrets();
    ck_assert(!step(&c, MIRROR_MANIFEST, false, PUBLIC, manifest.name));
    fake_give_head(expect(PUBLIC, false, UPSTREAM_MANIFEST, true, manifest.name), MEDIA_TYPE_OCI_MANIFEST,
                   manifest.name, (int64_t)manifest.len);
    expect_manifest(&c);
    ck_assert(!step(&c, MIRROR_BLOB, false, PUBLIC, blob.name));
    give_blob_size(PUBLIC);
    expect_blob(&c);
    expect_stored(PUBLIC);
    expect_stored(THIRD);
    restart();
    expect_stored(THIRD);
}
END_TEST

START_TEST(what_an_upstream_shows_in_another_private_repository_is_of_both_and_of_no_third)
{
    struct client c;
    store_secrets();
    ck_assert(!step(&c, MIRROR_MANIFEST, false, SISTER, manifest.name));
    fake_give_head(expect(SISTER, false, UPSTREAM_MANIFEST, true, manifest.name), MEDIA_TYPE_OCI_MANIFEST,
                   manifest.name, (int64_t)manifest.len);
    expect_manifest(&c);
    ck_assert(!step(&c, MIRROR_BLOB, false, SISTER, blob.name));
    give_blob_size(SISTER);
    expect_blob(&c);
    restart();
    expect_stored(SISTER);
    expect_stored(SECRET);
    expect_refused(PUBLIC);
}
END_TEST

START_TEST(a_head_under_another_name_shows_no_more_than_a_get)
{
    struct client c;
    store_secrets();
    ck_assert(!step(&c, MIRROR_BLOB, true, PUBLIC, blob.name));
    fake_done(expect(PUBLIC, false, UPSTREAM_BLOB, true, blob.name), -EACCES, 403);
    expect_unknown(&c);
    ck_assert(!step(&c, MIRROR_MANIFEST, true, PUBLIC, manifest.name));
    fake_done(expect(PUBLIC, false, UPSTREAM_MANIFEST, true, manifest.name), -EACCES, 403);
    expect_unknown(&c);
}
END_TEST

START_TEST(a_list_of_a_private_repository_is_not_found_by_its_digest)
{
    struct client c;
    struct pointer_key key;
    struct pointer p;
    char text[DIGEST_TEXT_MAX];
    static const char referrers[] = "{\"manifests\":[{\"digest\":\"sha256:1\"}]}";
    open_to_all(true);
    know_all();
    client_open(&c, MIRROR_TAGS, false, SECRET, NULL);
    ck_assert(!client_step(&c));
    fake_give(expect(SECRET, false, UPSTREAM_TAGS, false, NULL), MEDIA_TYPE_JSON, "{\"tags\":[\"a\"]}", 14);
    ck_assert_int_eq(client_answer(&c)->status, 200);
    client_close(&c);
    client_open(&c, MIRROR_REFERRERS, false, SECRET, manifest.name);
    ck_assert(!client_step(&c));
    fake_give(expect(SECRET, false, UPSTREAM_REFERRERS, false, NULL), MEDIA_TYPE_OCI_INDEX, referrers,
              strlen(referrers));
    ck_assert_int_eq(client_answer(&c)->status, 200);
    client_close(&c);
    world_settle();

    pointer_key_make(&key, "docker.io", SECRET, POINTER_TAGS_LIST, "");
    ck_ok(pointers_get(world.mirror->pointers, &key, &p));
    ck_assert(!step(&c, MIRROR_BLOB, false, PUBLIC, digest_format(&p.digest, text)));
    fake_done(expect(PUBLIC, false, UPSTREAM_BLOB, true, text), -ENOENT, 404);
    expect_unknown(&c);
    pointer_key_make(&key, "docker.io", SECRET, POINTER_REFERRERS, manifest.name);
    ck_ok(pointers_get(world.mirror->pointers, &key, &p));
    ck_assert(!step(&c, MIRROR_MANIFEST, false, PUBLIC, digest_format(&p.digest, text)));
    fake_done(expect(PUBLIC, false, UPSTREAM_MANIFEST, true, text), -ENOENT, 404);
    expect_unknown(&c);

    client_open(&c, MIRROR_TAGS, false, SECRET, NULL); /* and is there under its own name */
    ck_assert(client_step(&c));
    ck_assert_int_eq(c.answer.status, 200);
    client_close(&c);
}
END_TEST

/* --- on its way ------------------------------------------------------------------------------------------------------
 */

/* The blob is on its way to somebody who may see the private repository. */
static struct fake_job *fly(struct client *own)
{
    open_to_all(true);
    know_all();
    ck_assert(!step(own, MIRROR_BLOB, false, SECRET, blob.name));
    give_blob_size(SECRET);
    return expect(SECRET, false, UPSTREAM_BLOB, false, blob.name);
}

START_TEST(a_private_flight_is_not_joined_under_another_name)
{
    struct client own, friend, stranger;
    const char *other = _i ? SISTER : PUBLIC;
    struct fake_job *j = fly(&own);
    ck_assert(!step(&friend, MIRROR_BLOB, false, SECRET, blob.name));
    ck_assert(!step(&stranger, MIRROR_BLOB, false, other, blob.name));
    fake_give(j, "application/octet-stream", blob.bytes, blob.len);
    expect_blob(&own);
    expect_blob(&friend);
    client_go_on(&stranger);
    fake_done(expect(other, false, UPSTREAM_BLOB, true, blob.name), -ENOENT, 404);
    expect_unknown(&stranger);
}
END_TEST

/* Layers that many private images share: who comes second need not wait until the first has all of it. */
START_TEST(but_it_is_joined_by_whom_an_upstream_shows_it_under_his_own_name)
{
    struct client own, friend, stranger;
    const char *other = _i ? SISTER : PUBLIC;
    struct fake_job *j = fly(&own);
    ck_assert(!step(&friend, MIRROR_BLOB, false, other, blob.name));
    give_blob_size(other);
    ck_assert(!step(&stranger, MIRROR_BLOB, false, THIRD, blob.name));
    fake_done(expect(THIRD, false, UPSTREAM_BLOB, true, blob.name), -ENOENT, 404);
    expect_unknown(&stranger);
    world_settle();
    client_await(&friend);
    ck_assert(!client_step(&friend)); /* on the flight by now */
    client_close(&own);               /* which goes on for it */
    fake_give(j, "application/octet-stream", blob.bytes, blob.len);
    client_answer(&friend);
    client_expect_outcome(&friend, MIRROR_MISS, 1);
    expect_blob(&friend);
}
END_TEST

START_TEST(nor_is_its_size_told)
{
    struct client own, stranger;
    struct fake_job *j = fly(&own);
    struct upstream_head head = fake_blob_header(j, blob.len);
    ck_ok(fake_head(j, &head));
    ck_assert(!step(&stranger, MIRROR_BLOB, true, PUBLIC, blob.name));
    fake_done(expect(PUBLIC, false, UPSTREAM_BLOB, true, blob.name), -ENOENT, 404);
    expect_unknown(&stranger);
    client_close(&own);
    fake_done(j, -ENOENT, 404);
}
END_TEST

START_TEST(a_question_of_a_private_repository_is_not_joined_under_another_name)
{
    struct client own, stranger;
    open_to_all(true);
    know_all();
    ck_assert(!step(&own, MIRROR_MANIFEST, false, SECRET, manifest.name));
    struct fake_job *j = expect(SECRET, false, UPSTREAM_MANIFEST, false, manifest.name);
    ck_assert(!step(&stranger, MIRROR_MANIFEST, false, PUBLIC, manifest.name));
    struct fake_job *k = expect(PUBLIC, false, UPSTREAM_MANIFEST, false, manifest.name);
    fake_give(j, MEDIA_TYPE_OCI_MANIFEST, manifest.bytes, manifest.len);
    expect_manifest(&own);
    fake_done(k, -ENOENT, 404);
    expect_unknown(&stranger);
}
END_TEST

/* Every byte is in the partial file, but the flight has not ended. */
static void leave_whole_partial(void)
{
    struct client c;
    open_to_all(true);
    know_all();
    ck_assert(!step(&c, MIRROR_BLOB, false, SECRET, blob.name));
    give_blob_size(SECRET);
    struct fake_job *j = expect(SECRET, false, UPSTREAM_BLOB, false, blob.name);
    struct upstream_head head = fake_blob_header(j, blob.len);
    ck_ok(fake_head(j, &head));
    ck_ok(fake_body(j, blob.bytes, blob.len));
    fake_tick(j);
    client_close(&c);
    restart();
    ck_assert_uint_eq(scratch_count("partial"), 1);
    library_note_size(world.mirror->library, &blob.digest, blob.len); /* some manifest claims so */
}

static const struct {
    int error, status;
} no_proofs[] = {{-ENOENT, 404}, {-EACCES, 403}, {-EREMOTEIO, 405}, {-EPROTO, 0}};

START_TEST(what_a_private_flight_has_left_whole_is_not_served_under_another_name)
{
    struct client c;
    leave_whole_partial();
    ck_assert(!step(&c, MIRROR_BLOB, false, PUBLIC, blob.name));
    fake_done(expect(PUBLIC, false, UPSTREAM_BLOB, true, blob.name), no_proofs[_i].error, no_proofs[_i].status);
    world_settle();
    ck_assert_int_eq(scratch_count("partial"), 1); /* it may be somebody's yet */
    if (no_proofs[_i].status != 405)               /* which may pass */
        ck_assert_int_ge(client_answer(&c)->status, 400);
    client_close(&c);
}
END_TEST

START_TEST(nor_is_a_page_a_proof)
{
    struct client c;
    leave_whole_partial();
    ck_assert(!step(&c, MIRROR_BLOB, false, PUBLIC, blob.name));
    fake_give_head(expect(PUBLIC, false, UPSTREAM_BLOB, true, blob.name), "text/html", "", 20);
    client_expect_error(&c, 502, "UNKNOWN");
    client_close(&c);
}
END_TEST

START_TEST(it_is_served_where_an_upstream_has_it)
{
    struct client c;
    leave_whole_partial();
    ck_assert(!step(&c, MIRROR_BLOB, false, PUBLIC, blob.name));
    give_blob_size(PUBLIC);
    expect_blob(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 1);
}
END_TEST

/* --- what does not link ----------------------------------------------------------------------------------------------
 */

START_TEST(to_ask_for_something_in_vain_is_no_claim_to_it)
{
    struct client c;
    open_to_all(true);
    know_all();
    ck_assert(!step(&c, MIRROR_BLOB, false, SISTER, blob.name));
    fake_done(expect(SISTER, false, UPSTREAM_BLOB, true, blob.name), -ENOENT, 404);
    expect_unknown(&c);
    store_secrets();
    restart(); /* forgets that it failed */
    expect_refused(SISTER);
}
END_TEST

START_TEST(to_name_something_in_a_manifest_is_no_claim_to_it)
{
    struct client c;
    open_to_all(true);
    know_all();
    pull_blob(SECRET);
    pull_manifest(SISTER); /* its layer is the blob */
    ck_assert(!step(&c, MIRROR_BLOB, false, SISTER, blob.name));
    fake_done(expect(SISTER, false, UPSTREAM_BLOB, true, blob.name), -ENOENT, 404);
    expect_unknown(&c);
}
END_TEST

/* --- an index that was lost
 * -------------------------------------------------------------------------------------------- */

/* Made anew from the files, whose times are those of the real clock: that of the world is set behind them. */
static void lose_index(void)
{
    struct timespec now;
    ck_ok(clock_gettime(CLOCK_REALTIME, &now));
    world_advance((int64_t)now.tv_sec * 1000 + CLOCK_MINUTE - clock_real_ms());
    world_stop();
    scratch_remove("index");
    world_start();
    know_all();
}

START_TEST(without_the_records_everything_must_be_shown_again)
{
    store_secrets();
    lose_index();
    if (_i)
        restart(); /* not only in the first run */
    expect_refused(PUBLIC);
    expect_refused(SECRET); /* its own name, too: nobody knows */
}
END_TEST

START_TEST(what_is_shown_again_is_remembered)
{
    struct client c;
    const char *name = _i ? SECRET : PUBLIC;
    store_secrets();
    lose_index();
    ck_assert(!step(&c, MIRROR_MANIFEST, false, name, manifest.name));
    fake_give_head(expect(name, false, UPSTREAM_MANIFEST, true, manifest.name), MEDIA_TYPE_OCI_MANIFEST, manifest.name,
                   (int64_t)manifest.len);
    expect_manifest(&c);
    ck_assert(!step(&c, MIRROR_BLOB, false, name, blob.name));
    give_blob_size(name);
    expect_blob(&c);
    expect_stored(name);
    restart();
    expect_stored(name);
    if (_i)
        expect_refused(THIRD);
    else
        expect_stored(THIRD);
}
END_TEST

START_TEST(what_comes_after_the_loss_is_not_in_doubt)
{
    open_to_all(true);
    know_all();
    pull_blob(SECRET);
    lose_index();
    open_to_all(true);
    pull_manifest(PUBLIC);
    struct client c;
    ck_assert(step(&c, MIRROR_MANIFEST, false, THIRD, manifest.name));
    expect_manifest(&c);
    ck_assert(!step(&c, MIRROR_BLOB, false, THIRD, blob.name)); /* the old one is */
    fake_done(expect(THIRD, false, UPSTREAM_BLOB, true, blob.name), -ENOENT, 404);
    expect_unknown(&c);
}
END_TEST

START_TEST(without_accounts_nothing_is_in_doubt)
{
    world.has_accounts = false;
    restart();
    pull_manifest(PUBLIC);
    pull_blob(PUBLIC);
    lose_index();
    expect_stored(PUBLIC);
    expect_stored(THIRD);
    fake_has_accounts(world.upstream, true); /* one comes with a new configuration */
    ck_ok(mirror_reload(world.mirror, &world.config));
    expect_refused(THIRD);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("private");
    TCase *tests = tcase_create("private");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, a_repository_that_is_not_open_is_not_there, 0, ARRAY_SIZE(requests));
    tcase_add_loop_test(tests, what_is_stored_of_it_is_not_there_either, 0, ARRAY_SIZE(requests));
    tcase_add_loop_test(tests, it_stays_so_when_the_account_is_taken_away, 0, ARRAY_SIZE(requests));
    tcase_add_test(tests, an_open_one_is_served_with_the_account);
    tcase_add_test(tests, a_public_one_is_served);
    tcase_add_test(tests, without_accounts_nobody_looks);
    tcase_add_test(tests, what_began_before_there_was_an_account_shows_none);
    tcase_add_test(tests, nor_is_it_served_a_list_that_an_account_has_brought_in);
    tcase_add_test(tests, everybody_waits_for_one_look_an_hour);
    tcase_add_loop_test(tests, a_look_that_fails_shows_it_to_nobody, 0, ARRAY_SIZE(failures));
    tcase_add_test(tests, a_look_that_is_not_sure_shows_what_comes_without_the_account);
    tcase_add_test(tests, nor_does_it_change_what_is_known);
    tcase_add_loop_test(tests, while_a_look_fails_the_last_answer_counts, 0, ARRAY_SIZE(failures));
    tcase_add_test(tests, nobody_waits_for_a_look_that_nobody_answers_where_the_last_answer_counts);
    tcase_add_test(tests, a_repository_that_becomes_public_is_shown);
    tcase_add_test(tests, a_repository_that_becomes_private_is_hidden);
    tcase_add_test(tests, only_what_is_cached_is_not_looked_at);
    suite_add_tcase(suite, tests);
    tests = tcase_create("under another name");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, what_is_stored_is_not_found_under_another_name, 0, 2);
    tcase_add_test(tests, nor_in_another_private_repository);
    tcase_add_test(tests, nor_while_nobody_can_say);
    tcase_add_test(tests, nor_by_one_who_wants_only_what_is_cached);
    tcase_add_test(tests, a_sibling_gets_what_everybody_may_see_whatever_its_login_may);
    tcase_add_test(tests, a_sibling_gets_what_is_public);
    tcase_add_test(tests, what_an_upstream_shows_under_a_public_name_is_everybodys_from_then_on);
    tcase_add_test(tests, what_an_upstream_shows_in_another_private_repository_is_of_both_and_of_no_third);
    tcase_add_test(tests, a_head_under_another_name_shows_no_more_than_a_get);
    tcase_add_test(tests, a_list_of_a_private_repository_is_not_found_by_its_digest);
    tcase_add_loop_test(tests, a_private_flight_is_not_joined_under_another_name, 0, 2);
    tcase_add_loop_test(tests, but_it_is_joined_by_whom_an_upstream_shows_it_under_his_own_name, 0, 2);
    tcase_add_test(tests, nor_is_its_size_told);
    tcase_add_test(tests, a_question_of_a_private_repository_is_not_joined_under_another_name);
    tcase_add_loop_test(tests, what_a_private_flight_has_left_whole_is_not_served_under_another_name, 0,
                        ARRAY_SIZE(no_proofs));
    tcase_add_test(tests, nor_is_a_page_a_proof);
    tcase_add_test(tests, it_is_served_where_an_upstream_has_it);
    tcase_add_test(tests, to_ask_for_something_in_vain_is_no_claim_to_it);
    tcase_add_test(tests, to_name_something_in_a_manifest_is_no_claim_to_it);
    suite_add_tcase(suite, tests);
    tests = tcase_create("a lost index");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, without_the_records_everything_must_be_shown_again, 0, 2);
    tcase_add_loop_test(tests, what_is_shown_again_is_remembered, 0, 2);
    tcase_add_test(tests, what_comes_after_the_loss_is_not_in_doubt);
    tcase_add_test(tests, without_accounts_nothing_is_in_doubt);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
