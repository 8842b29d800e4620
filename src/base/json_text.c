#include "base/json_text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

static _Thread_local bool has_failed;

static void *watched_malloc(size_t size)
{
    void *p = malloc(size);
    if (!p)
        has_failed = true;
    return p;
}

static void plain_free(void *p)
{
    free(p);
}

/* Before there is a second thread, which could read what is set here. */
__attribute__((constructor)) static void watch_jansson(void)
{
    json_set_alloc_funcs(watched_malloc, plain_free);
}

int json_text_read(const char *text, size_t len, size_t flags, json_t **ret_json, json_error_t *ret_error)
{
    has_failed = false;
    AUTO_JSON json_t *json = json_loadb(text ? text : "", len, flags, ret_error);
    if (has_failed)
        return -ENOMEM;
    if (!json)
        return -EINVAL;
    *ret_json = TAKE_PTR(json);
    return 0;
}
