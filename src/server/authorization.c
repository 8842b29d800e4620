#include "server/authorization.h"

#include "base/base64.h"
#include "base/controls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The part behind the scheme; NULL where it is another one. */
static const char *behind(const char *value, const char *scheme)
{
    size_t len = strlen(scheme);
    return strncasecmp(value, scheme, len) == 0 && value[len] == ' ' ? value + len + strspn(value + len, " ") : NULL;
}

static void read_basic(const char *text, struct authorization *a)
{
    size_t len;
    if (base64_decode(BASE64, text, strcspn(text, " \t"), a->memory, &len) < 0)
        return;
    a->memory[len] = '\0';
    char *colon = memchr(a->memory, ':', len);
    if (!colon || has_controls(a->memory, len))
        return;
    *colon = '\0';
    a->user = a->memory;
    a->password = colon + 1;
    a->kind = *a->user || *a->password ? AUTHORIZATION_BASIC : AUTHORIZATION_NONE;
}

static void read_bearer(const char *text, struct authorization *a)
{
    size_t len = strcspn(text, " \t");
    if (len == 0 || text[len + strspn(text + len, " \t")] != '\0')
        return;
    memcpy(a->memory, text, len);
    a->memory[len] = '\0';
    a->token = a->memory;
    a->kind = AUTHORIZATION_BEARER;
}

int authorization_parse(const char *value, struct authorization *ret_authorization)
{
    struct authorization a = {.kind = AUTHORIZATION_NONE};
    if (value && *value) {
        size_t size = strlen(value) + 4;
        a.kind = AUTHORIZATION_OTHER;
        if (size <= AUTHORIZATION_MAX) {
            a.memory = calloc(1, size);
            if (!a.memory)
                return -ENOMEM;
            a.size = size;
            const char *basic = behind(value, "Basic"), *bearer = behind(value, "Bearer");
            if (basic)
                read_basic(basic, &a);
            else if (bearer)
                read_bearer(bearer, &a);
        }
    }
    *ret_authorization = a;
    return 0;
}

void authorization_finish(struct authorization *a)
{
    if (a->memory)
        explicit_bzero(a->memory, a->size);
    free(a->memory);
    *a = (struct authorization){.kind = AUTHORIZATION_NONE};
}
