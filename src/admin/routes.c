#include "admin/routes.h"

const struct admin_route admin_routes[] = {
    {"GET", "/v1/status", "", status_get},
    {NULL},
};
