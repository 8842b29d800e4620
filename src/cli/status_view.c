#include "cli/status_view.h"

#include "base/plural.h"
#include "cli/command.h"
#include "cli/human.h"
#include "cli/json.h"
#include "cli/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ the head */

static void print_store(const json_t *store)
{
    char used[HUMAN_TEXT], max[HUMAN_TEXT], blobs[HUMAN_TEXT], left[HUMAN_TEXT];
    uint64_t bytes = json_bytes(store, "bytes"), bound = json_bytes(store, "max_bytes");
    printf("store     %s of %s (%u %%) in %s %s; %s of the disk left\n", human_size(bytes, used),
           human_size(bound, max), bound ? (unsigned)(bytes * 100.0 / bound) : 0,
           human_count(json_bytes(store, "blobs"), blobs), plural(json_bytes(store, "blobs"), "blob", "blobs"),
           human_size(json_bytes(store, "disk_available"), left));
}

/* Of what was answered without an error, that for which nobody waited for an upstream of his own. */
static void add_ratio(const json_t *counts, const char *name)
{
    double hits = (double)(json_number(counts, "hits") + json_number(counts, "joined") + json_number(counts, "stale"));
    double all = hits + (double)json_number(counts, "misses");
    char n[HUMAN_TEXT], errors[HUMAN_TEXT];
    if (all > 0)
        printf("%.1f %% of %s %s", hits * 100 / all, human_count((uint64_t)all, n), name);
    else
        printf("none %s", name);
    if (json_number(counts, "errors") > 0)
        printf(" and %s %s", human_count(json_bytes(counts, "errors"), errors),
               plural(json_bytes(counts, "errors"), "error", "errors"));
}

static void print_requests(const json_t *requests)
{
    printf("hits      ");
    add_ratio(json_at(requests, "last_hour"), "in the last hour");
    printf("; ");
    add_ratio(json_at(requests, "since_start"), "since the start");
    putchar('\n');
}

static void print_jobs(const json_t *status)
{
    int64_t now = json_number(status, "now");
    const json_t *scrub = json_at(json_at(status, "scrub"), "last"),
                 *backup = json_at(json_at(status, "backup"), "last");
    char age[HUMAN_TEXT], size[HUMAN_TEXT];
    printf("scrub     %s", scrub ? human_age(json_number(scrub, "ended_at"), now, age) : "no round has ended yet");
    if (scrub)
        printf(", %s, %" PRIi64 " damaged", human_size(json_bytes(scrub, "bytes"), size),
               json_number(scrub, "failures"));
    if (json_number(json_at(status, "scrub"), "round_percent") > 0)
        printf("; this round is at %" PRIi64 " %%", json_number(json_at(status, "scrub"), "round_percent"));
    putchar('\n');
    printf("backup    %s", backup ? human_age(json_number(backup, "began_at"), now, age) : "never");
    if (backup)
        printf(", %s", human_size(json_bytes(backup, "bytes"), size));
    putchar('\n');
}

/* ------------------------------------------------------------------ tables */

/* True for the first source of each origin and account: they share the budget. */
static bool is_first(const json_t *sources, size_t at)
{
    const json_t *it = json_array_get(sources, at);
    for (size_t i = 0; i < at; i++) {
        const json_t *other = json_array_get(sources, i);
        if (strcmp(json_text(it, "host"), json_text(other, "host")) == 0 &&
            strcmp(json_text(it, "account"), json_text(other, "account")) == 0)
            return false;
    }
    return true;
}

static void add_budget(struct table *t, const json_t *source, const json_t *b, const char *account, int64_t now)
{
    int64_t limit = json_number(b, "limit"), left = json_number(b, "remaining"), window = json_number(b, "window_ms");
    int64_t empty = json_number(b, "empty_in_ms"), blocked = json_number(b, "blocked_until");
    char text[HUMAN_TEXT], forecast[HUMAN_TEXT + 16];
    table_row(t);
    table_cell(t, "%s", json_text(source, "registry"));
    table_cell(t, "%s", *account ? account : "(anonymous)");
    if (left < 0)
        table_cell(t, "?");
    else
        table_cell(t, "%" PRIi64, left);
    if (window > 0)
        table_cell(t, "%" PRIi64 " in %s", limit, human_duration(window, text));
    else
        table_cell(t, limit < 0 ? "?" : "%" PRIi64, limit);
    if (blocked > now) {
        (void)snprintf(forecast, sizeof(forecast), "spent, again %s", human_age(blocked, now, text));
        table_cell_coloured(t, TABLE_BAD, forecast);
    } else if (empty >= 0) {
        (void)snprintf(forecast, sizeof(forecast), "empty in %s", human_duration(empty, text));
        table_cell_coloured(t, empty < window ? TABLE_WARN : TABLE_PLAIN, forecast);
    } else {
        table_cell(t, "enough");
    }
    table_cell(t, "%s", human_age(json_number(b, "observed_at"), now, text));
}

static bool is_known(const json_t *budget, int64_t now)
{
    return json_number(budget, "limit") >= 0 || json_number(budget, "blocked_until") > now;
}

static int print_budgets(const json_t *sources, int64_t now)
{
    AUTO(auto_table_destroy) struct table *t = table_create();
    table_column(t, "BUDGET OF", 0);
    table_column(t, "ACCOUNT", 0);
    table_column(t, "LEFT", TABLE_RIGHT);
    table_column(t, "LIMIT", TABLE_RIGHT);
    table_column(t, "FORECAST", 0);
    table_column(t, "SEEN", 0);
    for (size_t i = 0; i < json_array_size(sources); i++) {
        const json_t *s = json_array_get(sources, i), *b = json_at(s, "budget"), *p = json_at(s, "public_budget");
        if (is_known(b, now) && is_first(sources, i))
            add_budget(t, s, b, json_text(s, "account"), now);
        if (p && is_known(p, now) && is_first(sources, i))
            add_budget(t, s, p, "(without one)", now);
    }
    return table_print_block(t);
}

static void add_source(struct table *t, const json_t *s, int64_t now)
{
    const char *breaker = json_text(s, "breaker");
    char text[HUMAN_TEXT], state[HUMAN_TEXT + 32];
    table_row(t);
    table_cell(t, "%s", json_text(s, "registry"));
    table_cell(t, "%s%s", json_text(s, "name"), json_flag(s, "sibling") ? " (sibling)" : "");
    if (strcmp(breaker, "open") == 0) {
        int64_t until = json_number(s, "open_until");
        (void)snprintf(state, sizeof(state), "off, tried %s", until > now ? human_age(until, now, text) : "when asked");
        table_cell_coloured(t, TABLE_BAD, state);
    } else if (strcmp(breaker, "half_open") == 0) {
        table_cell_coloured(t, TABLE_WARN, "being tried");
    } else if (json_number(s, "paced_until") > now) {
        (void)snprintf(state, sizeof(state), "left in peace, %s", human_age(json_number(s, "paced_until"), now, text));
        table_cell_coloured(t, TABLE_WARN, state);
    } else {
        table_cell_coloured(t, TABLE_GOOD, "good");
    }
    table_cell(t, "%s", human_count(json_bytes(s, "requests"), text));
    table_cell(t, "%s", human_size(json_bytes(s, "bytes"), text));
    table_cell(t, "%s", human_count(json_bytes(s, "counted"), text));
    table_cell(t, "%s", json_text(s, "last_error"));
}

/* Those that were asked, or are in trouble. */
static int print_sources(const json_t *sources, int64_t now)
{
    AUTO(auto_table_destroy) struct table *t = table_create();
    table_column(t, "SOURCE OF", 0);
    table_column(t, "NAME", TABLE_SHORTEN);
    table_column(t, "STATE", 0);
    table_column(t, "ASKED", TABLE_RIGHT);
    table_column(t, "BYTES", TABLE_RIGHT);
    table_column(t, "PULLS", TABLE_RIGHT);
    table_column(t, "LAST ERROR", TABLE_SHORTEN);
    for (size_t i = 0; i < json_array_size(sources); i++) {
        const json_t *s = json_array_get(sources, i);
        if (json_number(s, "requests") > 0 || strcmp(json_text(s, "breaker"), "closed") != 0)
            add_source(t, s, now);
    }
    return table_print_block(t);
}

static void add_flight(struct table *t, const json_t *f, int64_t now)
{
    char text[HUMAN_TEXT], of[HUMAN_TEXT];
    int64_t bytes = json_number(f, "bytes");
    table_row(t);
    table_cell(t, "%s/%s", json_text(f, "registry"), json_text(f, "repository"));
    table_cell(t, "%s", human_short_digest(json_text(f, "digest"), text));
    table_cell(t, "%s of %s", human_size(json_bytes(f, "written"), text),
               bytes < 0 ? "?" : human_size((uint64_t)bytes, of));
    table_cell(t, "%" PRIi64, json_number(f, "readers"));
    table_cell(t, "%s", *json_text(f, "source") ? json_text(f, "source") : json_text(f, "state"));
    table_cell(t, "%s", human_duration(now - json_number(f, "began_at"), text));
}

static int print_flights(const json_t *flights, int64_t now)
{
    AUTO(auto_table_destroy) struct table *t = table_create();
    const json_t *list = json_at(flights, "list");
    table_column(t, "ON ITS WAY", TABLE_SHORTEN);
    table_column(t, "BLOB", 0);
    table_column(t, "HAS", TABLE_RIGHT);
    table_column(t, "READERS", TABLE_RIGHT);
    table_column(t, "FROM", TABLE_SHORTEN);
    table_column(t, "FOR", TABLE_RIGHT);
    for (size_t i = 0; i < json_array_size(list); i++)
        add_flight(t, json_array_get(list, i), now);
    int r = table_print_block(t);
    if (r == STATUS_OK && (size_t)json_number(flights, "count") > json_array_size(list))
        printf("and %zu more\n", (size_t)json_number(flights, "count") - json_array_size(list));
    return r;
}

static int print_spenders(const json_t *spenders, const char *of, const char *title)
{
    AUTO(auto_table_destroy) struct table *t = table_create();
    const json_t *list = json_at(spenders, of);
    char column[64];
    (void)snprintf(column, sizeof(column), "PULLS SPENT IN %" PRIi64 " H", json_number(spenders, "hours"));
    table_column(t, title, TABLE_SHORTEN);
    table_column(t, column, TABLE_RIGHT);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *s = json_array_get(list, i);
        table_row(t);
        table_cell(t, "%s", json_text(s, "name"));
        table_cell(t, "%" PRIi64, json_number(s, "pulls"));
    }
    return table_print_block(t);
}

int status_print(const json_t *status)
{
    char up[HUMAN_TEXT];
    int64_t now = json_number(status, "now");
    const json_t *sources = json_at(status, "sources"), *spenders = json_at(status, "spenders");
    printf("entrepot  %s, up %s\n", json_text(status, "version"),
           human_duration(now - json_number(status, "started_at"), up));
    print_store(json_at(status, "store"));
    print_requests(json_at(status, "requests"));
    print_jobs(status);
    int r = print_budgets(sources, now);
    if (r == STATUS_OK)
        r = print_sources(sources, now);
    if (r == STATUS_OK)
        r = print_flights(json_at(status, "flights"), now);
    if (r == STATUS_OK)
        r = print_spenders(spenders, "repositories", "REPOSITORY");
    if (r == STATUS_OK)
        r = print_spenders(spenders, "clients", "CLIENT");
    return r == STATUS_OK ? command_printed() : r;
}
