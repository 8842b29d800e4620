#include "mirror/seeder.h"

#include "base/plural.h"
#include "mirror/listing.h"
#include "mirror/tag_pattern.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct matching {
    const struct image_name *repository;
    const struct tag_pattern *pattern;
    struct seeder_matches *matches;
};

static void match(void *arg, const char *tag)
{
    const struct matching *matching = arg;
    struct seeder_matches *m = matching->matches;
    struct image_name name = *matching->repository;
    char text[IMAGE_NAME_MAX];
    if (!tag_is_valid(tag) || !tag_pattern_matches(matching->pattern, tag) || m->all++ >= SEED_MATCHES_MAX)
        return;
    (void)stpcpy(name.tag, tag);
    m->names[m->count] = strdup(image_name_format(&name, text));
    m->count += m->names[m->count] != NULL;
}

void seeder_match(struct seeder *s, const struct image_name *repository, const char *pattern,
                  struct seeder_matches *matches, struct seeder_result *result)
{
    AUTO(auto_tag_pattern_destroy) struct tag_pattern *parsed = NULL;
    AUTO(auto_document_unref) struct document *d = NULL;
    AUTO(auto_listing_destroy) struct listing *tags = NULL;
    const char *wrong = "no memory";
    int r = tag_pattern_create(pattern, &parsed, &wrong);
    if (r < 0) {
        *result = (struct seeder_result){.error = r};
        (void)snprintf(result->cause, sizeof(result->cause), "the pattern %s", wrong);
        return;
    }
    seeder_fetch_tags(s, repository, &d, result);
    if (result->error)
        return;
    r = listing_create(&tags);
    if (r == 0)
        r = listing_add_tags(tags, d->data, d->len);
    result->error = r;
    if (r < 0)
        return;
    listing_each_tag(tags, match, &(struct matching){.repository = repository, .pattern = parsed, .matches = matches});
    if (matches->all == 0)
        (void)snprintf(result->cause, sizeof(result->cause), "no tag matches");
    else if (matches->all > matches->count)
        (void)snprintf(result->cause, sizeof(result->cause), "%zu tags match: the first %zu are taken", matches->all,
                       matches->count);
    else
        (void)snprintf(result->cause, sizeof(result->cause), "%zu %s", matches->all,
                       plural(matches->all, "tag matches", "tags match"));
}

static bool has_image(const struct seed *seed, const char *image)
{
    for (size_t i = 0; i < seed->count; i++)
        if (!seed->images[i].pattern && strcmp(seed->images[i].image, image) == 0)
            return true;
    return false;
}

static int add(struct seeder *s, struct seed *seed, size_t at, struct seeder_matches *m)
{
    size_t room = SEED_IMAGES_MAX - seed->count, room_of_all = SEED_IMAGES_ALL_MAX - s->image_count;
    room = room < room_of_all ? room : room_of_all;
    if (m->count > room)
        return -E2BIG;
    struct seed_image *more = realloc(seed->images, (seed->count + m->count) * sizeof(*more));
    struct bundle *b = bundle_create();
    if (more)
        seed->images = more;
    if (!more || !b) {
        bundle_destroy(b);
        return -ENOMEM;
    }
    for (size_t i = 0; i < m->count; i++) {
        const struct seed_image *parent = &seed->images[at];
        if (has_image(seed, m->names[i]))
            continue;
        struct seed_image child = {.state = SEED_WAITING, .is_match = true, .image = TAKE_PTR(m->names[i])};
        seed_set_text(&child.platforms, parent->platforms);
        seed_set_text(&child.origin, parent->origin);
        seed->images[seed->count++] = child;
        s->image_count++;
        seeder_put_image(b, seed, seed->count - 1);
    }
    s->must_pin = s->must_pin || seed->head.pin;
    return bundle_post(b, s->mirror->keeper);
}

void seeder_add_matches(struct seeder *s, struct seed *seed, size_t at, struct seeder_matches *matches,
                        struct seeder_result *result)
{
    result->error = add(s, seed, at, matches);
    if (result->error == -E2BIG)
        (void)snprintf(result->cause, sizeof(result->cause), "it brings more images than a seed may have");
}

void seeder_matches_finish(struct seeder_matches *matches)
{
    for (size_t i = 0; i < matches->count; i++)
        free(matches->names[i]);
}
