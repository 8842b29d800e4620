#include "admin/routes.h"

const struct admin_route admin_routes[] = {
    {"GET", "/v1/status", "", status_get},
    {"GET", "/v1/images", "pattern after limit", images_get},
    {"GET", "/v1/tags", "repository after limit", tags_get},
    {"GET", "/v1/image", "image", image_get},
    {"DELETE", "/v1/image", "image", image_delete},
    {"GET", "/v1/explain", "image", explain_get},
    {"GET", "/v1/pins", "", pins_get},
    {"POST", "/v1/pins", "", pins_post},
    {"DELETE", "/v1/pins", "what", pins_delete},
    {"POST", "/v1/purge", "pattern", purge_post},
    {"POST", "/v1/gc", "dry_run", gc_post},
    {"GET", "/v1/usage", "", usage_get},
    {"POST", "/v1/audit", "", audit_post},
    {"GET", "/v1/backup", "since at metadata", backup_get},
    {"POST", "/v1/backup", "", backup_post},
    {"GET", "/v1/seeds", "", seeds_get},
    {"POST", "/v1/seeds", "dry_run", seeds_post},
    {"GET", "/v1/seeds/*", "after images wait", seed_get},
    {"DELETE", "/v1/seeds/*", "stop", seed_delete},
    {NULL},
};
