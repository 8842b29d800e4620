#include "base/clock.h"
#include "base/plural.h"
#include "cli/ask.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/json.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* "14:20", or with its day where that is another */
static const char *clock_time(int64_t at, int64_t now, char *text)
{
    time_t then_s = at / 1000, now_s = now / 1000;
    struct tm then, today;
    (void)localtime_r(&then_s, &then);
    (void)localtime_r(&now_s, &today);
    bool same_day = then.tm_yday == today.tm_yday && then.tm_year == today.tm_year;
    (void)strftime(text, HUMAN_TEXT, same_day ? "%H:%M" : "%d %b %H:%M", &then);
    return text;
}

static void print_stored(const json_t *e, int64_t now)
{
    const json_t *stored = json_at(e, "stored");
    char text[HUMAN_TEXT], missing[HUMAN_TEXT];
    if (!json_flag(stored, "known")) {
        printf("stored    nothing\n");
        return;
    }
    if (!json_flag(stored, "stored")) {
        printf("stored    nothing, but what it stands for: %s\n", json_text(stored, "digest"));
    } else {
        printf("stored    %s, since %s", human_size(json_bytes(stored, "bytes"), text),
               human_age(json_number(stored, "stored_at"), now, missing));
        printf(", used %s%s\n", human_age(json_number(stored, "used_at"), now, text),
               json_flag(stored, "pinned") ? ", pinned" : "");
        printf("          %s\n", json_text(stored, "digest"));
    }
    if (json_number(stored, "missing") > 0)
        printf("lacks     %" PRIi64 " %s of %s\n", json_number(stored, "missing"),
               plural(json_bytes(stored, "missing"), "part", "parts"),
               human_size(json_bytes(stored, "missing_bytes"), missing));
}

static void print_policy(const json_t *e, int64_t now)
{
    const json_t *policy = json_at(e, "policy");
    int64_t checked = json_number(json_at(e, "stored"), "checked_at"), ttl = json_number(policy, "ttl_ms");
    int64_t stale_for = json_number(policy, "stale_for_ms");
    char age[HUMAN_TEXT], text[HUMAN_TEXT], stale[HUMAN_TEXT];
    if (checked > 0)
        printf("tag       confirmed %s: %s\n", human_age(checked, now, age), now - checked < ttl ? "fresh" : "old");
    printf("policy    fresh for %s%s%s%s", human_duration(ttl, text), *json_text(policy, "rule") ? " (rule " : "",
           json_text(policy, "rule"), *json_text(policy, "rule") ? ")" : "");
    if (stale_for > 0)
        printf(", stale at need for %s\n", human_duration(stale_for, stale));
    else
        printf(", never stale\n");
    if (json_flag(policy, "accounts"))
        printf("          the registry has accounts; the repository is %s%s\n", json_text(policy, "visibility"),
               json_flag(policy, "open") ? ", and open to everybody here" : "");
}

static void print_upstream(const json_t *e, int64_t now)
{
    const json_t *upstream = json_at(e, "upstream");
    int64_t again = json_number(upstream, "again_at");
    char text[HUMAN_TEXT];
    if (!*json_text(upstream, "trouble"))
        return;
    printf("upstream  %s", json_text(upstream, "trouble"));
    if (again > now)
        printf("; resets about %s", clock_time(again, now, text));
    if (json_flag(upstream, "can_spend"))
        printf("; another source is good");
    putchar('\n');
}

static void print_event(const json_t *event, int64_t now)
{
    char text[HUMAN_TEXT];
    const json_t *clients = json_at(event, "clients");
    size_t count = json_array_size(clients);
    bool stale = strcmp(json_text(event, "kind"), "stale") == 0;
    printf("\n%s  %s %s%s: %s\n", clock_time(json_number(event, "last_at"), now, text), json_text(event, "object"),
           json_text(event, "reference"), stale ? " (served stale)" : "", json_text(event, "message"));
    printf("       %" PRIi64 " time%s", json_number(event, "count"), json_number(event, "count") == 1 ? "" : "s");
    if (json_number(event, "count") > 1)
        printf(" since %s", clock_time(json_number(event, "first_at"), now, text));
    if (!stale)
        printf(", answered with %" PRIi64, json_number(event, "status"));
    if (count > 0)
        printf(", %zu%s node%s asked:", count, count == 8 ? " or more" : "", count == 1 ? "" : "s");
    for (size_t i = 0; i < count; i++)
        printf(" %s", json_string_value(json_array_get(clients, i)));
    putchar('\n');
}

static int print_explanation(const json_t *e)
{
    int64_t now = json_number(e, "now");
    const json_t *events = json_at(e, "events");
    printf("image     %s\n", json_text(e, "image"));
    print_stored(e, now);
    print_policy(e, now);
    print_upstream(e, now);
    printf("a pull    %s\n", json_text(json_at(e, "pull"), "words"));
    if (json_array_size(events) == 0)
        printf("\nNothing of it has gone wrong lately.\n");
    for (size_t i = 0; i < json_array_size(events); i++)
        print_event(json_array_get(events, i), now);
    return command_printed();
}

int explain_command(const struct command *self, int argc, char **argv)
{
    const struct ask_view view = {
        .path = "/v1/explain", .param = "image", .question = "which image?", .print = print_explanation};
    return ask_and_show(self, argc, argv, &view);
}
