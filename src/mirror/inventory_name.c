#include "mirror/inventory.h"
#include "mirror/reference.h"
#include "mirror/state.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

/* Cuts the tag or digest off `text`, into the name. */
static int take_reference(char *text, struct inventory_name *n, const char **ret_why)
{
    char *at = strchr(text, '@'), *slash, *colon;
    if (at) {
        *at++ = '\0';
        int r = digest_parse(at, strlen(at), &n->digest);
        *ret_why = "behind the @ there is no digest";
        if (r < 0)
            return -EINVAL;
    }
    slash = strrchr(text, '/');
    colon = strrchr(slash ? slash : text, ':');
    if (colon) {
        *colon++ = '\0';
        *ret_why = "behind the : there is no tag";
        if (!tag_is_valid(colon))
            return -EINVAL;
        if (n->digest.algorithm == DIGEST_NONE) /* as clients have it, a digest has the last word */
            (void)stpcpy(n->tag, colon);
    }
    if (n->digest.algorithm == DIGEST_NONE && !*n->tag)
        (void)stpcpy(n->tag, "latest");
    return 0;
}

/* Its first component looks like a registry's, which then must be one that is mirrored. */
static bool is_stranger(const struct config *config, const char *text)
{
    size_t len = strcspn(text, "/");
    return text[len] == '/' &&
           (memchr(text, '.', len) || memchr(text, ':', len) || strncmp(text, "localhost/", 10) == 0) &&
           !config_find_registry(config, text, len);
}

int inventory_name_parse(struct mirror *m, const char *text, struct inventory_name *ret_name, const char **ret_why)
{
    char copy[INVENTORY_NAME_TEXT];
    struct inventory_name n = {0};
    struct repository_name name;
    if ((size_t)snprintf(copy, sizeof(copy), "%s", text) >= sizeof(copy)) {
        *ret_why = "the name is too long";
        return -EINVAL;
    }
    int r = take_reference(copy, &n, ret_why);
    if (r < 0)
        return r;
    (void)pthread_rwlock_rdlock(&m->config_lock);
    bool stranger = is_stranger(m->config, copy);
    r = stranger ? -EINVAL : repository_resolve(m->config, NULL, copy, &name);
    if (r == 0) {
        (void)stpcpy(n.registry, name.registry->name);
        (void)stpcpy(n.repository, name.path);
        *ret_name = n;
    }
    (void)pthread_rwlock_unlock(&m->config_lock);
    *ret_why = stranger ? "that registry is not configured here" : "it is no name of an image";
    return r < 0 ? -EINVAL : 0;
}

int inventory_repository_of(struct mirror *m, const char *image, struct inventory_name *ret_name)
{
    struct inventory_name n = {0};
    struct repository_name found;
    struct image_name name;
    const char *wrong;
    int r = image_name_parse(image, strlen(image), &name, &wrong);
    if (r < 0)
        return r;
    (void)pthread_rwlock_rdlock(&m->config_lock);
    r = repository_resolve(m->config, name.registry, name.repository, &found);
    if (r == 0) {
        (void)stpcpy(n.registry, found.registry->name);
        (void)stpcpy(n.repository, found.path);
        *ret_name = n;
    }
    (void)pthread_rwlock_unlock(&m->config_lock);
    return r < 0 ? -EINVAL : 0;
}

const char *inventory_name_format(const struct inventory_name *name, char *text)
{
    char digest[DIGEST_TEXT_MAX];
    bool by_digest = name->digest.algorithm != DIGEST_NONE;
    (void)snprintf(text, INVENTORY_NAME_TEXT, "%s/%s%s%s", name->registry, name->repository, by_digest ? "@" : ":",
                   by_digest ? digest_format(&name->digest, digest) : name->tag);
    return text;
}

bool inventory_name_matches(const struct inventory_name *name, const char *pattern)
{
    char text[INVENTORY_NAME_TEXT];
    if (!pattern || fnmatch(pattern, inventory_name_format(name, text), 0) == 0)
        return true;
    (void)snprintf(text, sizeof(text), "%s/%s", name->registry, name->repository);
    return fnmatch(pattern, text, 0) == 0;
}

bool inventory_is_pattern(const char *text)
{
    return strpbrk(text, "*?[") != NULL;
}
