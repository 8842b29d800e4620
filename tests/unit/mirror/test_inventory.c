/* Names, pins and taking away, on a mirror of its own. */
#include "mirror/inventory.h"

#include "world.h"

#include "base/clock.h"
#include "mirror/pins.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *text, *name; /* NULL: it is none */
} names[] = {
    {"alpine", "docker.io/library/alpine:latest"},
    {"alpine:3.20", "docker.io/library/alpine:3.20"},
    {"docker.io/alpine", "docker.io/library/alpine:latest"},
    {"a/b/c:x", "docker.io/a/b/c:x"},
    {"alpine@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
     "docker.io/library/alpine@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
    {"alpine:3@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
     "docker.io/library/alpine@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
    {"", NULL},
    {"/", NULL},
    {":", NULL},
    {"@", NULL},
    {"alpine:", NULL},
    {"alpine:-x", NULL},
    {"alpine@", NULL},
    {"alpine@sha256:12", NULL},
    {"Alpine", NULL},
    {"elsewhere.example/alpine", NULL},
    {"localhost/alpine", NULL},
    {"localhost:5000/alpine", NULL},
};

START_TEST(names_are_read_as_people_write_them)
{
    struct inventory_name name;
    char text[INVENTORY_NAME_TEXT];
    const char *why = NULL;
    int r = inventory_name_parse(world.mirror, names[_i].text, &name, &why);
    if (names[_i].name) {
        ck_ok(r);
        ck_assert_str_eq(inventory_name_format(&name, text), names[_i].name);
    } else {
        ck_assert_int_eq(r, -EINVAL);
        ck_assert_uint_gt(strlen(why), 10);
    }
}
END_TEST

START_TEST(a_name_without_end_is_none)
{
    struct inventory_name name;
    const char *why;
    char text[4096];
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    ck_assert_int_eq(inventory_name_parse(world.mirror, text, &name, &why), -EINVAL);
    text[700] = '\0';
    ck_assert_int_eq(inventory_name_parse(world.mirror, text, &name, &why), -EINVAL);
    memcpy(text, "alpine:", 7);
    text[7 + 128] = '\0';
    ck_ok(inventory_name_parse(world.mirror, text, &name, &why));
    text[7 + 128] = 'a';
    text[7 + 129] = '\0';
    ck_assert_int_eq(inventory_name_parse(world.mirror, text, &name, &why), -EINVAL);
}
END_TEST

START_TEST(patterns_mean_the_whole_name_or_the_repository)
{
    const struct inventory_name name = {.registry = "docker.io", .repository = "library/alpine", .tag = "3"};
    ck_assert(inventory_name_matches(&name, NULL));
    ck_assert(inventory_name_matches(&name, "docker.io/library/alpine"));
    ck_assert(inventory_name_matches(&name, "docker.io/*"));
    ck_assert(inventory_name_matches(&name, "*:3"));
    ck_assert(!inventory_name_matches(&name, "docker.io/library/alp"));
    ck_assert(!inventory_name_matches(&name, "*:4"));
    ck_assert(inventory_is_pattern("a/*") && inventory_is_pattern("a/[b]") && inventory_is_pattern("a/b?") &&
              !inventory_is_pattern("a/b:c"));
}
END_TEST

static int count_pins(void *arg, const struct inventory_pin *pin)
{
    (void)pin;
    ++*(unsigned *)arg;
    return 0;
}

static unsigned pins(void)
{
    unsigned count = 0;
    ck_ok(inventory_pins(world.mirror, count_pins, &count));
    return count;
}

START_TEST(a_pin_is_made_once_and_goes_once)
{
    const char *why;
    ck_ok(inventory_pin(world.mirror, "alpine:3", 0, "", &why));
    ck_ok(inventory_pin(world.mirror, "docker.io/library/alpine:3", 5, "list", &why));
    ck_ok(inventory_pin(world.mirror, "docker.io/*", 0, "", &why));
    ck_assert_uint_eq(pins(), 2);
    ck_ok(inventory_unpin(world.mirror, "alpine:3", &why));
    ck_assert_int_eq(inventory_unpin(world.mirror, "alpine:3", &why), -ENOENT);
    ck_assert_int_eq(inventory_unpin(world.mirror, "Alpine", &why), -EINVAL);
    ck_assert_uint_eq(pins(), 1);
}
END_TEST

static int see_pin(void *arg, const struct inventory_pin *pin)
{
    *(struct inventory_pin *)arg = *pin;
    return -EINTR;
}

START_TEST(a_pin_is_told_as_it_was_made)
{
    const char *why;
    struct inventory_pin pin;
    ck_ok(inventory_pin(world.mirror, "alpine:3", 1750000000000, "base", &why));
    ck_assert_int_eq(inventory_pins(world.mirror, see_pin, &pin), -EINTR);
    ck_assert_str_eq(pin.text, "docker.io/library/alpine:3");
    ck_assert_str_eq(pin.origin, "base");
    ck_assert_int_eq(pin.expires_at, 1750000000000);
    ck_assert(!pin.is_pattern);
}
END_TEST

START_TEST(many_pins_are_told_each)
{
    char text[64];
    const char *why;
    for (unsigned i = 0; i < 200; i++) {
        (void)snprintf(text, sizeof(text), "alpine:%u", i);
        ck_ok(inventory_pin(world.mirror, text, 0, "", &why));
    }
    ck_assert_uint_eq(pins(), 200);
}
END_TEST

static int no_image(void *arg, const struct inventory_image *image)
{
    (void)arg;
    (void)image;
    ck_abort_msg("there is an image");
    return 0;
}

START_TEST(an_empty_store_has_nothing)
{
    struct inventory_name name;
    struct inventory_image image;
    struct inventory_tree tree;
    struct inventory_removed removed;
    struct inventory_garbage garbage;
    struct inventory_usage_sum sum;
    struct digest digest;
    char after[INVENTORY_AFTER_TEXT];
    const char *why;
    uint64_t count;
    free(scratch_bytes(1, 10, &digest));
    ck_ok(inventory_images(world.mirror, NULL, "", 10, no_image, NULL, after));
    ck_assert_str_eq(after, "");
    ck_ok(inventory_name_parse(world.mirror, "alpine", &name, &why));
    ck_assert_int_eq(inventory_image_find(world.mirror, &name, &image), -ENOENT);
    ck_assert_int_eq(inventory_tree_read(world.mirror, &digest, true, &tree), -ENOENT);
    ck_assert_int_eq(inventory_remove(world.mirror, &name, &removed), -ENOENT);
    ck_ok(inventory_purge(world.mirror, NULL, &count));
    ck_assert_uint_eq(count, 0);
    ck_ok(inventory_collect(world.mirror, false, &garbage));
    ck_assert_uint_eq(garbage.blobs + garbage.partials + garbage.quarantined + garbage.pins + garbage.unknown, 0);
    ck_ok(inventory_usage(world.mirror, NULL, NULL, &sum));
    ck_assert_uint_eq(sum.bytes, 0);
}
END_TEST

START_TEST(only_an_old_blob_that_nobody_names_is_garbage)
{
    struct digest digest;
    struct inventory_garbage garbage;
    AUTO_FREE char *data = scratch_bytes(1, 1000, &digest);
    world_store(data, 1000, &digest);
    ck_ok(inventory_collect(world.mirror, false, &garbage));
    ck_assert_uint_eq(garbage.blobs, 0);
    world_advance(60 * CLOCK_MINUTE);
    ck_ok(inventory_collect(world.mirror, true, &garbage));
    ck_assert_uint_eq(garbage.blobs, 1);
    ck_assert_uint_eq(garbage.blob_bytes, 1000);
    ck_ok(inventory_collect(world.mirror, false, &garbage));
    ck_assert_uint_eq(garbage.blobs, 1);
    struct blobstore_info info;
    ck_assert_int_eq(blobstore_stat(world.store, &digest, &info), -ENOENT);
}
END_TEST

START_TEST(a_pinned_blob_is_no_garbage)
{
    struct digest digest;
    struct inventory_garbage garbage;
    char name[INVENTORY_NAME_TEXT], text[DIGEST_TEXT_MAX];
    const char *why;
    AUTO_FREE char *data = scratch_bytes(1, 1000, &digest);
    world_store(data, 1000, &digest);
    (void)snprintf(name, sizeof(name), "alpine@%s", digest_format(&digest, text));
    ck_ok(inventory_pin(world.mirror, name, 0, "", &why));
    world_advance(60 * CLOCK_MINUTE);
    ck_ok(inventory_collect(world.mirror, true, &garbage));
    ck_assert_uint_eq(garbage.blobs, 0);
    ck_ok(inventory_unpin(world.mirror, text, &why)); /* as the list of pins has it */
    ck_ok(inventory_collect(world.mirror, true, &garbage));
    ck_assert_uint_eq(garbage.blobs, 1);
}
END_TEST

START_TEST(what_an_index_that_was_made_anew_does_not_know_stays)
{
    struct digest digest;
    struct inventory_garbage garbage;
    static const uint8_t since[9] = {1, 0x7f, 0, 0, 0, 0, 0, 0, 0}; /* long after now */
    AUTO_FREE char *data = scratch_bytes(1, 1000, &digest);
    world_store(data, 1000, &digest);
    struct blobstore_batch *batch;
    world_stop();
    world.store = scratch_store();
    ck_ok(blobstore_batch_begin(world.store, &batch));
    blobstore_batch_put(batch, BLOBSTORE_REPOSITORIES, "\0s", 2, since, sizeof(since));
    ck_ok(blobstore_batch_commit(batch));
    blobstore_close(world.store);
    world_start();
    world_advance(60 * CLOCK_MINUTE);
    ck_ok(inventory_collect(world.mirror, false, &garbage));
    ck_assert_uint_eq(garbage.blobs, 0);
    ck_assert_uint_eq(garbage.unknown, 1);
    ck_assert_uint_eq(garbage.unknown_bytes, 1000);
}
END_TEST

static const struct {
    const char *image, *registry, *repository; /* NULL: it is none */
} images[] = {
    {"alpine", "docker.io", "library/alpine"},
    {"a/b:1", "docker.io", "a/b"},
    {"ghcr.io/a/b:1", "ghcr.io", "a/b"},
    {"docker.io/docker.io/a/b", "docker.io", "a/b"},
    {"ghcr.io/ghcr.io/a/b", "ghcr.io", "a/b"},
    {"elsewhere.example/a/b", NULL, NULL},
    {"Alpine", NULL, NULL},
    {"", NULL, NULL},
};

/* As the seeder does it, which gives the registry and the rest apart; whatever the default is for pulls. */
START_TEST(the_repository_of_a_seeds_image_is_the_one_that_is_fetched)
{
    struct inventory_name name;
    world.config.default_registry = &world.config.registries[1];
    int r = inventory_repository_of(world.mirror, images[_i].image, &name);
    ck_assert_int_eq(r, images[_i].registry ? 0 : -EINVAL);
    if (r == 0) {
        ck_assert_str_eq(name.registry, images[_i].registry);
        ck_assert_str_eq(name.repository, images[_i].repository);
    }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("inventory");
    tcase_add_checked_fixture(t, world_setup, world_cleanup);
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, names_are_read_as_people_write_them, 0, ARRAY_SIZE(names));
    tcase_add_test(t, a_name_without_end_is_none);
    tcase_add_loop_test(t, the_repository_of_a_seeds_image_is_the_one_that_is_fetched, 0, ARRAY_SIZE(images));
    tcase_add_test(t, patterns_mean_the_whole_name_or_the_repository);
    tcase_add_test(t, a_pin_is_made_once_and_goes_once);
    tcase_add_test(t, a_pin_is_told_as_it_was_made);
    tcase_add_test(t, many_pins_are_told_each);
    tcase_add_test(t, an_empty_store_has_nothing);
    tcase_add_test(t, only_an_old_blob_that_nobody_names_is_garbage);
    tcase_add_test(t, a_pinned_blob_is_no_garbage);
    tcase_add_test(t, what_an_index_that_was_made_anew_does_not_know_stays);
    Suite *s = suite_create("inventory");
    suite_add_tcase(s, t);
    return suite_run(s);
}
