#include "mirror/seeder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- which there are ----------------------------------------------------------------------------------------- */

void seed_destroy(struct seed *seed)
{
    if (!seed)
        return;
    for (size_t i = 0; i < seed->count; i++)
        seed_image_finish(&seed->images[i]);
    free(seed->images);
    free(seed);
}

void seeder_note(struct seeder *s, struct seed *seed)
{
    seed->sequence = ++s->sequence;
    (void)pthread_cond_broadcast(&s->changed);
}

struct seed *seeder_find(struct seeder *s, uint64_t id)
{
    struct seed *seed = s->seeds;
    while (seed && seed->head.id != id)
        seed = seed->next;
    return seed;
}

struct seed *seeder_find_name(struct seeder *s, const char *name)
{
    struct seed *seed = s->seeds;
    while (seed && strcmp(seed->head.name, name) != 0)
        seed = seed->next;
    return seed;
}

void seeder_link(struct seeder *s, struct seed *seed)
{
    struct seed **end = &s->seeds;
    while (*end)
        end = &(*end)->next;
    *end = seed;
    seed->next = NULL;
    s->seed_count++;
    s->image_count += seed->count;
    if (seed->head.id > s->last_id)
        s->last_id = seed->head.id;
    seeder_note(s, seed);
}

void seed_set_text(char **at, const char *text)
{
    char *copy = text && *text ? strdup(text) : NULL;
    free(*at);
    *at = copy;
}

/* --- records ------------------------------------------------------------------------------------------------- */

void seeder_put_head(struct bundle *b, const struct seed *seed)
{
    AUTO_BUF struct buf key = BUF_INIT(BLOBSTORE_KEY_MAX), value = BUF_INIT(BLOBSTORE_VALUE_MAX);
    if (seed_head_key(seed->head.id, &key) == 0 && seed_head_encode(&seed->head, &value) == 0)
        bundle_put(b, BLOBSTORE_JOBS, &key, &value);
}

void seeder_put_image(struct bundle *b, const struct seed *seed, size_t at)
{
    AUTO_BUF struct buf key = BUF_INIT(BLOBSTORE_KEY_MAX), value = BUF_INIT(BLOBSTORE_VALUE_MAX);
    if (seed_image_key(seed->head.id, at, &key) == 0 && seed_image_encode(&seed->images[at], &value) == 0)
        bundle_put(b, BLOBSTORE_JOBS, &key, &value);
}

void seeder_put_all(struct bundle *b, const struct seed *seed)
{
    seeder_put_head(b, seed);
    for (size_t i = 0; i < seed->count; i++)
        seeder_put_image(b, seed, i);
}

void seeder_delete_images(struct bundle *b, const struct seed *seed)
{
    for (size_t i = 0; i < seed->count; i++) {
        AUTO_BUF struct buf key = BUF_INIT(BLOBSTORE_KEY_MAX);
        if (seed_image_key(seed->head.id, i, &key) == 0)
            bundle_delete(b, BLOBSTORE_JOBS, &key);
    }
}

static void delete_all(struct bundle *b, const struct seed *seed)
{
    AUTO_BUF struct buf key = BUF_INIT(BLOBSTORE_KEY_MAX);
    if (seed_head_key(seed->head.id, &key) == 0)
        bundle_delete(b, BLOBSTORE_JOBS, &key);
    seeder_delete_images(b, seed);
}

void seeder_drop(struct seeder *s, struct seed *seed, struct bundle *b)
{
    struct seed **at = &s->seeds;
    s->must_pin = s->must_pin || seed->head.pin;
    delete_all(b, seed);
    while (*at != seed)
        at = &(*at)->next;
    *at = seed->next;
    s->seed_count--;
    s->image_count -= seed->count;
    (void)pthread_cond_broadcast(&s->changed);
    if (s->current.seed == seed)
        seed->is_gone = true;
    else
        seed_destroy(seed);
}

void seeder_post(struct seeder *s, const struct seed *seed, size_t at)
{
    struct bundle *b = bundle_create();
    if (!b)
        return;
    seeder_put_head(b, seed);
    if (at < seed->count)
        seeder_put_image(b, seed, at);
    (void)bundle_post(b, s->mirror->keeper);
}

struct loading {
    struct seeder *s;
    struct seed *last;
    char key[SEED_HEAD_KEY_LEN]; /* of it */
};

static int load_image(struct seed *seed, const void *value, size_t value_len)
{
    struct seed_image *more, image;
    if (seed->count == SEED_IMAGES_MAX || seed_image_decode(value, value_len, &image) < 0)
        return 0;
    more = realloc(seed->images, (seed->count + 1) * sizeof(*more));
    if (!more) {
        seed_image_finish(&image);
        return -ENOMEM;
    }
    if (image.state == SEED_RUNNING)
        image.state = SEED_WAITING;
    seed->images = more;
    seed->images[seed->count++] = image;
    return 0;
}

static int load_record(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct loading *l = arg;
    struct seed_head head;
    if (key_len == SEED_IMAGE_KEY_LEN) { /* behind its head */
        if (!l->last || memcmp(key, l->key, SEED_HEAD_KEY_LEN) != 0)
            return 0;
        l->s->image_count -= l->last->count;
        int r = load_image(l->last, value, value_len);
        l->s->image_count += l->last->count;
        return r;
    }
    if (seed_head_decode(key, key_len, value, value_len, &head) < 0) {
        l->last = NULL; /* and its images */
        return 0;
    }
    l->last = calloc(1, sizeof(*l->last));
    if (!l->last)
        return -ENOMEM;
    memcpy(l->key, key, SEED_HEAD_KEY_LEN);
    l->last->head = head;
    seeder_link(l->s, l->last);
    return 0;
}

int seeder_load(struct seeder *s)
{
    struct loading loading = {.s = s};
    return blobstore_record_scan(s->mirror->store, BLOBSTORE_JOBS, SEED_KEY_PREFIX, SEED_KEY_PREFIX_LEN, load_record,
                                 &loading);
}
