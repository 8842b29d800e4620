#include "base/image_name.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define DOCKER_HUB "docker.io"

static const char lower_and_digits[] = "abcdefghijklmnopqrstuvwxyz0123456789";
static const char letters_and_digits[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
static const char hexadecimal[] = "0123456789abcdef";

/* --- grammar ------------------------------------------------------------------------------------------------ */

/* The length of a separator inside a path component: "." "_" "__" or any number of "-"; 0 where there is none. */
static size_t separator(const char *s)
{
    if (s[0] == '.')
        return 1;
    if (s[0] == '_')
        return s[1] == '_' ? 2 : 1;
    return strspn(s, "-");
}

/* [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* joined by slashes */
bool repository_is_valid(const char *path)
{
    for (;;) {
        size_t word = strspn(path, lower_and_digits);
        if (word == 0)
            return false;
        path += word;
        if (!*path)
            return true;
        path += *path == '/' ? 1 : separator(path);
    }
}

/* [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127} */
bool tag_is_valid(const char *tag)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    size_t len = strspn(tag, word);
    return len > 0 && len <= LIMIT_TAG && !tag[len] && tag[0] != '.' && tag[0] != '-';
}

/* Names joined by dots, or an IPv6 address in brackets; then perhaps a port. */
static bool registry_is_valid(const char *s)
{
    if (*s == '[') {
        size_t len = strspn(++s, "0123456789abcdef:.");
        if (len == 0 || s[len] != ']')
            return false;
        s += len + 1;
    } else {
        for (;; s++) {
            size_t len = strspn(s, letters_and_digits);
            if (len == 0)
                return false;
            while (s[len] == '-') {
                size_t dashes = strspn(s + len, "-"), word = strspn(s + len + dashes, letters_and_digits);
                if (word == 0)
                    return false;
                len += dashes + word;
            }
            s += len;
            if (*s != '.')
                break;
        }
    }
    size_t port = *s == ':' ? strspn(s + 1, "0123456789") : 0;
    return *s == ':' ? port > 0 && port <= 5 && !s[1 + port] : !*s;
}

/* --- reading ------------------------------------------------------------------------------------------------ */

static int wrong(const char *what, const char **ret_wrong)
{
    *ret_wrong = what;
    return -EINVAL;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Takes the digest from the end of `text`. */
static int take_digest(char *text, struct image_name *name, const char **ret_wrong)
{
    char *at = strchr(text, '@');
    struct digest digest;
    if (!at)
        return 0;
    int r = digest_parse(at + 1, strlen(at + 1), &digest);
    if (r == -ENOTSUP)
        return wrong("its digest is of an algorithm that is not supported; sha256 and sha512 are", ret_wrong);
    if (r < 0)
        return wrong("behind the @ there is no digest; sha256: and 64 lower-case hexadecimal digits are one",
                     ret_wrong);
    (void)digest_format(&digest, name->digest);
    *at = '\0';
    return 0;
}

/* A colon behind the last slash begins it; one before is that of a port. */
static int take_tag(char *text, struct image_name *name, const char **ret_wrong)
{
    char *slash = strrchr(text, '/'), *colon = strchr(slash ? slash : text, ':');
    if (colon && !tag_is_valid(colon + 1))
        return wrong(
            "its tag is none: letters, digits, _ . and - may be in one, at most 128, and neither . nor - be the "
            "first",
            ret_wrong);
    if (colon) {
        (void)stpcpy(name->tag, colon + 1);
        *colon = '\0';
    } else if (!name->digest[0]) {
        (void)stpcpy(name->tag, "latest");
    }
    return 0;
}

/* But for upper case alone, which is taken for a mistake in the path. */
bool image_name_has_registry(const char *text)
{
    size_t len = strcspn(text, "/");
    return text[len] && (memchr(text, '.', len) || memchr(text, ':', len) ||
                         (len == strlen("localhost") && strncasecmp(text, "localhost", len) == 0));
}

static int take_registry(char **text, struct image_name *name, const char **ret_wrong)
{
    if (!image_name_has_registry(*text)) {
        (void)stpcpy(name->registry, DOCKER_HUB);
        return 0;
    }
    size_t len = strcspn(*text, "/");
    for (size_t i = 0; i < len; i++)
        name->registry[i] = lower((*text)[i]);
    *text += len + 1;
    if (strcmp(name->registry, "index." DOCKER_HUB) == 0)
        (void)stpcpy(name->registry, DOCKER_HUB);
    return registry_is_valid(name->registry) ? 0 : wrong("its registry is no host name", ret_wrong);
}

static int take_repository(const char *text, struct image_name *name, const char **ret_wrong)
{
    bool is_hub = strcmp(name->registry, DOCKER_HUB) == 0;
    const char *prefix = is_hub && !strchr(text, '/') ? "library/" : "";
    for (const char *s = text; *s; s++)
        if (lower(*s) != *s)
            return wrong("its repository has upper-case letters; there are none in names of images", ret_wrong);
    if (!repository_is_valid(text))
        return wrong("its repository is no name: words of lower-case letters and digits, joined by . _ __ or -, and "
                     "slashes between them",
                     ret_wrong);
    if (*prefix && strlen(text) == 64 && strspn(text, hexadecimal) == 64)
        return wrong("this is an image's id, and not its name", ret_wrong);
    if (strlen(name->registry) + 1 + strlen(prefix) + strlen(text) > LIMIT_NAME)
        return wrong("its name is longer than 255 characters", ret_wrong);
    (void)stpcpy(stpcpy(name->repository, prefix), text);
    return 0;
}

int image_name_parse(const char *text, size_t len, struct image_name *ret_name, const char **ret_wrong)
{
    char copy[LIMIT_NAME + 1 + LIMIT_TAG + 1 + DIGEST_TEXT_MAX], *rest = copy;
    struct image_name name = {0};
    if (len == 0)
        return wrong("it is empty", ret_wrong);
    if (memchr(text, '\0', len) || memchr(text, ' ', len))
        return wrong("there is a space in it", ret_wrong);
    if (len >= sizeof(copy))
        return wrong("it is too long", ret_wrong);
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (strstr(copy, "://"))
        return wrong("it begins like a URL; names of images have no scheme", ret_wrong);
    int r = take_digest(copy, &name, ret_wrong);
    if (r == 0)
        r = take_tag(copy, &name, ret_wrong);
    if (r == 0 && strlen(copy) > LIMIT_NAME)
        r = wrong("its name is longer than 255 characters", ret_wrong);
    if (r == 0)
        r = take_registry(&rest, &name, ret_wrong);
    if (r == 0)
        r = take_repository(rest, &name, ret_wrong);
    if (r == 0)
        *ret_name = name;
    return r;
}

const char *image_name_format(const struct image_name *name, char *text)
{
    bool by_digest = name->digest[0];
    char *end = stpcpy(stpcpy(stpcpy(text, name->registry), "/"), name->repository);
    (void)stpcpy(stpcpy(end, by_digest ? "@" : ":"), by_digest ? name->digest : name->tag);
    return text;
}
