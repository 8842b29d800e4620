/* What who asks may do, by repository. */
#include "admin/handler.h"
#include "base/limits.h"
#include "mirror/inventory.h"

#include <string.h>

bool admin_may_everywhere(const struct admin_request *request)
{
    return request->rights.admin || request->rights.seed_everywhere;
}

bool admin_may(const struct admin_request *request, const char *registry, const char *repository)
{
    const struct admin_rights *r = &request->rights;
    return admin_may_everywhere(request) || (r->seed && r->may_seed(r->arg, registry, repository));
}

bool admin_may_repository(const struct admin_request *request, const char *name)
{
    char registry[LIMIT_NAME + 1];
    size_t len = strcspn(name, "/");
    if (len >= sizeof(registry) || !name[len])
        return admin_may_everywhere(request);
    memcpy(registry, name, len);
    registry[len] = '\0';
    return admin_may(request, registry, name + len + 1);
}

bool admin_may_image(struct admin *a, const struct admin_request *request, const char *image)
{
    struct inventory_name name;
    if (admin_may_everywhere(request))
        return true;
    return inventory_repository_of(a->mirror, image, &name) == 0 && admin_may(request, name.registry, name.repository);
}

void admin_forbid(const struct admin_request *request, struct admin_reply *reply, const char *right, const char *what)
{
    char asked[128], lacks[512];
    const char *limit = request->rights.limit;
    (void)snprintf(asked, sizeof(asked), "%s %s", request->method, request->path);
    (void)snprintf(lacks, sizeof(lacks), "lacks %s%s%.300s", right, what ? " for " : "", what ? what : "");
    admin_audit(request, "refused", asked, lacks);
    admin_fail(reply, 403, "forbidden", "%s %s: %s", request->who, lacks,
               limit ? limit : "no rule gives it (server.auth.rules)");
}
