#include "mirror/budgets.h"

#include "scratch.h"

#include <errno.h>
#include <string.h>

static const struct upstream_budget known = {
    .origin = "https://registry-1.docker.io:443",
    .account = "ci",
    .limit = 200,
    .remaining = -3, /* seen in the field (protocol.md §1.4) */
    .window_ms = 21600000,
    .observed_at = 1700000000123,
    .blocked_until = 1700000009999,
    .empty_in_ms = 5,
    .id = "a645ce4d-4328-42eb-8241-1624241605ef",
};

START_TEST(a_budget_is_read_back_as_it_was_written)
{
    AUTO_BUF struct buf key = BUF_INIT(400), value = BUF_INIT(4096);
    struct upstream_budget b;
    ck_ok(budgets_encode(&known, &key, &value));
    ck_assert_uint_eq(key.len, strlen(known.origin) + 1 + strlen(known.account) + 1);
    ck_ok(budgets_decode(key.data, key.len, value.data, value.len, &b));
    ck_assert_str_eq(b.origin, known.origin);
    ck_assert_str_eq(b.account, known.account);
    ck_assert_str_eq(b.id, known.id);
    ck_assert_int_eq(b.limit, known.limit);
    ck_assert_int_eq(b.remaining, known.remaining);
    ck_assert_int_eq(b.window_ms, known.window_ms);
    ck_assert_int_eq(b.observed_at, known.observed_at);
    ck_assert_int_eq(b.blocked_until, known.blocked_until);
    ck_assert_int_eq(b.empty_in_ms, -1); /* a forecast is not kept */
}
END_TEST

START_TEST(the_anonymous_budget_has_an_empty_account)
{
    AUTO_BUF struct buf key = BUF_INIT(400), value = BUF_INIT(4096);
    struct upstream_budget anonymous = known, b;
    anonymous.account = anonymous.id = "";
    ck_ok(budgets_encode(&anonymous, &key, &value));
    ck_ok(budgets_decode(key.data, key.len, value.data, value.len, &b));
    ck_assert_str_eq(b.account, "");
    ck_assert_str_eq(b.id, "");
}
END_TEST

START_TEST(what_is_damaged_is_refused_wherever_it_is_cut)
{
    AUTO_BUF struct buf key = BUF_INIT(400), value = BUF_INIT(4096);
    struct upstream_budget b;
    ck_ok(budgets_encode(&known, &key, &value));
    for (size_t len = 1; len < key.len; len++)
        ck_assert_int_eq(budgets_decode(key.data, len, value.data, value.len, &b), -EINVAL);
    for (size_t len = 1; len < value.len; len++)
        ck_assert_int_eq(budgets_decode(key.data, key.len, value.data, len, &b), -EINVAL);
    value.data[0]++;
    ck_assert_int_eq(budgets_decode(key.data, key.len, value.data, value.len, &b), -EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("budgets");
    TCase *tests = tcase_create("budgets");
    tcase_add_test(tests, a_budget_is_read_back_as_it_was_written);
    tcase_add_test(tests, the_anonymous_budget_has_an_empty_account);
    tcase_add_test(tests, what_is_damaged_is_refused_wherever_it_is_cut);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
