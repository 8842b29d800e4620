#include "server/htpasswd.h"

#include "base/hash.h"

#include <crypt.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    const char *user, *hash;
};

struct htpasswd {
    char *text; /* what the entries point into */
    size_t count;
    struct entry entries[]; /* by user */
};

static int by_user(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->user, ((const struct entry *)b)->user);
}

static int say(struct buf *why, size_t line, const char *what)
{
    return buf_addf(why, "line %zu: %s", line, what) < 0 ? -ENOMEM : -EINVAL;
}

/* The rest of `s` behind `prefix`, or NULL. */
static const char *behind(const char *s, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(s, prefix, len) == 0 ? s + len : NULL;
}

/* Whether a check takes no longer than HTPASSWD_COST_MAX and the like allow: crypt(5) has the forms. The digits of
 * yescrypt and scrypt are in the order of their characters. */
static bool is_affordable(const char *hash)
{
    const char *p;
    if (hash[0] == '$' && hash[1] == '2' && hash[2] && hash[3] == '$')
        return strtoul(hash + 4, NULL, 10) <= HTPASSWD_COST_MAX;
    if ((p = behind(hash, "$6$"))) {
        p = behind(p, "rounds=");
        return !p || strtoul(p, NULL, 10) <= HTPASSWD_ROUNDS_MAX;
    }
    if ((p = behind(hash, "$y$j")) || (p = behind(hash, "$gy$j")))
        return p[0] && p[0] <= 'B' && p[1] && p[1] <= 'T' && p[2] == '$'; /* N of 2^14, r of 32: a cost of 7 */
    p = behind(hash, "$7$");
    return p && p[0] && p[0] <= 'C' && behind(p + 1, "U..../...."); /* the same, p of 1 */
}

/* NULL, or what is wrong. */
static const char *check_hash(const char *hash)
{
    if (strlen(hash) >= HTPASSWD_HASH_MAX)
        return "the hash is too long";
    int r = crypt_checksalt(hash);
    if (r != CRYPT_SALT_OK && r != CRYPT_SALT_TOO_CHEAP)
        return "the hash is none that is taken: make it with htpasswd -B";
    return is_affordable(hash) ? NULL : "the hash costs too much to check: make it with htpasswd -B, and -C 14 at most";
}

static int read_line(struct htpasswd *h, char *line, size_t number, struct buf *why)
{
    char *end = line + strlen(line);
    while (end > line && strchr(" \t\r", end[-1]))
        *--end = '\0';
    line += strspn(line, " \t");
    if (*line == '\0' || *line == '#')
        return 0;
    char *colon = strchr(line, ':');
    if (!colon || colon == line)
        return say(why, number, "user:hash is expected");
    *colon = '\0';
    const char *wrong = check_hash(colon + 1);
    if (wrong)
        return say(why, number, wrong);
    h->entries[h->count++] = (struct entry){.user = line, .hash = colon + 1};
    return 0;
}

int htpasswd_parse(const char *text, size_t len, struct htpasswd **ret_htpasswd, struct buf *why)
{
    size_t lines = 1;
    if (len > 0 && memchr(text, '\0', len))
        return say(why, 1, "not a text");
    for (size_t i = 0; i < len; i++)
        lines += text[i] == '\n';
    AUTO(auto_htpasswd_destroy) struct htpasswd *h = calloc(1, sizeof(*h) + lines * sizeof(h->entries[0]));
    if (!h || !(h->text = strndup(len ? text : "", len)))
        return -ENOMEM;
    char *rest = h->text;
    size_t number = 0;
    for (char *line; (line = strsep(&rest, "\n"));) {
        int r = read_line(h, line, ++number, why);
        if (r < 0)
            return r;
    }
    qsort(h->entries, h->count, sizeof(h->entries[0]), by_user);
    for (size_t i = 1; i < h->count; i++)
        if (strcmp(h->entries[i - 1].user, h->entries[i].user) == 0)
            return buf_adds(why, "a user is said twice") < 0 ? -ENOMEM : -EINVAL;
    *ret_htpasswd = TAKE_PTR(h);
    return 0;
}

void htpasswd_destroy(struct htpasswd *h)
{
    if (!h)
        return;
    if (h->text)
        explicit_bzero(h->text, strlen(h->text));
    free(h->text);
    free(h);
}

size_t htpasswd_count(const struct htpasswd *h)
{
    return h->count;
}

const char *htpasswd_find(const struct htpasswd *h, const char *user)
{
    const struct entry wanted = {.user = user};
    const struct entry *found =
        h->count > 0 ? bsearch(&wanted, h->entries, h->count, sizeof(h->entries[0]), by_user) : NULL;
    return found ? found->hash : NULL;
}

const char *htpasswd_decoy(const struct htpasswd *h, const char *user)
{
    return h->count > 0 ? h->entries[hash_string(user) % h->count].hash : NULL;
}

/* In a time that does not depend on where they differ. */
static bool is_same(const char *a, const char *b)
{
    size_t len = strlen(a);
    return len == strlen(b) && gnutls_memcmp(a, b, len) == 0;
}

bool htpasswd_verify(const char *hash, const char *password)
{
    struct crypt_data *data = calloc(1, sizeof(*data)); /* 32 KiB: too much for a stack */
    const char *made = data ? crypt_r(password, hash, data) : NULL;
    bool good = made && made[0] != '*' && is_same(made, hash);
    if (data)
        explicit_bzero(data, sizeof(*data));
    free(data);
    return good;
}
