#include "mirror/seeder.h"

#include "base/clock.h"
#include "mirror/tag_pattern.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int seed_complain(struct seed_complaint *why, int error, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why->text, sizeof(why->text), fmt, ap);
    va_end(ap);
    return error;
}

static bool is_name(const char *s)
{
    size_t len = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return len > 0 && len <= SEED_NAME_MAX && !s[len];
}

/* `text` is platforms, "all" and, where that makes sense, "default". */
static int check_platforms(const char *text, const char *whose, struct seed_complaint *why)
{
    AUTO_FREE char *copy = strdup(text);
    struct platform platform;
    size_t count = 0;
    if (!copy)
        return -ENOMEM;
    if (strlen(text) > SEED_PLATFORMS_TEXT_MAX)
        return seed_complain(why, -EINVAL, "%s: too many platforms", whose);
    char *rest = copy;
    for (char *word; (word = strsep(&rest, " "));)
        if (*word && strcmp(word, "all") != 0 && strcmp(word, "default") != 0 && platform_parse(word, &platform) < 0)
            return seed_complain(why, -EINVAL, "%s: %.80s is no platform such as linux/amd64", whose, word);
        else if (*word && ++count > SEED_PLATFORMS_MAX)
            return seed_complain(why, -EINVAL, "%s: too many platforms", whose);
    return 0;
}

static int copy_text(char **at, const char *text)
{
    if (text && *text && !(*at = strdup(text)))
        return -ENOMEM;
    return 0;
}

static int check_pattern(const char *text, const char *image, struct seed_complaint *why)
{
    struct tag_pattern *pattern;
    const char *wrong;
    int r = tag_pattern_create(text, &pattern, &wrong);
    if (r == -EINVAL)
        return seed_complain(why, r, "%.160s: its pattern of tags %s", image, wrong);
    if (r == 0)
        tag_pattern_destroy(pattern);
    return r;
}

static int take_wish(const struct seed_wish *wish, struct seed_image *image, struct seed_complaint *why)
{
    struct image_name name;
    char text[IMAGE_NAME_MAX];
    const char *wrong;
    int r = image_name_parse(wish->image, strlen(wish->image), &name, &wrong);
    if (r < 0)
        return seed_complain(why, r, "%.160s: %s", wish->image, wrong);
    if (wish->origin && strlen(wish->origin) > SEED_ORIGIN_MAX)
        return seed_complain(why, -EINVAL, "%.160s: the name of its file is too long", wish->image);
    if (wish->pattern)
        r = check_pattern(wish->pattern, wish->image, why);
    if (r == 0 && wish->platforms)
        r = check_platforms(wish->platforms, wish->image, why);
    *image = (struct seed_image){.state = SEED_WAITING};
    if (r == 0)
        r = copy_text(&image->image, image_name_format(&name, text));
    if (r == 0)
        r = copy_text(&image->platforms, wish->platforms);
    if (r == 0)
        r = copy_text(&image->pattern, wish->pattern);
    if (r == 0)
        r = copy_text(&image->origin, wish->origin);
    return r;
}

int seed_create(const struct seed_order *order, struct seed **ret_seed, struct seed_complaint *ret_why)
{
    if (order->name && !is_name(order->name))
        return seed_complain(ret_why, -EINVAL, "a name has letters, digits and any of . _ - only, at most %d",
                             SEED_NAME_MAX);
    if (order->every_ms && order->every_ms < SEED_EVERY_MIN_MS)
        return seed_complain(ret_why, -EINVAL, "once a minute is as often as a seed can be repeated");
    if (order->wish_count > SEED_IMAGES_MAX)
        return seed_complain(ret_why, -EINVAL, "%zu images are too many for one seed: %d at the most",
                             order->wish_count, SEED_IMAGES_MAX);
    if (order->wish_count == 0)
        return seed_complain(ret_why, -EINVAL, "it names no image");
    int r = order->platforms ? check_platforms(order->platforms, "platforms", ret_why) : 0;
    if (r < 0)
        return r;
    struct seed *seed = calloc(1, sizeof(*seed));
    if (!seed || !(seed->images = calloc(order->wish_count, sizeof(*seed->images)))) {
        seed_destroy(seed);
        return -ENOMEM;
    }
    seed->head = (struct seed_head){
        .state = SEED_WAITING, .pin = order->pin, .every_ms = order->every_ms, .created_at = clock_real_ms()};
    if (order->name)
        (void)stpcpy(seed->head.name, order->name);
    if (order->platforms)
        (void)stpcpy(seed->head.platforms, order->platforms);
    for (size_t i = 0; r == 0 && i < order->wish_count; i++)
        r = take_wish(&order->wishes[i], &seed->images[seed->count++], ret_why);
    if (r < 0) {
        seed_destroy(seed);
        return r;
    }
    *ret_seed = seed;
    return 0;
}

/* --- what it means ------------------------------------------------------------------------------------------- */

/* "linux/amd64 default" */
static int read_platforms(struct seeder *s, const char *text, const char *fallback, struct platform *platforms,
                          size_t *count);

/* What is meant where a seed says nothing. */
static int default_platforms(struct seeder *s, struct platform *platforms, size_t *count)
{
    struct mirror *m = s->mirror;
    int r = 0;
    (void)pthread_rwlock_rdlock(&m->config_lock);
    const struct config_list *list = &m->config->seeding.platforms;
    for (size_t i = 0; r == 0 && i < list->count; i++)
        r = read_platforms(s, list->items[i], NULL, platforms, count);
    bool is_none = list->count == 0;
    (void)pthread_rwlock_unlock(&m->config_lock);
    if (is_none)
        platforms[(*count)++] = platform_of_host();
    return r;
}

static int read_platforms(struct seeder *s, const char *text, const char *fallback, struct platform *platforms,
                          size_t *count)
{
    AUTO_FREE char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    char *rest = copy;
    for (char *word; (word = strsep(&rest, " "));) {
        int r = 0;
        if (*count == SEED_PLATFORMS_MAX)
            return -EINVAL;
        if (strcmp(word, "all") == 0) {
            *count = 0;
            return 1;
        }
        if (strcmp(word, "default") == 0 && fallback)
            r = read_platforms(s, *fallback ? fallback : "default", NULL, platforms, count);
        else if (strcmp(word, "default") == 0)
            r = default_platforms(s, platforms, count);
        else if (*word)
            r = platform_parse(word, &platforms[(*count)++]);
        if (r != 0)
            return r;
    }
    return 0;
}

int seeder_platforms(struct seeder *s, const char *text, const char *fallback,
                     struct platform platforms[SEED_PLATFORMS_MAX], size_t *ret_count)
{
    size_t count = 0;
    int r = read_platforms(s, text, fallback, platforms, &count);
    if (r >= 0)
        *ret_count = count;
    return r < 0 ? r : 0;
}
