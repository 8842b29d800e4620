/*
 * Memory that runs out while a configuration is read, at each allocation in turn: it says so, makes nothing of what it
 * has read so far, and leaks nothing. libfyaml's own allocations cannot be made to fail.
 */
#include "base/limits.h"
#include "config/config.h"
#include "starve.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static char text[64 * KIB];
static size_t len;

static void setup(void)
{
    AUTO_CLOSE int fd = open(SOURCE_ROOT "/config/example-all.yaml", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof(text));
    ck_assert_int_gt(n, 0);
    len = (size_t)n;
    ck_assert_int_eq(chdir(SOURCE_ROOT), 0); /* it names files */
}

static int parse(struct config **ret_config)
{
    AUTO_BUF struct buf errors = BUF_INIT(MIB);
    return config_parse(text, len, "config/example-all.yaml", ret_config, &errors);
}

START_TEST(a_configuration_is_read_as_a_whole_or_not_at_all)
{
    unsigned n = 0;
    for (int r = -1; r < 0; n++) {
        struct config *config = NULL;
        starve_arm(n, (enum starve_extent)_i);
        starve_enter(true);
        r = parse(&config);
        starve_enter(false);
        bool fired = starve_disarm();
        if (r == 0) {
            ck_assert_msg(!fired, "allocation %u failed and nobody noticed", n);
            config_destroy(config);
        } else {
            ck_assert_msg(fired && r == -ENOMEM, "allocation %u: %d", n, r);
            ck_assert_ptr_null(config);
        }
    }
    ck_assert_uint_gt(n, 100);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *tests = tcase_create("memory");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_set_timeout(tests, 100);
    tcase_add_loop_test(tests, a_configuration_is_read_as_a_whole_or_not_at_all, 0, STARVE_EXTENTS);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
