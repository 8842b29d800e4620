/* The handlers of the table of routes, by the file that has them. */
#pragma once

#include "admin/handler.h"

/* status.c */
admin_handler status_get;

/* images.c */
struct inventory_name;
admin_handler images_get, tags_get, image_get;
/* The image that the request names; -EINVAL: none that there can be; -EACCES: none of his; and the reply says so. */
MUST_CHECK int admin_image_param(struct admin *a, const struct admin_request *request, struct admin_reply *reply,
                                 struct inventory_name *ret_name);

/* pins.c */
admin_handler pins_get, pins_post, pins_delete;

/* tidy.c */
admin_handler image_delete, purge_post, gc_post, usage_get;

/* explain.c */
admin_handler explain_get;

/* audit.c */
admin_handler audit_post;

/* backup.c */
admin_handler backup_get, backup_post;

/* seeds.c */
admin_handler seeds_get, seeds_post, seed_get, seed_delete;
