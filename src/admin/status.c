#include "admin/routes.h"
#include "base/clock.h"
#include "blobstore/blobstore.h"
#include "config/config.h"

static json_t *describe_store(struct admin *a)
{
    struct blobstore_totals totals;
    uint64_t size, available;
    if (blobstore_totals(a->store, &totals) < 0 || blobstore_room(a->store, &size, &available) < 0)
        return NULL;
    const struct config *config = admin_hold_config(a);
    json_int_t max = (json_int_t)config_room_bytes(&config->store.max_size, size);
    json_t *store =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "path", config->store.path, "blobs", (json_int_t)totals.blobs,
                  "bytes", (json_int_t)totals.bytes, "content_bytes", (json_int_t)totals.content, "max_bytes", max,
                  "disk_bytes", (json_int_t)size, "disk_available", (json_int_t)available);
    admin_release_config(a);
    return store;
}

void status_get(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    (void)request;
    admin_answer(reply,
                 json_pack("{s:s, s:I, s:I, s:o}", "version", ENTREPOT_VERSION, "started_at", (json_int_t)a->started_at,
                           "now", (json_int_t)clock_real_ms(), "store", describe_store(a)));
}
