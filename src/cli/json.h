/* Short ways into the server's answers: what is missing is 0, "" or NULL. */
#pragma once

#include <jansson.h>
#include <stdint.h>

static inline const json_t *json_at(const json_t *of, const char *key)
{
    return json_object_get(of, key);
}

static inline int64_t json_number(const json_t *of, const char *key)
{
    return json_integer_value(json_object_get(of, key));
}

static inline uint64_t json_bytes(const json_t *of, const char *key)
{
    int64_t n = json_number(of, key);
    return n > 0 ? (uint64_t)n : 0;
}

static inline const char *json_text(const json_t *of, const char *key)
{
    const char *s = json_string_value(json_object_get(of, key));
    return s ? s : "";
}

static inline int json_flag(const json_t *of, const char *key)
{
    return json_is_true(json_object_get(of, key));
}
