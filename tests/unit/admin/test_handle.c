/* The way of a request, with a table of routes of the test's own. */
#include "admin/handler.h"

#include "suite.h"

#include <check.h>
#include <errno.h>
#include <string.h>

static struct admin *admin;
static struct admin_request request;
static struct admin_reply reply;
static unsigned finished;

static void echo(struct admin *a, const struct admin_request *r, struct admin_reply *ret_reply)
{
    bool flag;
    ck_assert_ptr_eq(a, admin);
    if (admin_param_bool(r, ret_reply, "flag", &flag) < 0)
        return;
    admin_answer(ret_reply, json_pack("{s:s*, s:b, s:s*}", "name", admin_param(r, "name"), "flag", flag, "id", r->id));
}

static void body(struct admin *a, const struct admin_request *r, struct admin_reply *ret_reply)
{
    (void)a;
    json_t *json = admin_body(r, ret_reply);
    if (json)
        admin_answer(ret_reply, json);
}

static void absent(struct admin *a, const struct admin_request *r, struct admin_reply *ret_reply)
{
    (void)a;
    (void)r;
    admin_fail_errno(ret_reply, -ENOENT, "alpine");
}

static void nothing(struct admin *a, const struct admin_request *r, struct admin_reply *ret_reply)
{
    (void)a;
    (void)r;
    admin_answer(ret_reply, NULL);
}

static ssize_t read_stream(void *arg, void *data, size_t len)
{
    (void)arg;
    (void)data;
    (void)len;
    return 0;
}

static void finish_stream(void *arg)
{
    ck_assert_ptr_eq(arg, &finished);
    finished++;
}

static void stream(struct admin *a, const struct admin_request *r, struct admin_reply *ret_reply)
{
    (void)a;
    (void)r;
    *ret_reply = (struct admin_reply){.status = 200, .read = read_stream, .finish = finish_stream, .arg = &finished};
}

const struct admin_route admin_routes[] = {
    {"GET", "/v1/echo", "name flag", ADMIN_NEEDS_ADMIN, echo}, {"DELETE", "/v1/echo", "", ADMIN_NEEDS_ADMIN, echo},
    {"GET", "/v1/things/*", "", ADMIN_NEEDS_ADMIN, echo},      {"POST", "/v1/body", "", ADMIN_NEEDS_ADMIN, body},
    {"GET", "/v1/absent", "", ADMIN_NEEDS_ADMIN, absent},      {"GET", "/v1/nothing", "", ADMIN_NEEDS_ADMIN, nothing},
    {"GET", "/v1/stream", "", ADMIN_NEEDS_ADMIN, stream},      {NULL},
};

static void setup(void)
{
    static const struct admin_options options = {0};
    request = (struct admin_request){.who = "uid=0 pid=1", .rights = {.admin = true}};
    ck_assert_int_eq(admin_create(&options, &admin), 0);
}

static void teardown(void)
{
    admin_reply_finish(&reply);
    admin_destroy(admin);
}

static void expect(const char *method, const char *path, int status, const char *text)
{
    request.method = method;
    request.path = path;
    admin_reply_finish(&reply);
    admin_handle(admin, &request, &reply);
    ck_assert_int_eq(reply.status, status);
    ck_assert_str_eq(reply.text ? reply.text : "", text);
    ck_assert_uint_eq(reply.len, strlen(text));
}

static void add_param(const char *name, const char *value)
{
    request.params[request.param_count++] = (struct admin_param){name, value};
}

START_TEST(a_request_finds_its_handler)
{
    add_param("name", "alpine");
    expect("GET", "/v1/echo", 200, "{\"name\":\"alpine\",\"flag\":false}");
}
END_TEST

START_TEST(an_unknown_path_is_not_found)
{
    expect("GET", "/v1/ech", 404, "{\"error\":{\"code\":\"no_such_path\",\"message\":\"there is no /v1/ech\"}}");
    expect("GET", "/v1/echo/", 404, "{\"error\":{\"code\":\"no_such_path\",\"message\":\"there is no /v1/echo/\"}}");
    expect("GET", "", 404, "{\"error\":{\"code\":\"no_such_path\",\"message\":\"there is no \"}}");
}
END_TEST

START_TEST(a_method_that_a_path_has_not_is_told_those_that_it_has)
{
    expect("PUT", "/v1/echo", 405,
           "{\"error\":{\"code\":\"bad_method\",\"message\":\"/v1/echo takes GET, DELETE only\"}}");
    ck_assert_str_eq(reply.allow, "GET, DELETE");
    expect("GET", "/v1/echo", 200, "{\"flag\":false}");
    ck_assert_str_eq(reply.allow, "");
}
END_TEST

START_TEST(a_misspelt_parameter_is_refused)
{
    add_param("flags", "1");
    expect("GET", "/v1/echo", 400,
           "{\"error\":{\"code\":\"bad_parameter\",\"message\":\"there is no parameter flags\"}}");
    request.params[0].name = "fla";
    expect("GET", "/v1/echo", 400,
           "{\"error\":{\"code\":\"bad_parameter\",\"message\":\"there is no parameter fla\"}}");
    request.params[0].name = "";
    expect("GET", "/v1/echo", 400, "{\"error\":{\"code\":\"bad_parameter\",\"message\":\"there is no parameter \"}}");
}
END_TEST

START_TEST(a_parameter_of_another_route_is_refused)
{
    add_param("name", "alpine");
    expect("DELETE", "/v1/echo", 400,
           "{\"error\":{\"code\":\"bad_parameter\",\"message\":\"there is no parameter name\"}}");
}
END_TEST

START_TEST(a_switch_is_1_or_0)
{
    add_param("flag", "1");
    expect("GET", "/v1/echo", 200, "{\"flag\":true}");
    request.params[0].value = "false";
    expect("GET", "/v1/echo", 200, "{\"flag\":false}");
    request.params[0].value = "yes";
    expect("GET", "/v1/echo", 400, "{\"error\":{\"code\":\"bad_parameter\",\"message\":\"flag is 1 or 0\"}}");
}
END_TEST

START_TEST(the_star_of_a_route_is_one_segment)
{
    expect("GET", "/v1/things/42", 200, "{\"flag\":false,\"id\":\"42\"}");
    expect("GET", "/v1/things/", 404,
           "{\"error\":{\"code\":\"no_such_path\",\"message\":\"there is no /v1/things/\"}}");
    expect("GET", "/v1/things/4/2", 404,
           "{\"error\":{\"code\":\"no_such_path\",\"message\":\"there is no /v1/things/4/2\"}}");
}
END_TEST

START_TEST(a_body_is_a_json_object)
{
    request.body = "{\"a\":1}";
    request.body_len = strlen(request.body);
    expect("POST", "/v1/body", 200, "{\"a\":1}");
    request.body = "[1]";
    request.body_len = 3;
    expect("POST", "/v1/body", 400,
           "{\"error\":{\"code\":\"bad_body\",\"message\":\"the body is to be a JSON object\"}}");
    request.body = NULL;
    request.body_len = 0;
    request.method = "POST";
    request.path = "/v1/body";
    admin_reply_finish(&reply);
    admin_handle(admin, &request, &reply);
    ck_assert_int_eq(reply.status, 400);
}
END_TEST

START_TEST(what_is_absent_is_404)
{
    expect("GET", "/v1/absent", 404, "{\"error\":{\"code\":\"not_found\",\"message\":\"alpine: there is none\"}}");
}
END_TEST

START_TEST(an_answer_without_memory_is_a_status_alone)
{
    expect("GET", "/v1/nothing", 500, "");
}
END_TEST

START_TEST(a_stream_is_finished_with_its_reply)
{
    expect("GET", "/v1/stream", 200, "");
    ck_assert_uint_eq(finished, 0);
    admin_reply_finish(&reply);
    ck_assert_uint_eq(finished, 1);
}
END_TEST

START_TEST(who_waits_when_the_server_stops_is_let_go)
{
    ck_assert(admin_wait(admin, 1));
    admin_cut(admin);
    ck_assert(!admin_wait(admin, 3600 * 1000));
}
END_TEST

START_TEST(a_refusal_has_the_form_of_an_error)
{
    admin_refuse(&reply, 401, "unauthorized", "no \"token\"");
    ck_assert_int_eq(reply.status, 401);
    ck_assert_str_eq(reply.text, "{\"error\":{\"code\":\"unauthorized\",\"message\":\"no \\\"token\\\"\"}}");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("admin/handle");
    TCase *t = tcase_create("requests");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_request_finds_its_handler);
    tcase_add_test(t, an_unknown_path_is_not_found);
    tcase_add_test(t, a_method_that_a_path_has_not_is_told_those_that_it_has);
    tcase_add_test(t, a_misspelt_parameter_is_refused);
    tcase_add_test(t, a_parameter_of_another_route_is_refused);
    tcase_add_test(t, a_switch_is_1_or_0);
    tcase_add_test(t, the_star_of_a_route_is_one_segment);
    tcase_add_test(t, a_body_is_a_json_object);
    tcase_add_test(t, what_is_absent_is_404);
    tcase_add_test(t, an_answer_without_memory_is_a_status_alone);
    tcase_add_test(t, a_stream_is_finished_with_its_reply);
    tcase_add_test(t, who_waits_when_the_server_stops_is_let_go);
    tcase_add_test(t, a_refusal_has_the_form_of_an_error);
    suite_add_tcase(s, t);
    return suite_run(s);
}
