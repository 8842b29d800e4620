#include "base/metrics.h"

#include "suite.h"

#include "base/buf.h"
#include "base/limits.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

/* Each test is a process of its own, so that each begins with nothing counted. */
static struct buf page = {.max = LIMIT_METRICS_PAGE};

static const char *make_page(void)
{
    buf_reset(&page);
    ck_assert_int_eq(metrics_page(&page), 0);
    return page.data;
}

/* Whether a line of the last page is this one. */
static bool has(const char *line)
{
    size_t n = strlen(line);
    for (const char *p = page.data; (p = strstr(p, line)); p += n)
        if ((p == page.data || p[-1] == '\n') && p[n] == '\n')
            return true;
    return false;
}

static void check_has(const char *line)
{
    ck_assert_msg(has(line), "no line\n%s\nin\n%s", line, page.data);
}

static unsigned count_of(const char *text)
{
    unsigned n = 0;
    for (const char *p = page.data; (p = strstr(p, text)); p += strlen(text))
        n++;
    return n;
}

START_TEST(a_family_is_shown_with_its_help_and_type_once_it_has_a_value)
{
    make_page();
    ck_assert_uint_eq(count_of("entrepot_requests_total"), 0);
    metrics_add(METRIC_REQUESTS, 1, LABELS("manifest", "hit", "2xx"));
    metrics_add(METRIC_REQUESTS, 2, LABELS("manifest", "hit", "2xx"));
    metrics_add(METRIC_REQUESTS, 1, LABELS("blob", "miss", "5xx"));
    const char *text = make_page();
    const char *family = strstr(text, "# HELP entrepot_requests_total ");
    ck_assert_ptr_nonnull(family);
    const char *type = strchr(family, '\n') + 1;
    static const char wanted[] = "# TYPE entrepot_requests_total counter\n"
                                 "entrepot_requests_total{object=\"manifest\",outcome=\"hit\",status=\"2xx\"} 3\n"
                                 "entrepot_requests_total{object=\"blob\",outcome=\"miss\",status=\"5xx\"} 1\n";
    ck_assert_msg(strncmp(type, wanted, strlen(wanted)) == 0, "%s", type);
    ck_assert_uint_eq(count_of("# TYPE entrepot_requests_total "), 1);
    ck_assert_int_eq(metrics_value(METRIC_REQUESTS, LABELS("manifest", "hit", "2xx")), 3);
    ck_assert_int_eq(metrics_value(METRIC_REQUESTS, LABELS("manifest", "miss", "2xx")), 0);
}
END_TEST

START_TEST(what_has_no_labels_is_shown_from_the_start)
{
    make_page();
    check_has("entrepot_flights_active 0");
    metrics_add(METRIC_FLIGHTS_ACTIVE, 2, NO_LABELS);
    metrics_add(METRIC_FLIGHTS_ACTIVE, -1, NO_LABELS);
    make_page();
    check_has("entrepot_flights_active 1");
}
END_TEST

START_TEST(label_values_are_escaped_and_utf_8)
{
    metrics_add(METRIC_STALE_SERVED, 1, LABELS("a\"b\\c\nz"));
    metrics_add(METRIC_STALE_SERVED, 1, LABELS("\xc3\xb6\xff"));
    metrics_add(METRIC_STALE_SERVED, 1, LABELS(NULL));
    make_page();
    check_has("entrepot_stale_served_total{registry=\"a\\\"b\\\\c\\nz\"} 1");
    check_has("entrepot_stale_served_total{registry=\"\xc3\xb6\xef\xbf\xbd\"} 1");
    check_has("entrepot_stale_served_total{registry=\"\"} 1");
}
END_TEST

START_TEST(labels_that_run_into_each_other_are_told_apart)
{
    metrics_add(METRIC_RESPONSE_BYTES, 1, LABELS("ab", "c"));
    metrics_add(METRIC_RESPONSE_BYTES, 10, LABELS("a", "bc"));
    ck_assert_int_eq(metrics_value(METRIC_RESPONSE_BYTES, LABELS("ab", "c")), 1);
    ck_assert_int_eq(metrics_value(METRIC_RESPONSE_BYTES, LABELS("a", "bc")), 10);
}
END_TEST

START_TEST(seconds_are_shown_as_seconds)
{
    metrics_set(METRIC_START_TIME, INT64_C(1700000000123456), NO_LABELS);
    make_page();
    check_has("entrepot_start_time_seconds 1700000000.123456");
    metrics_set(METRIC_START_TIME, INT64_C(1700000000500000), NO_LABELS);
    make_page();
    check_has("entrepot_start_time_seconds 1700000000.5");
    metrics_set(METRIC_START_TIME, -30000000, NO_LABELS);
    make_page();
    check_has("entrepot_start_time_seconds -30");
    metrics_set(METRIC_START_TIME, INT64_MIN, NO_LABELS);
    make_page();
    check_has("entrepot_start_time_seconds -9223372036854.775808");
}
END_TEST

START_TEST(a_histogram_counts_up_to_each_bound_and_sums)
{
    metrics_observe(METRIC_REQUEST_DURATION, 250, LABELS("blob", "hit"));
    metrics_observe(METRIC_REQUEST_DURATION, 251, LABELS("blob", "hit"));
    metrics_observe(METRIC_REQUEST_DURATION, 999000000, LABELS("blob", "hit"));
    make_page();
#define BUCKET(le, n)                                                                                                  \
    check_has("entrepot_request_duration_seconds_bucket{object=\"blob\",outcome=\"hit\",le=\"" le "\"} " n)
    BUCKET("0.00025", "1");
    BUCKET("0.001", "2");
    BUCKET("1", "2");
    BUCKET("120", "2");
    BUCKET("+Inf", "3");
    check_has("entrepot_request_duration_seconds_sum{object=\"blob\",outcome=\"hit\"} 999.000501");
    check_has("entrepot_request_duration_seconds_count{object=\"blob\",outcome=\"hit\"} 3");
    check_has("# TYPE entrepot_request_duration_seconds histogram");
    ck_assert_int_eq(metrics_value(METRIC_REQUEST_DURATION, LABELS("blob", "hit")), 3);
}
END_TEST

START_TEST(what_comes_after_the_last_series_is_counted_as_other)
{
    char name[32];
    for (unsigned i = 0; i < METRIC_SERIES_MAX + 10; i++) {
        (void)snprintf(name, sizeof(name), "r%u", i);
        metrics_add(METRIC_STALE_SERVED, 1, LABELS(name));
        metrics_set(METRIC_BUILD_INFO, 1, LABELS(name));
    }
    metrics_add(METRIC_STALE_SERVED, 1, LABELS("r0"));
    make_page();
    check_has("entrepot_stale_served_total{registry=\"r0\"} 2");
    check_has("entrepot_stale_served_total{registry=\"other\"} 10");
    ck_assert_uint_eq(count_of("entrepot_stale_served_total{"), METRIC_SERIES_MAX + 1);
    /* The sum of gauges would mean nothing. */
    ck_assert_uint_eq(count_of("entrepot_build_info{"), METRIC_SERIES_MAX);
    ck_assert(!has("entrepot_build_info{version=\"other\"} 1"));
}
END_TEST

START_TEST(a_label_value_without_end_is_counted_as_other)
{
    char name[1000];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    metrics_add(METRIC_STALE_SERVED, 1, LABELS(name));
    metrics_set(METRIC_BUILD_INFO, 1, LABELS(name));
    make_page();
    check_has("entrepot_stale_served_total{registry=\"other\"} 1");
    ck_assert_uint_eq(count_of("entrepot_build_info"), 0);
}
END_TEST

static unsigned given;

static void collect(void *arg)
{
    const char *source = arg;
    given++;
    metrics_set(METRIC_BUDGET_REMAINING, 100 + given, LABELS("docker.io", source, "ci"));
    metrics_add(METRIC_UPSTREAM_COUNTED, 5, LABELS("docker.io", "ci", "live", "tag"));
    metrics_add(METRIC_UPSTREAM_COUNTED, 7, LABELS("docker.io", "ci", "live", "tag"));
}

START_TEST(what_is_collected_is_what_the_collector_gave_for_this_page)
{
    metrics_set_collector(collect, (char[]){"one"});
    make_page();
    make_page();
    check_has("entrepot_budget_remaining{registry=\"docker.io\",source=\"one\",account=\"ci\"} 102");
    check_has("entrepot_upstream_counted_requests_total{registry=\"docker.io\",account=\"ci\",class=\"live\","
              "cause=\"tag\"} 12");
    metrics_set_collector(collect, (char[]){"two"});
    make_page();
    check_has("entrepot_budget_remaining{registry=\"docker.io\",source=\"two\",account=\"ci\"} 103");
    ck_assert_uint_eq(count_of("source=\"one\""), 0);
    metrics_set_collector(NULL, NULL);
    make_page();
    ck_assert_uint_eq(count_of("entrepot_budget_remaining"), 0);
    ck_assert_uint_eq(given, 3);
}
END_TEST

START_TEST(a_page_that_does_not_fit_is_an_error)
{
    AUTO_BUF struct buf small = BUF_INIT(10);
    ck_assert_int_eq(metrics_page(&small), -EFBIG);
    make_page();
}
END_TEST

#define THREADS 4
#define ROUNDS 20000
#define NAMES 7

static void *count_much(void *arg)
{
    static const char *const names[NAMES] = {"a", "b", "c", "d", "e", "f", "g"};
    unsigned first = *(unsigned *)arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        const char *name = names[(first + i) % NAMES];
        metrics_add(METRIC_STALE_SERVED, 1, LABELS(name));
        metrics_observe(METRIC_REQUEST_DURATION, i % 2000, LABELS(name, "hit"));
        metrics_add(METRIC_FLIGHTS_ACTIVE, i % 2 ? 1 : -1, NO_LABELS);
    }
    return NULL;
}

START_TEST(no_count_of_many_threads_is_lost_while_pages_are_made)
{
    static const char *const names[NAMES] = {"a", "b", "c", "d", "e", "f", "g"};
    pthread_t threads[THREADS];
    unsigned firsts[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        firsts[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_much, &firsts[i]), 0);
    }
    for (unsigned i = 0; i < 50; i++)
        make_page();
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    int64_t added = 0, observed = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        added += metrics_value(METRIC_STALE_SERVED, LABELS(names[i]));
        observed += metrics_value(METRIC_REQUEST_DURATION, LABELS(names[i], "hit"));
    }
    ck_assert_int_eq(added, THREADS * ROUNDS);
    ck_assert_int_eq(observed, THREADS * ROUNDS);
    ck_assert_int_eq(metrics_value(METRIC_FLIGHTS_ACTIVE, NO_LABELS), 0);
    make_page();
    ck_assert_uint_eq(count_of("entrepot_stale_served_total{"), NAMES);
}
END_TEST

/* What Prometheus' own linter would say of names. */
START_TEST(every_name_is_of_the_conventions)
{
    AUTO_BUF struct buf document = BUF_INIT(MIB);
    ck_assert_int_eq(metrics_reference(&document), 0);
    unsigned families = 0;
    char *rest = document.data;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char name[128], type[32];
        if (strncmp(line, "## `", 4) != 0)
            continue;
        families++;
        ck_assert_int_eq(sscanf(line, "## `%127[a-z_]`", name), 1);
        (void)strsep(&rest, "\n");
        ck_assert_int_eq(sscanf(strsep(&rest, "\n"), "*%31[a-z]*", type), 1);
        (void)strsep(&rest, "\n");
        const char *help = strsep(&rest, "\n");
        size_t n = strlen(name);
        ck_assert_msg(strncmp(name, "entrepot_", 9) == 0, "%s", name);
        ck_assert_msg((n > 6 && strcmp(name + n - 6, "_total") == 0) == (strcmp(type, "counter") == 0), "%s", name);
        ck_assert_msg(*help && help[strlen(help) - 1] == '.' && !strchr(help, '\\'), "%s: %s", name, help);
        for (const char *other = rest; other && (other = strstr(other, name)); other += n)
            ck_assert_msg(other[-1] != '`' || other[n] != '`', "%s twice", name);
    }
    ck_assert_uint_eq(families, METRICS);
}
END_TEST

START_TEST(the_document_is_what_the_table_says)
{
    AUTO_BUF struct buf wanted = BUF_INIT(MIB), found = BUF_INIT(MIB);
    ck_assert_int_eq(metrics_reference(&wanted), 0);
    AUTO_FCLOSE FILE *f = fopen(SOURCE_ROOT "/docs/metrics.md", "r");
    ck_assert(f != NULL);
    char block[4096];
    for (size_t n; (n = fread(block, 1, sizeof(block), f)) > 0;)
        ck_assert_int_eq(buf_add(&found, block, n), 0);
    ck_assert_msg(strcmp(wanted.data, found.data) == 0, "write it anew: entrepot reference metrics >docs/metrics.md");
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("metrics");
    tcase_add_test(t, a_family_is_shown_with_its_help_and_type_once_it_has_a_value);
    tcase_add_test(t, what_has_no_labels_is_shown_from_the_start);
    tcase_add_test(t, label_values_are_escaped_and_utf_8);
    tcase_add_test(t, labels_that_run_into_each_other_are_told_apart);
    tcase_add_test(t, seconds_are_shown_as_seconds);
    tcase_add_test(t, a_histogram_counts_up_to_each_bound_and_sums);
    tcase_add_test(t, what_comes_after_the_last_series_is_counted_as_other);
    tcase_add_test(t, a_label_value_without_end_is_counted_as_other);
    tcase_add_test(t, what_is_collected_is_what_the_collector_gave_for_this_page);
    tcase_add_test(t, a_page_that_does_not_fit_is_an_error);
    tcase_add_test(t, no_count_of_many_threads_is_lost_while_pages_are_made);
    tcase_add_test(t, every_name_is_of_the_conventions);
    tcase_add_test(t, the_document_is_what_the_table_says);
    Suite *s = suite_create("metrics");
    suite_add_tcase(s, t);
    return suite_run(s);
}
