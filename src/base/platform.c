#include "base/platform.h"

#include <errno.h>
#include <string.h>

/* What is written otherwise in one place or another. */
static const struct {
    const char *architecture, *variant; /* variant NULL: any */
    const char *means, *means_variant;  /* NULL: the same */
} synonyms[] = {
    {"aarch64", NULL, "arm64", NULL}, {"x86_64", NULL, "amd64", NULL}, {"x86-64", NULL, "amd64", NULL},
    {"i386", NULL, "386", ""},        {"armhf", NULL, "arm", "v7"},    {"armel", NULL, "arm", "v6"},
    {"arm", "", "arm", "v7"},         {"arm64", "v8", "arm64", ""},    {"arm64", "8", "arm64", ""},
    {"arm", "7", "arm", "v7"},        {"arm", "6", "arm", "v6"},       {"arm", "5", "arm", "v5"},
    {"amd64", "v1", "amd64", ""},
};

static bool take_word(const char *s, size_t len, char *word)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    if (len >= PLATFORM_WORD_MAX || strspn(s, letters) < len)
        return false;
    memcpy(word, s, len);
    word[len] = '\0';
    return true;
}

static void use_synonyms(struct platform *p)
{
    for (size_t i = 0; i < ARRAY_SIZE(synonyms); i++) {
        if (strcmp(p->architecture, synonyms[i].architecture) != 0 ||
            (synonyms[i].variant && strcmp(p->variant, synonyms[i].variant) != 0))
            continue;
        (void)stpcpy(p->architecture, synonyms[i].means);
        if (synonyms[i].means_variant)
            (void)stpcpy(p->variant, synonyms[i].means_variant);
    }
}

bool platform_make(const char *os, const char *architecture, const char *variant, struct platform *ret_platform)
{
    struct platform p;
    os = os ? os : "";
    architecture = architecture ? architecture : "";
    variant = variant ? variant : "";
    if (!take_word(os, strlen(os), p.os) || !take_word(architecture, strlen(architecture), p.architecture) ||
        !take_word(variant, strlen(variant), p.variant))
        return false;
    use_synonyms(&p);
    *ret_platform = p;
    return true;
}

int platform_parse(const char *text, struct platform *ret_platform)
{
    size_t os = strcspn(text, "/");
    const char *architecture = text[os] ? text + os + 1 : "";
    size_t architecture_len = strcspn(architecture, "/");
    const char *variant = architecture[architecture_len] ? architecture + architecture_len + 1 : NULL;
    struct platform p = {0};
    if (os == 0 || architecture_len == 0 || (variant && !*variant) || !take_word(text, os, p.os) ||
        !take_word(architecture, architecture_len, p.architecture) ||
        (variant && !take_word(variant, strlen(variant), p.variant)))
        return -EINVAL;
    use_synonyms(&p);
    *ret_platform = p;
    return 0;
}

const char *platform_format(const struct platform *p, char *text)
{
    char *end = stpcpy(stpcpy(stpcpy(text, p->os), "/"), p->architecture);
    if (p->variant[0])
        (void)stpcpy(stpcpy(end, "/"), p->variant);
    return text;
}

struct platform platform_of_host(void)
{
    struct platform p = {.os = "linux"};
#if defined(__x86_64__)
    (void)stpcpy(p.architecture, "amd64");
#elif defined(__aarch64__)
    (void)stpcpy(p.architecture, "arm64");
#elif defined(__arm__)
    (void)stpcpy(p.architecture, "arm");
    (void)stpcpy(p.variant, "v7");
#elif defined(__i386__)
    (void)stpcpy(p.architecture, "386");
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
    (void)stpcpy(p.architecture, "ppc64le");
#elif defined(__s390x__)
    (void)stpcpy(p.architecture, "s390x");
#elif defined(__riscv) && __riscv_xlen == 64
    (void)stpcpy(p.architecture, "riscv64");
#else
#error "which architecture do registries call this?"
#endif
    return p;
}

/* The number of "v7", 0 of anything else. */
static int version(const char *variant)
{
    return variant[0] == 'v' && variant[1] >= '1' && variant[1] <= '9' && !variant[2] ? variant[1] - '0' : 0;
}

/* An older variant of the architecture will do, the newest of them best. */
static int rank_variant(const char *wanted, const char *offered, int common)
{
    int w = *wanted ? version(wanted) : common, o = *offered ? version(offered) : common;
    if (strcmp(wanted, offered) == 0)
        return 0;
    return w > 0 && o > 0 && o <= w ? w - o : -1;
}

int platform_rank(const struct platform *wanted, const struct platform *offered)
{
    const char *w = wanted->architecture, *o = offered->architecture;
    if (strcmp(wanted->os, offered->os) != 0)
        return -1;
    if (strcmp(w, o) == 0) {
        int common = strcmp(w, "amd64") == 0 ? 1 : strcmp(w, "arm64") == 0 ? 8 : 0;
        return rank_variant(wanted->variant, offered->variant, common);
    }
    /* containerd takes these where there is nothing better */
    if (strcmp(w, "amd64") == 0 && strcmp(o, "386") == 0)
        return 20;
    if (strcmp(w, "arm64") == 0 && strcmp(o, "arm") == 0) {
        int rank = rank_variant("v8", offered->variant, 7);
        return rank < 0 ? rank : 20 + rank;
    }
    return -1;
}
