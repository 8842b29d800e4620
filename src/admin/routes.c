#include "admin/routes.h"

const struct admin_route admin_routes[] = {
    {"GET", "/v1/status", "", ADMIN_NEEDS_SEED, status_get},
    {"GET", "/v1/images", "pattern after limit", ADMIN_NEEDS_SEED, images_get},
    {"GET", "/v1/tags", "repository after limit", ADMIN_NEEDS_SEED, tags_get},
    {"GET", "/v1/image", "image", ADMIN_NEEDS_SEED, image_get},
    {"DELETE", "/v1/image", "image", ADMIN_NEEDS_ADMIN, image_delete},
    {"GET", "/v1/explain", "image", ADMIN_NEEDS_SEED, explain_get},
    {"GET", "/v1/pins", "", ADMIN_NEEDS_SEED, pins_get},
    {"POST", "/v1/pins", "", ADMIN_NEEDS_SEED, pins_post},
    {"DELETE", "/v1/pins", "what", ADMIN_NEEDS_SEED, pins_delete},
    {"POST", "/v1/purge", "pattern", ADMIN_NEEDS_ADMIN, purge_post},
    {"POST", "/v1/gc", "dry_run", ADMIN_NEEDS_ADMIN, gc_post},
    {"GET", "/v1/usage", "", ADMIN_NEEDS_ADMIN, usage_get},
    {"POST", "/v1/audit", "", ADMIN_NEEDS_SEED, audit_post},
    {"GET", "/v1/backup", "since at metadata", ADMIN_NEEDS_ADMIN, backup_get},
    {"POST", "/v1/backup", "", ADMIN_NEEDS_ADMIN, backup_post},
    {"GET", "/v1/seeds", "", ADMIN_NEEDS_SEED, seeds_get},
    {"POST", "/v1/seeds", "dry_run", ADMIN_NEEDS_SEED, seeds_post},
    {"GET", "/v1/seeds/*", "after images wait", ADMIN_NEEDS_SEED, seed_get},
    {"DELETE", "/v1/seeds/*", "stop", ADMIN_NEEDS_SEED, seed_delete},
    {NULL},
};
