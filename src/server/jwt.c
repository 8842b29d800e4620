#include "server/jwt.h"

#include "base/base64.h"
#include "base/json_text.h"
#include "server/jwt_keys.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct jwt {
    char *text; /* a copy, as it came */
    size_t signed_len;
    json_t *header, *claims;
    uint8_t *signature;
    size_t signature_len;
};

/* A part without its padding, which a JWS must not have (RFC 7515 §2). */
static int decode(const char *part, size_t len, uint8_t **ret_bytes, size_t *ret_len)
{
    if (len == 0 || part[len - 1] == '=')
        return -EINVAL;
    AUTO_FREE uint8_t *bytes = malloc(BASE64_ROOM(len));
    if (!bytes)
        return -ENOMEM;
    if (base64_decode(BASE64_URL, part, len, bytes, ret_len) < 0)
        return -EINVAL;
    *ret_bytes = TAKE_PTR(bytes);
    return 0;
}

static int decode_object(const char *part, size_t len, json_t **ret_object)
{
    AUTO_FREE uint8_t *bytes = NULL;
    size_t n;
    int r = decode(part, len, &bytes, &n);
    if (r < 0)
        return r;
    AUTO_JSON json_t *object = NULL;
    r = json_text_read((const char *)bytes, n, JSON_REJECT_DUPLICATES, &object, NULL);
    if (r < 0)
        return r;
    if (!json_is_object(object))
        return -EINVAL;
    *ret_object = TAKE_PTR(object);
    return 0;
}

int jwt_create(const char *token, struct jwt **ret_jwt)
{
    const size_t len = strlen(token);
    const char *first = strchr(token, '.'), *second = first ? strchr(first + 1, '.') : NULL;
    if (len > JWT_MAX || !second || strchr(second + 1, '.'))
        return -EINVAL;
    AUTO(auto_jwt_destroy) struct jwt *t = calloc(1, sizeof(*t));
    if (!t || !(t->text = strdup(token)))
        return -ENOMEM;
    t->signed_len = (size_t)(second - token);
    int r = decode_object(token, (size_t)(first - token), &t->header);
    if (r == 0)
        r = decode_object(first + 1, (size_t)(second - first) - 1, &t->claims);
    if (r == 0)
        r = decode(second + 1, strlen(second + 1), &t->signature, &t->signature_len);
    /* What must be understood is not (RFC 7515 §4.1.11). */
    if (r == 0 && (!json_is_string(json_object_get(t->header, "alg")) || json_object_get(t->header, "crit")))
        r = -EINVAL;
    if (r == 0)
        *ret_jwt = TAKE_PTR(t);
    return r;
}

void jwt_destroy(struct jwt *t)
{
    if (!t)
        return;
    if (t->text)
        explicit_bzero(t->text, strlen(t->text));
    free(t->text);
    free(t->signature);
    json_decref(t->header);
    json_decref(t->claims);
    free(t);
}

static bool is_signed(const struct jwt *t, const struct jwt_keys *keys)
{
    const char *algorithm = json_string_value(json_object_get(t->header, "alg"));
    const char *id = json_string_value(json_object_get(t->header, "kid"));
    return jwt_keys_verify(keys, algorithm, id, t->text, t->signed_len, t->signature, t->signature_len);
}

static bool is_for(const struct jwt *t, const char *audience)
{
    const json_t *aud = json_object_get(t->claims, "aud");
    const char *one = json_string_value(aud);
    for (size_t i = 0; !one && i < json_array_size(aud); i++) {
        const char *member = json_string_value(json_array_get(aud, i));
        if (member && strcmp(member, audience) == 0)
            return true;
    }
    return one && strcmp(one, audience) == 0;
}

/* Seconds since 1970 (RFC 7519 §2), or `absent` where there is none; what is no number is never fulfilled. */
static double seconds(const struct jwt *t, const char *claim, double absent)
{
    const json_t *value = json_object_get(t->claims, claim);
    return !value ? absent : json_is_number(value) ? json_number_value(value) : (double)NAN;
}

const char *jwt_find_flaw(const struct jwt *t, const struct jwt_keys *keys, const struct jwt_terms *terms)
{
    const double now = (double)terms->now_ms / 1000, leeway = (double)terms->leeway_ms / 1000;
    const char *issuer = json_string_value(json_object_get(t->claims, "iss"));
    if (!is_signed(t, keys))
        return "the token is not signed by a key that is known here";
    if (!issuer || strcmp(issuer, terms->issuer) != 0)
        return "the token is of another issuer";
    if (!is_for(t, terms->audience))
        return "the token is for another audience";
    if (!(now < seconds(t, "exp", (double)NAN) + leeway))
        return "the token has expired";
    if (!(now + leeway >= seconds(t, "nbf", now)) || !(now + leeway >= seconds(t, "iat", now)))
        return "the token is not good yet";
    return NULL;
}

const char *jwt_subject(const struct jwt *t)
{
    const char *subject = json_string_value(json_object_get(t->claims, "sub"));
    return subject ? subject : "";
}

static bool has_text(const json_t *object, const char *name, const char *text)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value && strcmp(value, text) == 0;
}

static bool has_action(const json_t *entry, const char *action)
{
    const json_t *actions = json_object_get(entry, "actions");
    for (size_t i = 0; i < json_array_size(actions); i++) {
        const char *value = json_string_value(json_array_get(actions, i));
        if (value && (strcmp(value, action) == 0 || strcmp(value, "*") == 0))
            return true;
    }
    return false;
}

bool jwt_grants(const struct jwt *t, const char *type, const char *name, const char *action)
{
    const json_t *access = json_object_get(t->claims, "access");
    size_t count = json_array_size(access);
    for (size_t i = 0; i < count && i < JWT_ACCESS_MAX; i++) {
        const json_t *entry = json_array_get(access, i);
        if (has_text(entry, "type", type) && has_text(entry, "name", name) && has_action(entry, action))
            return true;
    }
    return false;
}
