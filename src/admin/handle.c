/* The way of a request: its route, its parameters, its handler; and what handlers answer with. */
#include "admin/handler.h"
#include "base/limits.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* ------------------------------------------------------------------ parameters and body */

const char *admin_param(const struct admin_request *request, const char *name)
{
    for (size_t i = 0; i < request->param_count; i++)
        if (strcmp(request->params[i].name, name) == 0)
            return request->params[i].value;
    return NULL;
}

int admin_param_bool(const struct admin_request *request, struct admin_reply *reply, const char *name, bool *ret_value)
{
    const char *value = admin_param(request, name);
    bool yes = value && (strcmp(value, "1") == 0 || strcmp(value, "true") == 0);
    if (value && !yes && strcmp(value, "0") != 0 && strcmp(value, "false") != 0) {
        admin_fail(reply, 400, "bad_parameter", "%s is 1 or 0", name);
        return -EINVAL;
    }
    *ret_value = yes;
    return 0;
}

json_t *admin_body(const struct admin_request *request, struct admin_reply *reply)
{
    json_error_t error;
    AUTO_JSON json_t *json = NULL;
    int r = json_text_read(request->body, request->body_len, JSON_REJECT_DUPLICATES, &json, &error);
    if (json_is_object(json))
        return TAKE_PTR(json);
    if (json)
        admin_fail(reply, 400, "bad_body", "the body is to be a JSON object");
    else if (r == -EINVAL)
        admin_fail(reply, 400, "bad_body", "the body is not JSON: line %d: %s", error.line, error.text);
    else
        admin_fail_errno(reply, r, "the body");
    return NULL;
}

/* ------------------------------------------------------------------ answers */

void admin_answer(struct admin_reply *reply, json_t *json)
{
    json_decref(reply->json);
    reply->json = json;
    reply->status = json ? 200 : 500;
}

static void fail(struct admin_reply *reply, int status, const char *code, const char *message)
{
    admin_answer(reply, json_pack("{s:{s:s, s:s}}", "error", "code", code, "message", message));
    reply->status = status;
}

void admin_fail(struct admin_reply *reply, int status, const char *code, const char *fmt, ...)
{
    AUTO_BUF struct buf message = BUF_INIT(4 * KIB);
    va_list ap;
    va_start(ap, fmt);
    int r = buf_vaddf(&message, fmt, ap);
    va_end(ap);
    fail(reply, status, code, r == 0 ? message.data : "the message is too long");
}

void admin_fail_errno(struct admin_reply *reply, int error, const char *what)
{
    bool absent = error == -ENOENT;
    admin_fail(reply,
               absent             ? 404
               : error == -ENOMEM ? 503
                                  : 500,
               absent ? "not_found" : "failed", "%s: %s", what, absent ? "there is none" : strerror(-error));
}

/* Text of the JSON: after it the reply has a body, or a status alone. */
static void finish_text(struct admin_reply *reply)
{
    reply->text = reply->json ? json_dumps(reply->json, JSON_COMPACT) : NULL;
    json_decref(reply->json);
    reply->json = NULL;
    reply->len = reply->text ? strlen(reply->text) : 0;
    if (!reply->text || reply->len > LIMIT_ADMIN_ANSWER) {
        free(TAKE_PTR(reply->text));
        reply->len = 0;
        if (reply->status < 400)
            reply->status = 500;
    }
}

void admin_refuse(struct admin_reply *reply, int status, const char *code, const char *message)
{
    fail(reply, status, code, message);
    finish_text(reply);
}

void admin_reply_finish(struct admin_reply *reply)
{
    if (reply->finish)
        reply->finish(reply->arg);
    json_decref(reply->json);
    free(reply->text);
    *reply = (struct admin_reply){0};
}

/* ------------------------------------------------------------------ the route */

/* ret_id: what stands for the `*`, or NULL. */
static bool is_path(const char *pattern, const char *path, const char **ret_id)
{
    size_t len = strlen(pattern);
    *ret_id = NULL;
    if (pattern[len - 1] != '*')
        return strcmp(pattern, path) == 0;
    if (strncmp(pattern, path, len - 1) != 0 || path[len - 1] == '\0' || strchr(path + len - 1, '/'))
        return false;
    *ret_id = path + len - 1;
    return true;
}

/* One of the words of `list`. */
static bool is_listed(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = list; len > 0 && (p = strstr(p, word)); p += len)
        if ((p == list || p[-1] == ' ') && (p[len] == ' ' || p[len] == '\0'))
            return true;
    return false;
}

/* A misspelt parameter is no parameter: what is to be tried only would be done. */
static const char *find_stranger(const struct admin_route *route, const struct admin_request *request)
{
    for (size_t i = 0; i < request->param_count; i++)
        if (!is_listed(route->parameters, request->params[i].name))
            return request->params[i].name;
    return NULL;
}

static void call(struct admin *a, const struct admin_route *route, const struct admin_request *request,
                 struct admin_reply *reply)
{
    const char *stranger = find_stranger(route, request);
    const struct admin_rights *rights = &request->rights;
    if (!rights->admin && route->needs == ADMIN_NEEDS_ADMIN)
        admin_forbid(request, reply, "admin", NULL);
    else if (!rights->admin && !rights->seed)
        admin_forbid(request, reply, "seed", NULL);
    else if (stranger)
        admin_fail(reply, 400, "bad_parameter", "there is no parameter %s", stranger);
    else
        route->handler(a, request, reply);
}

/* NULL: none of that path has the method; `allow` has those that there are, nothing where there is no such path. */
static const struct admin_route *find_route(struct admin_request *request, char *allow, size_t allow_cap)
{
    size_t used = 0;
    for (const struct admin_route *r = admin_routes; r->method; r++) {
        if (!is_path(r->path, request->path, &request->id))
            continue;
        if (strcmp(r->method, request->method) == 0)
            return r;
        int n = snprintf(allow + used, allow_cap - used, "%s%s", used ? ", " : "", r->method);
        used += n > 0 && (size_t)n < allow_cap - used ? (size_t)n : 0;
    }
    return NULL;
}

void admin_handle(struct admin *a, struct admin_request *request, struct admin_reply *reply)
{
    char allow[sizeof(reply->allow)] = "";
    const struct admin_route *route = find_route(request, allow, sizeof(allow));
    reply->status = 500;
    if (route) {
        call(a, route, request, reply);
    } else if (*allow) {
        memcpy(reply->allow, allow, sizeof(allow));
        admin_fail(reply, 405, "bad_method", "%s takes %s only", request->path, allow);
    } else {
        admin_fail(reply, 404, "no_such_path", "there is no %s", request->path);
    }
    if (!reply->read)
        finish_text(reply);
}
