/*
 * JSON that comes in, read by jansson. Where a token's text finds no memory jansson goes on with a shorter one, and a
 * manifest would be without a layer: here each allocation of jansson's that fails is seen, and the text is not read.
 */
#pragma once

#include "base/auto.h"

#include <jansson.h>

AUTO_DEFINE(json_t, json_decref);
#define AUTO_JSON AUTO(auto_json_decref)

/* `flags`: of json_loadb(). 0; -EINVAL: no JSON, and `ret_error` (which may be NULL) says where; or -ENOMEM. The value
 * is the caller's to json_decref(). Any thread. */
MUST_CHECK int json_text_read(const char *text, size_t len, size_t flags, json_t **ret_json, json_error_t *ret_error);
