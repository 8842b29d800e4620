#include "mirror/seeder.h"

#include "config/config.h"
#include "mirror/digest_set.h"
#include "mirror/stock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pricing {
    struct seeder *s;
    struct seed_price *price;
    struct digest_set counted; /* images share layers, and manifests */
};

static struct seed_price_of *registry_of(struct seed_price *p, const char *name)
{
    size_t i = 0;
    while (i < p->registry_count && strcmp(p->registries[i].registry, name) != 0)
        i++;
    if (i == SEED_PRICE_REGISTRIES_MAX)
        return NULL;
    if (i == p->registry_count) {
        p->registries[p->registry_count++] = (struct seed_price_of){.pulls_left = -1};
        (void)snprintf(p->registries[i].registry, sizeof(p->registries[i].registry), "%s", name);
    }
    return &p->registries[i];
}

/* Whether it has not been counted for another image. */
static int count_once(struct pricing *p, const struct digest *digest, bool *ret_first)
{
    int r = digest_set_add(&p->counted, digest);
    *ret_first = r == 0;
    return r == -EEXIST ? 0 : r;
}

static int add_items(struct pricing *p, struct seed_price_of *of, const struct stock *stock)
{
    for (size_t i = 0; i < stock->item_count; i++) {
        const struct stock_item *item = &stock->items[i];
        bool first;
        if (item->state != STOCK_MISSING || item->is_elsewhere)
            continue;
        int r = count_once(p, &item->digest, &first);
        if (r < 0)
            return r;
        bool is_blob = item->kind == STOCK_CONFIG || item->kind == STOCK_LAYER;
        of->pulls += first && !is_blob;
        of->bytes += first && is_blob ? item->size : 0;
        of->has_unknown_bytes = of->has_unknown_bytes || !is_blob;
    }
    return 0;
}

static int add_image(struct pricing *p, const struct seed_wish *wish, const char *fallback)
{
    struct platform platforms[SEED_PLATFORMS_MAX];
    struct image_name name;
    AUTO(auto_stock_destroy) struct stock *stock = NULL;
    const char *wrong;
    size_t count;
    int r = image_name_parse(wish->image, strlen(wish->image), &name, &wrong);
    if (r == 0)
        r = seeder_platforms(p->s, wish->platforms ? wish->platforms : "default", fallback, platforms, &count);
    if (r == 0)
        r = mirror_stock(p->s->mirror, &name, platforms, count, &stock);
    if (r != 0)
        return r;
    struct seed_price_of *of = registry_of(p->price, stock->registry);
    if (!of)
        return 0;
    const struct stock_item *root = &stock->items[0];
    of->images++;
    if (root->state == STOCK_MISSING) { /* it is not known what there is under it */
        bool first = true;
        if (root->digest.algorithm != DIGEST_NONE)
            r = count_once(p, &root->digest, &first);
        of->unknown++;
        of->pulls += first ? stock->manifest_gets : 0;
        of->has_unknown_bytes = true;
        return r;
    }
    uint64_t pulls = of->pulls, bytes = of->bytes;
    r = add_items(p, of, stock);
    of->complete += of->pulls == pulls && of->bytes == bytes && stock->manifest_gets == 0 && stock->missing_bytes == 0;
    return r;
}

static void add_budget(struct mirror *m, struct seed_price_of *of)
{
    struct seeder_budget budget;
    seeder_budget(m, of->registry, &budget);
    of->pulls_left = budget.left;
    of->waits_ms = seeder_budget_wait_ms(&budget, of->pulls);
}

static void add_room(struct mirror *m, struct seed_price *price)
{
    struct blobstore_totals totals;
    uint64_t size, available;
    if (blobstore_totals(m->store, &totals) < 0 || blobstore_room(m->store, &size, &available) < 0)
        return;
    (void)pthread_rwlock_rdlock(&m->config_lock);
    uint64_t max = config_room_bytes(&m->config->store.max_size, size);
    (void)pthread_rwlock_unlock(&m->config_lock);
    uint64_t room = max > totals.bytes ? max - totals.bytes : 0;
    price->room = room < available ? room : available;
}

int seeding_price(struct mirror *m, const struct seed_order *order, struct seed_price *ret_price,
                  struct seed_complaint *ret_why)
{
    struct seed *seed;
    int r = seed_create(order, &seed, ret_why); /* what is wrong with it is wrong here too */
    if (r < 0)
        return r;
    seed_destroy(seed);
    memset(ret_price, 0, sizeof(*ret_price));
    struct pricing p = {.s = m->seeder, .price = ret_price};
    for (size_t i = 0; r == 0 && i < order->wish_count; i++) {
        ret_price->images += !order->wishes[i].pattern;
        ret_price->patterns += order->wishes[i].pattern != NULL;
        if (!order->wishes[i].pattern)
            r = add_image(&p, &order->wishes[i], order->platforms ? order->platforms : "");
    }
    digest_set_finish(&p.counted);
    for (size_t i = 0; i < ret_price->registry_count; i++)
        add_budget(m, &ret_price->registries[i]);
    add_room(m, ret_price);
    return r;
}
