/* Taking away, and seeing what takes the room. */
#include "admin/routes.h"
#include "mirror/inventory.h"

#include <errno.h>

void image_delete(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    struct inventory_name name;
    struct inventory_removed removed;
    char text[INVENTORY_NAME_TEXT];
    if (admin_image_param(a, request, reply, &name) < 0)
        return;
    int r = inventory_remove(a->mirror, &name, &removed);
    (void)inventory_name_format(&name, text);
    admin_audit(request, "remove", text, r == 0 ? "done" : "failed");
    if (r == 0)
        admin_answer(reply, json_pack("{s:s, s:b, s:I, s:I, s:s}", "image", text, "tag_forgotten", removed.tag, "blobs",
                                      (json_int_t)removed.blobs, "bytes", (json_int_t)removed.bytes, "kept_for",
                                      removed.kept_for));
    else if (r == -EBUSY)
        admin_fail(reply, 409, "pinned", "%s is pinned; unpin it first", text);
    else if (r == -ENOENT)
        admin_fail(reply, 404, "not_found", "%s is not stored here", text);
    else
        admin_fail_errno(reply, r, text);
}

void purge_post(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    const char *pattern = admin_param(request, "pattern");
    uint64_t count;
    int r = inventory_purge(a->mirror, pattern, &count);
    admin_audit(request, "purge", pattern ? pattern : "*", r == 0 ? "done" : "failed");
    if (r == 0)
        admin_answer(reply, json_pack("{s:I}", "purged", (json_int_t)count));
    else
        admin_fail_errno(reply, r, "the tags");
}

static json_t *describe_garbage(const struct inventory_garbage *g, bool dry_run)
{
    return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "dry_run", dry_run, "blobs",
                     (json_int_t)g->blobs, "blob_bytes", (json_int_t)g->blob_bytes, "partials", (json_int_t)g->partials,
                     "partial_bytes", (json_int_t)g->partial_bytes, "quarantined", (json_int_t)g->quarantined,
                     "quarantine_bytes", (json_int_t)g->quarantine_bytes, "expired_pins", (json_int_t)g->pins,
                     "unknown", (json_int_t)g->unknown, "unknown_bytes", (json_int_t)g->unknown_bytes);
}

void gc_post(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    struct inventory_garbage garbage;
    bool dry_run;
    if (admin_param_bool(request, reply, "dry_run", &dry_run) < 0)
        return;
    int r = inventory_collect(a->mirror, dry_run, &garbage);
    if (!dry_run)
        admin_audit(request, "gc", NULL, r == 0 ? "done" : "failed");
    if (r == 0)
        admin_answer(reply, describe_garbage(&garbage, dry_run));
    else
        admin_fail_errno(reply, r, "the store");
}

static void add_usage(void *arg, const struct inventory_usage *u)
{
    (void)json_array_append_new(arg, json_pack("{s:s, s:I, s:I, s:I}", "repository", u->repository, "manifests",
                                               (json_int_t)u->manifests, "own_bytes", (json_int_t)u->own,
                                               "shared_bytes", (json_int_t)u->shared));
}

void usage_get(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    json_t *list = json_array();
    struct inventory_usage_sum sum;
    int r = list ? inventory_usage(a->mirror, add_usage, list, &sum) : -ENOMEM;
    (void)request;
    if (r == 0) {
        admin_answer(reply,
                     json_pack("{s:o, s:I, s:I, s:I}", "repositories", list, "bytes", (json_int_t)sum.bytes,
                               "shared_bytes", (json_int_t)sum.shared, "unnamed_bytes", (json_int_t)sum.unnamed));
        return;
    }
    json_decref(list);
    admin_fail_errno(reply, r, "the account");
}
