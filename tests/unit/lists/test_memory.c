/*
 * Memory that runs out while a list is read, at each allocation in turn: it says so, and leaks nothing. libfyaml's own
 * allocations cannot be made to fail.
 */
#include "base/buf.h"
#include "lists/lists.h"
#include "starve.h"
#include "suite.h"

#include <check.h>
#include <errno.h>

static const char *const samples[] = {"plain.txt",    "skopeo.yaml", "regsync.yaml", "pods.json",
                                      "compose.yaml", "hauler.yaml", "zarf.yaml",    "helm.yaml"};

static void read_sample(const char *name, struct buf *text)
{
    char path[512], block[4096];
    (void)snprintf(path, sizeof(path), SOURCE_ROOT "/tests/unit/lists/samples/%s", name);
    AUTO_FCLOSE FILE *f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    for (size_t n; (n = fread(block, 1, sizeof(block), f)) > 0;)
        ck_assert_int_eq(buf_add(text, block, n), 0);
}

static int read_list(const struct buf *text, struct image_list **ret_list)
{
    static const char *const fields[] = {"Widget:.spec.image"};
    static const struct image_list_options options = {.fields = fields, .field_count = ARRAY_SIZE(fields)};
    const char *wrong;
    int r = image_list_create(&options, ret_list, &wrong);
    return r == 0 ? image_list_read(*ret_list, "f", text->data, text->len) : r;
}

START_TEST(a_list_is_read_as_a_whole_or_says_that_it_was_not)
{
    AUTO_BUF struct buf text = BUF_INIT(MIB);
    unsigned n = 0;
    read_sample(samples[_i / STARVE_EXTENTS], &text);
    for (int r = -1; r < 0; n++) {
        AUTO(auto_image_list_destroy) struct image_list *list = NULL;
        starve_arm(n, (enum starve_extent)(_i % STARVE_EXTENTS));
        starve_enter(true);
        r = read_list(&text, &list);
        starve_enter(false);
        bool fired = starve_disarm();
        ck_assert_msg(fired ? r == -ENOMEM : r == 0, "allocation %u: %d", n, r);
    }
    ck_assert_uint_gt(n, 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *tests = tcase_create("memory");
    tcase_set_timeout(tests, 100);
    tcase_add_loop_test(tests, a_list_is_read_as_a_whole_or_says_that_it_was_not, 0,
                        (int)ARRAY_SIZE(samples) * STARVE_EXTENTS);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
