#include "upstream/credentials.h"

#include "base/base64.h"
#include "base/controls.h"
#include "base/json_text.h"
#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static void auto_secret(char **s)
{
    credentials_free(*s);
}

void credentials_free(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

/* Words that find no room are lost; the error stands. */
static void say(struct buf *why, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(struct buf *why, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = buf_vaddf(why, fmt, ap);
    (void)r;
    va_end(ap);
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Without padding too, which some tools leave out. NULL where it is no base64 of a text, or no memory is left. */
static char *decode(const char *text)
{
    size_t size = strlen(text), len;
    AUTO(auto_secret) char *out = calloc(1, BASE64_ROOM(size) + 1);
    return out && base64_decode(BASE64, text, size, out, &len) == 0 ? TAKE_PTR(out) : NULL;
}

static char *base64_encode(const char *prefix, const char *text)
{
    size_t len = strlen(text), n = strlen(prefix);
    char *out = calloc(1, n + len / 3 * 4 + 5);
    if (!out)
        return NULL;
    memcpy(out, prefix, n);
    for (size_t i = 0; i < len; i += 3) {
        uint32_t bits = (uint32_t)(uint8_t)text[i] << 16;
        if (i + 1 < len)
            bits |= (uint32_t)(uint8_t)text[i + 1] << 8;
        if (i + 2 < len)
            bits |= (uint8_t)text[i + 2];
        out[n++] = alphabet[bits >> 18];
        out[n++] = alphabet[bits >> 12 & 63];
        out[n++] = i + 1 < len ? alphabet[bits >> 6 & 63] : '=';
        out[n++] = i + 2 < len ? alphabet[bits & 63] : '=';
    }
    return out;
}

/* The key's host: "https://index.docker.io/v1/" is index.docker.io. Keys with a path of another kind are for a part of
 * a registry only ("quay.io/org", which podman writes): they match nothing here. */
static bool key_names(const char *key, const char *host)
{
    const char *scheme = strstr(key, "://");
    if (scheme)
        key = scheme + 3;
    size_t len = strcspn(key, "/");
    const char *path = key + len;
    while (*path == '/')
        path++;
    if (strcasecmp(path, "v1") != 0 && strcasecmp(path, "v1/") != 0 && strcasecmp(path, "v2") != 0 &&
        strcasecmp(path, "v2/") != 0 && *path)
        return false;
    return strlen(host) == len && strncasecmp(key, host, len) == 0;
}

static const json_t *find_entry(const json_t *auths, const struct credentials_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)auths, key, value) if (key_names(key, names->items[i])) return value;
    }
    return NULL;
}

/* "user:password" of an entry. */
static char *login_of(const json_t *entry)
{
    const char *auth = json_string_value(json_object_get(entry, "auth"));
    if (auth && auth[0])
        return decode(auth);
    const char *user = json_string_value(json_object_get(entry, "username"));
    const char *password = json_string_value(json_object_get(entry, "password"));
    char *login;
    if (!user || !password || strchr(user, ':') || asprintf(&login, "%s:%s", user, password) < 0)
        return NULL;
    return login;
}

int credentials_parse(const char *text, size_t len, const struct credentials_names *names, char **ret_basic,
                      struct buf *why)
{
    json_error_t e;
    AUTO_JSON json_t *root = NULL;
    int r = json_text_read(text, len, JSON_REJECT_DUPLICATES, &root, &e);
    if (r == -ENOMEM)
        return r;
    if (!json_is_object(root)) {
        say(why, "not a JSON object (line %d, column %d)", root ? 1 : e.line, root ? 1 : e.column);
        return -EINVAL;
    }
    const json_t *entry = find_entry(json_object_get(root, "auths"), names);
    if (!entry) {
        bool elsewhere = json_object_get(root, "credsStore") || json_object_get(root, "credHelpers");
        say(why, "has no account for %s%s", names->count ? names->items[0] : "",
            elsewhere ? " (credential helpers are not asked)" : "");
        return -ESRCH;
    }
    AUTO(auto_secret) char *login = login_of(entry);
    if (!login || !strchr(login, ':') || login[0] == ':' || has_controls(login, strlen(login))) {
        say(why, "the account for %s has no user and password that can be read", names->items[0]);
        return -EINVAL;
    }
    char *basic = base64_encode("Basic ", login);
    if (!basic)
        return -ENOMEM;
    *ret_basic = basic;
    return 0;
}

int credentials_user(const char *basic, char **ret_user)
{
    AUTO(auto_secret) char *login = strncmp(basic, "Basic ", 6) == 0 ? decode(basic + 6) : NULL;
    *ret_user = strndup(login ? login : "", login ? strcspn(login, ":") : 0);
    return *ret_user ? 0 : -ENOMEM;
}

int credentials_read(const char *file, const struct credentials_names *names, char **ret_basic, struct buf *why)
{
    AUTO_CLOSE int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int e = errno;
        say(why, "%s", strerror(e));
        return -e;
    }
    AUTO(auto_secret) char *text = calloc(1, LIMIT_CREDENTIALS_FILE + 1);
    if (!text)
        return -ENOMEM;
    size_t len = 0;
    ssize_t n;
    while (len <= LIMIT_CREDENTIALS_FILE && (n = read(fd, text + len, LIMIT_CREDENTIALS_FILE + 1 - len)) != 0) {
        if (n > 0) {
            len += (size_t)n;
        } else if (errno != EINTR) {
            int e = errno;
            say(why, "%s", strerror(e));
            return -e;
        }
    }
    int r = len > LIMIT_CREDENTIALS_FILE ? -EFBIG : 0;
    if (r < 0) {
        text[len - 1] = '\0';
        say(why, "is too large");
        return r;
    }
    return credentials_parse(text, len, names, ret_basic, why);
}
