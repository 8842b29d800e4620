/* What each route takes, on a mirror of its own: every row of the table for everybody there can be. */
#include "admin/handler.h"
#include "mirror/inventory.h"
#include "mirror/seeding.h"

#include "world.h"

#include "suite.h"

#include <check.h>
#include <signal.h>
#include <string.h>

#define HIS "docker.io/his/app"
#define FOREIGN "docker.io/foreign/app"
#define DIGEST "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

static struct admin *admin;
static struct admin_reply reply;

static bool is_his(const void *arg, const char *registry, const char *repository)
{
    (void)arg;
    return strcmp(registry, "docker.io") == 0 && strncmp(repository, "his/", 4) == 0;
}

enum role { NOBODY, SEEDER, SEEDER_EVERYWHERE, ADMIN, ROLES };

static const struct admin_rights roles[ROLES] = {
    [NOBODY] = {.may_seed = is_his},
    [SEEDER] = {.seed = true, .may_seed = is_his},
    [SEEDER_EVERYWHERE] = {.seed = true, .seed_everywhere = true, .may_seed = is_his},
    [ADMIN] = {.admin = true},
};

static void setup(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* as the program does, of a stream that nobody reads */
    world_setup();
    const struct admin_options options = {
        .config = &world.config, .store = world.store, .upstream = world.upstream, .mirror = world.mirror};
    ck_assert_int_eq(admin_create(&options, &admin), 0);
}

static void teardown(void)
{
    admin_reply_finish(&reply);
    admin_destroy(admin);
    world_cleanup();
}

static void add_param(struct admin_request *request, const char *name, const char *value)
{
    if (value)
        request->params[request->param_count++] = (struct admin_param){name, value};
}

/* The answer's status; `reply` is the answer. */
static int ask(enum role role, const char *method, const char *path, const char *name, const char *value,
               const char *body)
{
    struct admin_request request = {
        .method = method, .path = path, .body = body, .body_len = body ? strlen(body) : 0, .who = "user jo 192.0.2.1"};
    request.rights = roles[role];
    add_param(&request, name, value);
    admin_reply_finish(&reply);
    admin_handle(admin, &request, &reply);
    return reply.status;
}

static bool answers(const char *text)
{
    return reply.text && strstr(reply.text, text);
}

/* ------------------------------------------------------------------ the table */

/* What each row takes, told a second time: a row that is not here has been forgotten. `name` and `value` are a
 * parameter about what is his; `body` as well. */
static const struct {
    const char *method, *path, *name, *value, *body;
    enum role least;
} rows[] = {
    {"GET", "/v1/status", NULL, NULL, NULL, SEEDER},
    {"GET", "/v1/images", NULL, NULL, NULL, SEEDER},
    {"GET", "/v1/tags", "repository", HIS, NULL, SEEDER},
    {"GET", "/v1/image", "image", HIS ":1", NULL, SEEDER},
    {"DELETE", "/v1/image", "image", HIS ":1", NULL, ADMIN},
    {"GET", "/v1/explain", "image", HIS ":1", NULL, SEEDER},
    {"GET", "/v1/pins", NULL, NULL, NULL, SEEDER},
    {"POST", "/v1/pins", NULL, NULL, "{\"what\":\"" HIS ":1\"}", SEEDER},
    {"DELETE", "/v1/pins", "what", HIS ":1", NULL, SEEDER},
    {"POST", "/v1/purge", NULL, NULL, NULL, ADMIN},
    {"POST", "/v1/gc", NULL, NULL, NULL, ADMIN},
    {"GET", "/v1/usage", NULL, NULL, NULL, ADMIN},
    {"POST", "/v1/audit", NULL, NULL, "{\"images\":[{\"image\":\"" HIS ":1\"}]}", SEEDER},
    {"GET", "/v1/backup", NULL, NULL, NULL, ADMIN},
    {"POST", "/v1/backup", NULL, NULL, "{\"bytes\":1}", ADMIN},
    {"GET", "/v1/seeds", NULL, NULL, NULL, SEEDER},
    {"POST", "/v1/seeds", NULL, NULL, "{\"images\":[{\"image\":\"" HIS ":1\"}]}", SEEDER},
    {"GET", "/v1/seeds/*", NULL, NULL, NULL, SEEDER},
    {"DELETE", "/v1/seeds/*", NULL, NULL, NULL, SEEDER},
};

START_TEST(every_route_is_for_whom_it_is)
{
    const struct admin_route *route = &admin_routes[_i];
    ck_assert_str_eq(route->method, rows[_i].method);
    ck_assert_str_eq(route->path, rows[_i].path);
    const char *path = strchr(route->path, '*') ? "/v1/seeds/4711" : route->path;
    for (enum role role = NOBODY; role < ROLES; role++) {
        int status = ask(role, route->method, path, rows[_i].name, rows[_i].value, rows[_i].body);
        ck_assert_msg((status == 403) == (role < rows[_i].least), "%s %s for %d: %d", route->method, route->path,
                      (int)role, status);
        ck_assert_int_ne(status, 400);
        ck_assert((status == 403) == answers("\"forbidden\""));
    }
}
END_TEST

START_TEST(no_route_is_without_a_line_here)
{
    size_t count = 0;
    while (admin_routes[count].method)
        count++;
    ck_assert_uint_eq(count, ARRAY_SIZE(rows));
}
END_TEST

START_TEST(a_path_that_is_none_is_no_secret)
{
    ck_assert_int_eq(ask(NOBODY, "GET", "/v1/nothing", NULL, NULL, NULL), 404);
    ck_assert_int_eq(ask(NOBODY, "PUT", "/v1/status", NULL, NULL, NULL), 405);
}
END_TEST

/* ------------------------------------------------------------------ what is not his */

static const struct {
    const char *method, *path, *name, *value, *body;
} foreign[] = {
    {"GET", "/v1/tags", "repository", FOREIGN, NULL},
    {"GET", "/v1/image", "image", FOREIGN ":1", NULL},
    {"GET", "/v1/image", "image", HIS "@" DIGEST, NULL},
    {"GET", "/v1/explain", "image", FOREIGN ":1", NULL},
    {"GET", "/v1/explain", "image", HIS "@" DIGEST, NULL},
    {"POST", "/v1/pins", NULL, NULL, "{\"what\":\"" FOREIGN ":1\"}"},
    {"POST", "/v1/pins", NULL, NULL, "{\"what\":\"docker.io/his/*\"}"},
    {"POST", "/v1/pins", NULL, NULL, "{\"what\":\"" HIS "@" DIGEST "\"}"},
    {"DELETE", "/v1/pins", "what", FOREIGN ":1", NULL},
    {"DELETE", "/v1/pins", "what", "docker.io/his/*", NULL},
    {"DELETE", "/v1/pins", "what", DIGEST, NULL},
    {"DELETE", "/v1/pins", "what", HIS "@" DIGEST, NULL},
    {"POST", "/v1/audit", NULL, NULL, "{\"images\":[{\"image\":\"" HIS ":1\"},{\"image\":\"" FOREIGN ":1\"}]}"},
    {"POST", "/v1/seeds", NULL, NULL, "{\"images\":[{\"image\":\"" HIS ":1\"},{\"image\":\"" FOREIGN ":1\"}]}"},
    {"POST", "/v1/seeds", "dry_run", "1", "{\"images\":[{\"image\":\"" FOREIGN ":1\"}]}"},
    {"POST", "/v1/seeds", NULL, NULL, "{\"images\":[{\"image\":\"ghcr.io/his/app:1\"}]}"},
    {"POST", "/v1/seeds", NULL, NULL, "{\"images\":[{\"image\":\"docker.io/docker.io/foreign/app:1\"}]}"},
    {"POST", "/v1/seeds", NULL, NULL, "{\"images\":[{\"image\":\"" FOREIGN "\",\"pattern\":{\"allow\":[\"v.*\"]}}]}"},
};

START_TEST(what_is_not_his_is_refused_and_named)
{
    ck_assert_int_eq(
        ask(SEEDER, foreign[_i].method, foreign[_i].path, foreign[_i].name, foreign[_i].value, foreign[_i].body), 403);
    ck_assert(answers("user jo 192.0.2.1 lacks seed for ") && answers("server.auth.rules"));
    ck_assert_int_ne(ask(SEEDER_EVERYWHERE, foreign[_i].method, foreign[_i].path, foreign[_i].name, foreign[_i].value,
                         foreign[_i].body),
                     403);
}
END_TEST

START_TEST(a_limit_of_his_is_told)
{
    struct admin_request request = {.method = "POST", .path = "/v1/gc", .who = "user jo 192.0.2.1"};
    request.rights = roles[SEEDER];
    request.rights.limit = "the token is not for it";
    admin_handle(admin, &request, &reply);
    ck_assert_str_eq(reply.text, "{\"error\":{\"code\":\"forbidden\",\"message\":\"user jo 192.0.2.1 lacks admin: the "
                                 "token is not for it\"}}");
}
END_TEST

START_TEST(pins_are_listed_that_are_his)
{
    static const char *const pins[] = {"{\"what\":\"" HIS ":1\"}", "{\"what\":\"" FOREIGN ":1\"}",
                                       "{\"what\":\"docker.io/his/*\"}", "{\"what\":\"" HIS "@" DIGEST "\"}"};
    for (size_t i = 0; i < ARRAY_SIZE(pins); i++)
        ck_assert_int_eq(ask(ADMIN, "POST", "/v1/pins", NULL, NULL, pins[i]), 200);
    ck_assert_int_eq(ask(SEEDER, "GET", "/v1/pins", NULL, NULL, NULL), 200);
    ck_assert(answers(HIS ":1") && !answers(FOREIGN) && !answers("*") && !answers(DIGEST));
    ck_assert_int_eq(ask(SEEDER_EVERYWHERE, "GET", "/v1/pins", NULL, NULL, NULL), 200);
    ck_assert(answers(HIS ":1") && answers(FOREIGN) && answers("*") && answers(DIGEST));
}
END_TEST

/* ------------------------------------------------------------------ seeds */

/* Its number, as it stands in a path. */
static const char *add_seed(enum role role, const char *body)
{
    static char path[64];
    ck_assert_int_eq(ask(role, "POST", "/v1/seeds", NULL, NULL, body), 200);
    (void)snprintf(path, sizeof(path), "/v1/seeds/%.*s", (int)strspn(reply.text + 6, "0123456789"), reply.text + 6);
    return path;
}

START_TEST(a_seed_is_his_who_may_seed_all_of_it)
{
    const char *path =
        add_seed(ADMIN, "{\"name\":\"both\",\"images\":[{\"image\":\"" HIS ":1\"},{\"image\":\"" FOREIGN ":1\"}]}");
    ck_assert_int_eq(ask(SEEDER, "GET", path, NULL, NULL, NULL), 403);
    ck_assert_int_eq(ask(SEEDER, "DELETE", path, NULL, NULL, NULL), 403);
    ck_assert_int_eq(ask(SEEDER, "DELETE", path, "stop", "1", NULL), 403);
    ck_assert_int_eq(ask(SEEDER, "GET", "/v1/seeds", NULL, NULL, NULL), 200);
    ck_assert(!answers("both"));
    ck_assert_int_eq(ask(SEEDER_EVERYWHERE, "GET", "/v1/seeds", NULL, NULL, NULL), 200);
    ck_assert(answers("both"));
    ck_assert_int_eq(ask(SEEDER_EVERYWHERE, "DELETE", path, NULL, NULL, NULL), 200);

    path = add_seed(SEEDER, "{\"name\":\"his\",\"images\":[{\"image\":\"" HIS ":1\"}]}");
    ck_assert_int_eq(ask(SEEDER, "GET", "/v1/seeds", NULL, NULL, NULL), 200);
    ck_assert(answers("\"his\""));
    ck_assert_int_eq(ask(SEEDER, "GET", path, NULL, NULL, NULL), 200);
    ck_assert_int_eq(ask(SEEDER, "DELETE", path, NULL, NULL, NULL), 200);
}
END_TEST

START_TEST(nobody_takes_the_place_of_a_seed_that_is_not_his)
{
    (void)add_seed(ADMIN, "{\"name\":\"base\",\"images\":[{\"image\":\"" FOREIGN ":1\"}]}");
    ck_assert_int_eq(
        ask(SEEDER, "POST", "/v1/seeds", NULL, NULL, "{\"name\":\"base\",\"images\":[{\"image\":\"" HIS ":1\"}]}"),
        403);
    ck_assert(answers("some images of the seed that has this name"));
    ck_assert_int_eq(ask(ADMIN, "GET", "/v1/seeds", NULL, NULL, NULL), 200);
    ck_assert(answers("\"base\""));
    const char *path = add_seed(ADMIN, "{\"name\":\"base\",\"images\":[{\"image\":\"" HIS ":2\"}]}");
    ck_assert_int_eq(ask(SEEDER, "GET", path, NULL, NULL, NULL), 200);
    (void)add_seed(SEEDER, "{\"name\":\"base\",\"images\":[{\"image\":\"" HIS ":1\"}]}");
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("roles");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, every_route_is_for_whom_it_is, 0, ARRAY_SIZE(rows));
    tcase_add_test(t, no_route_is_without_a_line_here);
    tcase_add_test(t, a_path_that_is_none_is_no_secret);
    tcase_add_loop_test(t, what_is_not_his_is_refused_and_named, 0, ARRAY_SIZE(foreign));
    tcase_add_test(t, a_limit_of_his_is_told);
    tcase_add_test(t, pins_are_listed_that_are_his);
    tcase_add_test(t, a_seed_is_his_who_may_seed_all_of_it);
    tcase_add_test(t, nobody_takes_the_place_of_a_seed_that_is_not_his);
    Suite *s = suite_create("roles");
    suite_add_tcase(s, t);
    return suite_run(s);
}
