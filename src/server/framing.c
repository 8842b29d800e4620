#include "server/framing.h"

#include <string.h>
#include <strings.h>

/* A token (RFC 9110 §5.6.2). */
static bool is_name(const char *s)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~";
    return *s && s[strspn(s, letters)] == '\0';
}

void framing_note(struct framing *f, const char *name, const char *value)
{
    if (!is_name(name)) {
        f->unclear = true;
    } else if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0) {
        f->hosts++;
    } else if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
        f->lengths++;
    } else if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
        f->codings++;
        f->unclear = f->unclear || strcasecmp(value, "chunked") != 0;
    }
}

bool framing_is_clear(const struct framing *f)
{
    return !f->unclear && f->hosts <= 1 && f->lengths + f->codings <= 1;
}

/* MHD_KeyValueIterator */
static enum MHD_Result note(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    framing_note(cls, name, value ? value : "");
    return MHD_YES;
}

bool framing_of_is_clear(struct MHD_Connection *connection)
{
    struct framing f = {0};
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, note, &f);
    return framing_is_clear(&f);
}
