/* The admin API's door, with an admin of the test's own behind it. */
#include "server/admin.h"

#include "admin/admin.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/unix_address.h"
#include "client.h"
#include "server/guard.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#define TOKEN "0123456789abcdef"

/* ------------------------------------------------------------------ the admin behind the door */

struct admin {
    pthread_mutex_t lock;
    pthread_cond_t stirred;
    unsigned waiting;
    bool cut;
};

static struct admin admin = {.lock = PTHREAD_MUTEX_INITIALIZER, .stirred = PTHREAD_COND_INITIALIZER};

static void answer(struct admin_reply *reply, int status, struct buf *text)
{
    reply->status = status;
    reply->len = text->len;
    reply->text = buf_take(text);
}

static void tell(const struct admin_request *q, struct admin_reply *reply)
{
    AUTO_BUF struct buf b = BUF_INIT(MIB);
    ck_assert_int_eq(buf_addf(&b, "%s %s", q->method, q->path), 0);
    for (size_t i = 0; i < q->param_count; i++)
        ck_assert_int_eq(buf_addf(&b, " %s=%s", q->params[i].name, q->params[i].value), 0);
    const struct admin_rights *rights = &q->rights;
    bool may = rights->seed && rights->may_seed(rights->arg, "quay.io", "company/app");
    ck_assert_int_eq(buf_addf(&b, " body=%zu who=%s", q->body_len, q->who), 0);
    ck_assert_int_eq(buf_addf(&b, " rights=%s%s%s%s", rights->admin ? "admin" : "", rights->seed ? "seed" : "",
                              rights->seed_everywhere ? " everywhere" : "", may ? " company" : ""),
                     0);
    answer(reply, 200, &b);
}

/* Three blocks, and then the end, or an error. */
struct stream {
    unsigned left;
    bool breaks;
};
static struct stream stream;
static unsigned streams_finished;

static ssize_t read_stream(void *arg, void *data, size_t len)
{
    struct stream *s = arg;
    if (s->left == 0)
        return s->breaks ? -EIO : 0;
    s->left--;
    ck_assert_uint_ge(len, 4);
    memcpy(data, "abc\n", 4);
    return 4;
}

static void finish_stream(void *arg)
{
    ck_assert_ptr_eq(arg, &stream);
    __atomic_fetch_add(&streams_finished, 1, __ATOMIC_SEQ_CST);
}

static void wait_for_cut(struct admin *a)
{
    (void)pthread_mutex_lock(&a->lock);
    a->waiting++;
    (void)pthread_cond_broadcast(&a->stirred);
    while (!a->cut)
        (void)pthread_cond_wait(&a->stirred, &a->lock);
    (void)pthread_mutex_unlock(&a->lock);
}

void admin_handle(struct admin *a, struct admin_request *q, struct admin_reply *reply)
{
    if (strcmp(q->path, "/wait") == 0)
        wait_for_cut(a);
    if (strcmp(q->path, "/stream") == 0 || strcmp(q->path, "/broken") == 0) {
        stream = (struct stream){.left = 3, .breaks = strcmp(q->path, "/broken") == 0};
        *reply = (struct admin_reply){
            .status = 200, .content_type = "text/plain", .read = read_stream, .finish = finish_stream, .arg = &stream};
        return;
    }
    if (strcmp(q->path, "/method") == 0)
        (void)snprintf(reply->allow, sizeof(reply->allow), "PUT");
    tell(q, reply);
}

void admin_cut(struct admin *a)
{
    (void)pthread_mutex_lock(&a->lock);
    a->cut = true;
    (void)pthread_cond_broadcast(&a->stirred);
    (void)pthread_mutex_unlock(&a->lock);
}

void admin_refuse(struct admin_reply *reply, int status, const char *code, const char *message)
{
    AUTO_BUF struct buf b = BUF_INIT(MIB);
    (void)message;
    ck_assert_int_eq(buf_adds(&b, code), 0);
    answer(reply, status, &b);
}

void admin_reply_finish(struct admin_reply *reply)
{
    if (reply->finish)
        reply->finish(reply->arg);
    free(reply->text);
    *reply = (struct admin_reply){0};
}

/* ------------------------------------------------------------------ the door */

static char directory[] = "/tmp/entrepot-admin-XXXXXX";
static char socket_path[256], unix_item[sizeof(socket_path) + 8], token_path[256];
static char tcp_item[] = "127.0.0.1:0";
static char *items[] = {unix_item, tcp_item, NULL};
static struct config config = {.admin = {.listen = {.items = items, .count = 2}, .token_file = token_path}};
static struct admin_server *server;
static struct guard *guard; /* NULL: nobody has an account */
static uint16_t port;

static void write_token(const char *text)
{
    AUTO_FCLOSE FILE *f = fopen(token_path, "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
}

static void prepare(void)
{
    log_configure(LOG_ERROR, LOG_TEXT);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    (void)snprintf(socket_path, sizeof(socket_path), "%s/admin.sock", directory);
    (void)snprintf(unix_item, sizeof(unix_item), "unix:%s", socket_path);
    (void)snprintf(token_path, sizeof(token_path), "%s/token", directory);
    write_token(TOKEN "\n");
}

static void setup(void)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    prepare();
    ck_assert_int_eq(admin_server_start(&config, &admin, guard, &server, &error), 0);
    ck_assert_ptr_nonnull(server);
    port = client_port();
}

static void teardown(void)
{
    admin_server_stop(server);
    (void)unlink(token_path);
    ck_assert_int_eq(rmdir(directory), 0); /* the socket is gone */
}

static int connect_unix(const char *path)
{
    AUTO(unix_address_finish) struct unix_address a = {.directory = -1};
    const struct timeval patience = {.tv_sec = 60};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    ck_assert_int_eq(unix_address_init(path, &a), 0);
    if (connect(fd, (struct sockaddr *)&a.address, sizeof(a.address)) < 0)
        ck_abort_msg("connect: %s", strerror(errno));
    return fd;
}

static void ask(int fd, const char *method, const char *target, const char *headers, struct response *ret_response)
{
    client_ask(fd, method, target, headers);
    client_read(fd, false, SIZE_MAX, ret_response);
    (void)close(fd);
}

static void expect_unix(const char *method, const char *target, int status, const char *body)
{
    struct response r;
    ask(connect_unix(socket_path), method, target, "", &r);
    ck_assert_int_eq(r.status, status);
    ck_assert_ptr_nonnull(strstr(r.body.data, body));
    response_finish(&r);
}

static void expect_tcp(const char *headers, int status, const char *body)
{
    struct response r;
    ask(client_connect(port), "GET", "/x", headers, &r);
    ck_assert_int_eq(r.status, status);
    ck_assert_ptr_nonnull(strstr(r.body.data, body));
    response_finish(&r);
}

START_TEST(the_kernel_says_who_asks_at_the_socket)
{
    char who[64];
    struct response r;
    ask(connect_unix(socket_path), "GET", "/v1/a%20b", "", &r);
    (void)snprintf(who, sizeof(who), "GET /v1/a b body=0 who=uid=%u pid=%d rights=admin", getuid(), getpid());
    ck_assert_str_eq(r.body.data, who);
    response_finish(&r);
}
END_TEST

START_TEST(parameters_are_decoded)
{
    expect_unix("GET", "/x?image=a%2Fb%3Ac&empty=&bare", 200, "GET /x image=a/b:c empty= bare= body=0");
}
END_TEST

START_TEST(there_may_be_16_parameters)
{
    expect_unix("GET", "/x?a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a", 200, "GET /x a= a=");
    expect_unix("GET", "/x?a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a", 400, "bad_parameter");
}
END_TEST

START_TEST(a_request_without_a_certain_end_is_refused)
{
    struct response r;
    ask(client_connect(port), "GET", "/x", "Authorization: Bearer " TOKEN "\r\nContent-Length : 5\r\n", &r);
    ck_assert_int_eq(r.status, 400);
    ck_assert_ptr_nonnull(strstr(r.body.data, "bad_request"));
    response_finish(&r);
}
END_TEST

START_TEST(the_socket_is_its_owners_alone)
{
    struct stat st;
    ck_assert_int_eq(stat(socket_path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
}
END_TEST

START_TEST(an_address_asks_for_the_token)
{
    expect_tcp("", 401, "unauthorized");
    expect_tcp("Authorization: Bearer \r\n", 401, "unauthorized");
    expect_tcp("Authorization: Bearer 0123456789abcdee\r\n", 401, "unauthorized");
    expect_tcp("Authorization: Bearer 0123456789abcdef0\r\n", 401, "unauthorized");
    expect_tcp("Authorization: Basic " TOKEN "\r\n", 401, "unauthorized");
    expect_tcp("Authorization: bearer " TOKEN "\r\n", 200, "who=token 127.0.0.1 rights=admin");
}
END_TEST

START_TEST(a_token_may_be_exchanged_at_any_time)
{
    write_token("another-token-of-the-file\n");
    expect_tcp("Authorization: Bearer " TOKEN "\r\n", 401, "unauthorized");
    expect_tcp("Authorization: Bearer another-token-of-the-file\r\n", 200, "who=token");
    write_token("");
    expect_tcp("Authorization: Bearer \r\n", 401, "unauthorized");
    ck_assert_int_eq(unlink(token_path), 0);
    expect_tcp("Authorization: Bearer another-token-of-the-file\r\n", 401, "unauthorized");
}
END_TEST

static void post(size_t len, struct response *ret_response)
{
    AUTO_FREE char *body = malloc(len + 1);
    char headers[64];
    ck_assert_ptr_nonnull(body);
    memset(body, 'x', len);
    body[len] = '\0';
    int fd = connect_unix(socket_path);
    (void)snprintf(headers, sizeof(headers), "Content-Length: %zu\r\n", len);
    client_ask(fd, "POST", "/x", headers);
    for (size_t sent = 0; sent < len;) {
        ssize_t n = send(fd, body + sent, len - sent, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    client_read(fd, false, SIZE_MAX, ret_response);
    (void)close(fd);
}

START_TEST(a_body_comes_as_a_whole)
{
    struct response r;
    post(LIMIT_ADMIN_BODY, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert_ptr_nonnull(strstr(r.body.data, "POST /x body=8388608"));
    response_finish(&r);
}
END_TEST

START_TEST(a_body_without_end_is_not_taken)
{
    struct response r;
    post(LIMIT_ADMIN_BODY + 1, &r);
    ck_assert_int_eq(r.status, 0);
    response_finish(&r);
}
END_TEST

/* All that comes of an answer, as it comes. */
static void read_raw(const char *target, struct buf *text)
{
    char block[4096];
    int fd = connect_unix(socket_path);
    client_ask(fd, "GET", target, "Connection: close\r\n");
    for (ssize_t n; (n = recv(fd, block, sizeof(block), 0)) > 0;)
        ck_assert_int_eq(buf_add(text, block, (size_t)n), 0);
    (void)close(fd);
}

START_TEST(a_stream_is_sent_to_its_end)
{
    AUTO_BUF struct buf text = BUF_INIT(MIB);
    read_raw("/stream", &text);
    ck_assert_ptr_nonnull(strstr(text.data, "Content-Type: text/plain\r\n"));
    ck_assert_ptr_nonnull(strstr(text.data, "abc\n"));
    ck_assert_str_eq(text.data + text.len - 5, "0\r\n\r\n");
    admin_server_stop(TAKE_PTR(server));
    ck_assert_uint_eq(streams_finished, 1);
}
END_TEST

START_TEST(a_stream_that_breaks_has_no_end)
{
    AUTO_BUF struct buf text = BUF_INIT(MIB);
    read_raw("/broken", &text);
    ck_assert_ptr_nonnull(strstr(text.data, "200 OK"));
    ck_assert_ptr_null(strstr(text.data, "\r\n0\r\n"));
    admin_server_stop(TAKE_PTR(server));
    ck_assert_uint_eq(streams_finished, 1);
}
END_TEST

START_TEST(allowed_methods_are_told)
{
    struct response r;
    char value[64];
    ask(connect_unix(socket_path), "GET", "/method", "", &r);
    ck_assert_str_eq(response_header(&r, "Allow", value, sizeof(value)), "PUT");
    ck_assert_str_eq(response_header(&r, "Cache-Control", value, sizeof(value)), "no-store");
    ck_assert_str_eq(response_header(&r, "Content-Type", value, sizeof(value)), "application/json");
    response_finish(&r);
}
END_TEST

START_TEST(some_may_wait_and_the_stop_lets_them_go)
{
    int fds[LIMIT_ADMIN_CONNECTIONS];
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = connect_unix(socket_path);
        client_ask(fds[i], "GET", "/wait", "");
    }
    (void)pthread_mutex_lock(&admin.lock);
    while (admin.waiting < ARRAY_SIZE(fds))
        (void)pthread_cond_wait(&admin.stirred, &admin.lock);
    (void)pthread_mutex_unlock(&admin.lock);
    admin_server_stop(TAKE_PTR(server));
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        (void)close(fds[i]);
}
END_TEST

/* ------------------------------------------------------------------ what does not start, and what was left */

static void start_and_stop(void)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    struct admin_server *s;
    ck_assert_int_eq(admin_server_start(&config, &admin, guard, &s, &error), 0);
    expect_unix("GET", "/x", 200, "GET /x");
    admin_server_stop(s);
}

static void expect_no_start(const char *why)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    struct admin_server *s = NULL;
    ck_assert_int_lt(admin_server_start(&config, &admin, guard, &s, &error), 0);
    ck_assert_ptr_null(s);
    ck_assert_msg(strstr(error.data, why) != NULL, "%s", error.data);
}

START_TEST(the_socket_of_a_dead_server_is_replaced)
{
    AUTO(unix_address_finish) struct unix_address dead = {.directory = -1};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(unix_address_init(socket_path, &dead), 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&dead.address, sizeof(dead.address)), 0);
    (void)close(fd);
    start_and_stop();
}
END_TEST

START_TEST(the_socket_of_a_living_server_is_left_to_it)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    struct admin_server *first;
    ck_assert_int_eq(admin_server_start(&config, &admin, guard, &first, &error), 0);
    expect_no_start("Address already in use");
    expect_unix("GET", "/x", 200, "GET /x");
    admin_server_stop(first);
}
END_TEST

START_TEST(what_is_no_socket_is_not_removed)
{
    int fd = open(socket_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
    expect_no_start(unix_item);
    ck_assert_int_eq(unlink(socket_path), 0);
}
END_TEST

START_TEST(a_short_token_is_refused_at_the_start)
{
    write_token("short\n");
    expect_no_start("shorter than 16");
}
END_TEST

START_TEST(a_path_that_the_kernel_does_not_take_is_taken)
{
    char name[129], folder[200], *shallow = items[1];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    (void)snprintf(folder, sizeof(folder), "%s/%s", directory, name);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    (void)snprintf(socket_path, sizeof(socket_path), "%s/admin.sock", folder);
    (void)snprintf(unix_item, sizeof(unix_item), "unix:%s", socket_path);
    items[1] = NULL;
    start_and_stop();
    items[1] = shallow;
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(without_an_address_there_is_none)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    struct config off = {0};
    struct admin_server *none = (void *)&off;
    ck_assert_int_eq(admin_server_start(&off, &admin, NULL, &none, &error), 0);
    ck_assert_ptr_null(none);
    admin_server_stop(none);
}
END_TEST

/* ------------------------------------------------------------------ accounts */

#define RIGHT "$2y$04$abcdefghijklmnopqrstuuFmEfrkTQnczNzw475xE2VhDrK1uwJiC" /* of "right" */
#define BASIC(text) "Authorization: Basic " text "\r\n"
#define JO BASIC("am86cmlnaHQ=")       /* jo:right */
#define JO_WRONG BASIC("am86d3Jvbmc=") /* jo:wrong */
#define AL BASIC("YWw6cmlnaHQ=")       /* al:right */
#define BO BASIC("Ym86cmlnaHQ=")       /* bo:right */
#define LIST(...)                                                                                                      \
    {                                                                                                                  \
        .items = (char *[]){__VA_ARGS__, NULL}, .count = sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)              \
    }
#define T(s) ((char[]){s})

static char users_path[256];
static struct config_auth_rule rules[] = {
    {.users = LIST(T("jo")), .repositories = LIST(T("quay.io/company/*")), .rights = CONFIG_MAY_SEED},
    {.users = LIST(T("al")), .repositories = LIST(T("*")), .rights = CONFIG_MAY_ADMIN},
    {.users = LIST(T("bo")), .repositories = LIST(T("*")), .rights = CONFIG_MAY_PULL},
};

static void setup_accounts(void)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    prepare();
    (void)snprintf(users_path, sizeof(users_path), "%s/users", directory);
    AUTO_FCLOSE FILE *f = fopen(users_path, "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs("jo:" RIGHT "\nal:" RIGHT "\nbo:" RIGHT "\n", f), 0);
    (void)fflush(f);
    config.server.auth.htpasswd = users_path;
    config.server.auth.remember_ms = 300000;
    config.server.auth.failures = 5;
    config.server.auth.rules = rules;
    config.server.auth.rule_count = ARRAY_SIZE(rules);
    ck_assert_msg(guard_create(&config, &guard, &error) == 0, "%s", error.data);
    ck_assert_int_eq(admin_server_start(&config, &admin, guard, &server, &error), 0);
    port = client_port();
}

static void teardown_accounts(void)
{
    admin_server_stop(server);
    guard_destroy(guard);
    (void)unlink(users_path);
    (void)unlink(token_path);
    ck_assert_int_eq(rmdir(directory), 0);
}

START_TEST(who_logs_in_has_what_the_rules_give_him)
{
    for (int turn = 0; turn < 2; turn++) { /* checked, then remembered */
        expect_tcp(JO, 200, "who=user jo 127.0.0.1 rights=seed company");
        expect_tcp(AL, 200, "who=user al 127.0.0.1 rights=adminseed everywhere company");
        expect_tcp(BO, 200, "who=user bo 127.0.0.1 rights=");
    }
    expect_tcp("Authorization: Bearer " TOKEN "\r\n", 200, "who=token 127.0.0.1 rights=admin");
    expect_unix("GET", "/x", 200, "rights=admin");
}
END_TEST

START_TEST(who_does_not_is_told_how)
{
    struct response r;
    char value[256];
    ask(client_connect(port), "GET", "/x", "", &r);
    ck_assert_int_eq(r.status, 401);
    ck_assert_str_eq(response_header(&r, "WWW-Authenticate", value, sizeof(value)), "Bearer realm=\"entrepot\"");
    ck_assert_ptr_nonnull(strstr(r.head, "Basic realm=\"entrepot\", charset=\"UTF-8\""));
    response_finish(&r);
    expect_tcp("Authorization: Bearer 0123456789abcdee\r\n", 401, "unauthorized");
    expect_tcp("Authorization: Digest x\r\n", 401, "unauthorized");
}
END_TEST

START_TEST(who_fails_too_often_has_to_wait_here_too)
{
    struct response r;
    char value[64];
    expect_tcp(JO, 200, "who=user jo");
    for (int turn = 0; turn < 5; turn++)
        expect_tcp(JO_WRONG, 401, "unauthorized");
    ask(client_connect(port), "GET", "/x", JO_WRONG, &r);
    ck_assert_int_eq(r.status, 429);
    int seconds = atoi(response_header(&r, "Retry-After", value, sizeof(value)));
    ck_assert(seconds >= 1 && seconds <= 13);
    response_finish(&r);
    expect_tcp(AL, 429, "too_many_failures");
    expect_tcp(JO, 200, "who=user jo"); /* was let in before */
}
END_TEST

START_TEST(accounts_are_of_no_use_where_no_rule_gives_them_anything_here)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    admin_server_stop(server);
    config.server.auth.rules = &rules[2];
    config.server.auth.rule_count = 1;
    ck_assert_int_eq(admin_server_start(&config, &admin, guard, &server, &error), 0);
    port = client_port();
    expect_tcp(BO, 401, "unauthorized");
    expect_tcp("Authorization: Bearer " TOKEN "\r\n", 200, "who=token 127.0.0.1 rights=admin");
}
END_TEST

static void tidy_up(void)
{
    (void)unlink(token_path);
    ck_assert_int_eq(rmdir(directory), 0);
}

int main(void)
{
    Suite *s = suite_create("admin");
    TCase *t = tcase_create("requests");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, the_kernel_says_who_asks_at_the_socket);
    tcase_add_test(t, parameters_are_decoded);
    tcase_add_test(t, there_may_be_16_parameters);
    tcase_add_test(t, the_socket_is_its_owners_alone);
    tcase_add_test(t, a_request_without_a_certain_end_is_refused);
    tcase_add_test(t, an_address_asks_for_the_token);
    tcase_add_test(t, a_token_may_be_exchanged_at_any_time);
    tcase_add_test(t, a_body_comes_as_a_whole);
    tcase_add_test(t, a_body_without_end_is_not_taken);
    tcase_add_test(t, a_stream_is_sent_to_its_end);
    tcase_add_test(t, a_stream_that_breaks_has_no_end);
    tcase_add_test(t, allowed_methods_are_told);
    tcase_add_test(t, some_may_wait_and_the_stop_lets_them_go);
    suite_add_tcase(s, t);
    t = tcase_create("accounts");
    tcase_add_checked_fixture(t, setup_accounts, teardown_accounts);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, who_logs_in_has_what_the_rules_give_him);
    tcase_add_test(t, who_does_not_is_told_how);
    tcase_add_test(t, who_fails_too_often_has_to_wait_here_too);
    tcase_add_test(t, accounts_are_of_no_use_where_no_rule_gives_them_anything_here);
    suite_add_tcase(s, t);
    t = tcase_create("start");
    tcase_add_checked_fixture(t, prepare, tidy_up);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, the_socket_of_a_dead_server_is_replaced);
    tcase_add_test(t, the_socket_of_a_living_server_is_left_to_it);
    tcase_add_test(t, what_is_no_socket_is_not_removed);
    tcase_add_test(t, a_short_token_is_refused_at_the_start);
    tcase_add_test(t, a_path_that_the_kernel_does_not_take_is_taken);
    tcase_add_test(t, without_an_address_there_is_none);
    suite_add_tcase(s, t);
    return suite_run(s);
}
