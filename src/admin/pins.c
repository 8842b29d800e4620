#include "admin/routes.h"
#include "base/clock.h"
#include "base/digest.h"
#include "mirror/inventory.h"

#include <errno.h>
#include <string.h>

/* Patterns and digests are no repository's: they take all of them. */
static bool may_pin(struct admin *a, const struct admin_request *request, const char *what)
{
    struct inventory_name name;
    struct digest digest;
    const char *why;
    if (admin_may_everywhere(request))
        return true;
    return !inventory_is_pattern(what) && !strchr(what, '@') && digest_parse(what, strlen(what), &digest) < 0 &&
           inventory_name_parse(a->mirror, what, &name, &why) == 0 &&
           admin_may(request, name.registry, name.repository);
}

struct list {
    struct admin *admin;
    const struct admin_request *request;
    json_t *pins;
};

static int add_pin(void *arg, const struct inventory_pin *pin)
{
    struct list *l = arg;
    if (!may_pin(l->admin, l->request, pin->text))
        return 0;
    json_t *json = json_pack("{s:s, s:b, s:I, s:s}", "what", pin->text, "pattern", pin->is_pattern, "expires_at",
                             (json_int_t)pin->expires_at, "origin", pin->origin);
    return json_array_append_new(l->pins, json) < 0 ? -ENOMEM : 0;
}

void pins_get(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    json_t *pins = json_array();
    struct list list = {.admin = a, .request = request, .pins = pins};
    int r = pins ? inventory_pins(a->mirror, add_pin, &list) : -ENOMEM;
    if (r == 0) {
        admin_answer(reply, json_pack("{s:I, s:o}", "now", (json_int_t)clock_real_ms(), "pins", pins));
        return;
    }
    json_decref(pins);
    admin_fail_errno(reply, r, "the pins");
}

static void answer_change(struct admin_reply *reply, int r, const char *what, const char *why)
{
    if (r == 0)
        admin_answer(reply, json_pack("{s:s}", "what", what));
    else if (r == -EINVAL)
        admin_fail(reply, 400, "bad_name", "%s: %s", what, why);
    else if (r == -ENOSPC)
        admin_fail(reply, 409, "too_many", "%s: %s", what, why);
    else if (r == -ENOENT)
        admin_fail(reply, 404, "not_found", "%s is not pinned", what);
    else
        admin_fail_errno(reply, r, what);
}

/* {"what": NAME or PATTERN, "for_ms": 2592000000, "origin": "…"}; the last two may be left out */
void pins_post(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    json_t *body = admin_body(request, reply);
    json_error_t error;
    const char *what, *origin = "", *why = "";
    json_int_t for_ms = 0;
    if (!body)
        return;
    if (json_unpack_ex(body, &error, JSON_STRICT, "{s:s, s?I, s?s}", "what", &what, "for_ms", &for_ms, "origin",
                       &origin) < 0) {
        admin_fail(reply, 400, "bad_body", "%s", error.text);
    } else if (for_ms < 0 || for_ms > INT64_MAX / 2) {
        admin_fail(reply, 400, "bad_body", "for_ms is a time from now on, or 0");
    } else if (!may_pin(a, request, what)) {
        admin_forbid(request, reply, "seed", what);
    } else {
        int r = inventory_pin(a->mirror, what, for_ms ? clock_real_ms() + for_ms : 0, origin, &why);
        admin_audit(request, "pin", what, r == 0 ? "done" : "failed");
        answer_change(reply, r, what, why);
    }
    json_decref(body);
}

void pins_delete(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    const char *what = admin_param(request, "what"), *why = "";
    if (!what) {
        admin_fail(reply, 400, "bad_parameter", "unpin what? (parameter what)");
        return;
    }
    if (!may_pin(a, request, what)) {
        admin_forbid(request, reply, "seed", what);
        return;
    }
    int r = inventory_unpin(a->mirror, what, &why);
    admin_audit(request, "unpin", what, r == 0 ? "done" : "failed");
    answer_change(reply, r, what, why);
}
