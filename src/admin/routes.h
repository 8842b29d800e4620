/* The handlers of the table of routes, by the file that has them. */
#pragma once

#include "admin/handler.h"

admin_handler audit_post;                                   /* audit.c */
admin_handler backup_get, backup_post;                      /* backup.c */
admin_handler status_get;                                   /* status.c */
admin_handler seeds_get, seeds_post, seed_get, seed_delete; /* seeds.c */
