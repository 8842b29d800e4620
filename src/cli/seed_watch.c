#include "cli/seed_watch.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/plural.h"
#include "cli/command.h"
#include "cli/human.h"
#include "cli/json.h"
#include "cli/progress.h"

#include <signal.h>
#include <string.h>
#include <time.h>

/* A line where there is no terminal; and how long one waits for news at a time: so long does Ctrl-C take. */
#define PLAIN_EVERY_MS (5 * CLOCK_SECOND)
#define WAIT_MS 1000
/* "1023.9 MiB of 1023.9 MiB" */
#define TAIL_WIDTH 24

static bool has_ended(const json_t *seed)
{
    const char *state = json_text(seed, "state");
    return strcmp(state, "waiting") != 0 && strcmp(state, "running") != 0;
}

/* "1.2 GiB of 3.4 GiB", so long as all of them are. */
static const char *parts(uint64_t part, uint64_t whole, char *text, size_t len)
{
    char a[HUMAN_TEXT], b[HUMAN_TEXT], both[3 * HUMAN_TEXT];
    (void)snprintf(both, sizeof(both), "%s of %s", human_size(part, a), human_size(whole, b));
    (void)snprintf(text, len, "%*s", TAIL_WIDTH, both);
    return text;
}

/* The hour of the day, and the day where it is not today. */
static const char *clock_text(int64_t wall_ms, char *text, size_t len)
{
    time_t now = time(NULL), then = (time_t)(wall_ms / 1000);
    struct tm a, b;
    (void)localtime_r(&now, &a);
    (void)localtime_r(&then, &b);
    bool is_today = a.tm_yday == b.tm_yday && a.tm_year == b.tm_year;
    text[0] = '\0';
    (void)strftime(text, len, is_today ? "%H:%M" : "%a %H:%M", &b);
    return text;
}

/* "24 pulls made, 6 left to seeding; about 2 h to go" */
static void add_outlook(struct buf *b, const json_t *seed)
{
    char text[HUMAN_TEXT];
    int64_t left = json_number(seed, "pulls_left"), ends_at = json_number(seed, "ends_at");
    int64_t to_go = ends_at - clock_real_ms();
    uint64_t pulls = json_bytes(seed, "pulls");
    (void)!buf_addf(b, "%s %s made", human_count(pulls, text), plural(pulls, "pull", "pulls"));
    if (left >= 0)
        (void)!buf_addf(b, ", %s left to seeding now", human_count((uint64_t)left, text));
    if (ends_at && to_go >= CLOCK_SECOND)
        (void)!buf_addf(b, "; about %s to go", human_duration(to_go, text));
}

static void draw(struct progress *p, const json_t *seed)
{
    const json_t *images = json_object_get(seed, "images"), *current = json_object_get(seed, "current");
    AUTO_BUF struct buf outlook = BUF_INIT(KIB);
    char fetched[HUMAN_TEXT], percent[2 * HUMAN_TEXT], tail[3 * HUMAN_TEXT], name[128], hour[32];
    uint64_t all = json_bytes(images, "all"), failed = json_bytes(images, "failed"),
             done = json_bytes(images, "done") + failed;
    progress_begin(p);
    (void)snprintf(name, sizeof(name), "%s: %llu of %llu images", json_text(seed, "name"), (unsigned long long)done,
                   (unsigned long long)all);
    (void)snprintf(percent, sizeof(percent), "%llu %%  %s", (unsigned long long)(all ? done * 100 / all : 0),
                   human_size(json_bytes(seed, "fetched_bytes"), fetched));
    (void)snprintf(tail, sizeof(tail), "%*s", TAIL_WIDTH, percent);
    progress_bar(p, name, done, all, tail);
    if (current)
        progress_bar(
            p, json_text(current, "image"), json_bytes(current, "fetched_bytes"), json_bytes(current, "missing_bytes"),
            parts(json_bytes(current, "fetched_bytes"), json_bytes(current, "missing_bytes"), tail, sizeof(tail)));
    if (json_number(seed, "waits_until"))
        progress_line(p, "waits until %s: %s", clock_text(json_number(seed, "waits_until"), hour, sizeof(hour)),
                      json_text(seed, "waits_for"));
    add_outlook(&outlook, seed);
    if (failed > 0)
        (void)!buf_addf(&outlook, "; %llu failed", (unsigned long long)failed);
    progress_line(p, "%s", outlook.data ? outlook.data : "");
    progress_show(p);
}

static void say(const json_t *seed)
{
    const json_t *images = json_object_get(seed, "images");
    AUTO_BUF struct buf line = BUF_INIT(4 * KIB);
    char text[HUMAN_TEXT], hour[32];
    uint64_t done = json_bytes(images, "done") + json_bytes(images, "failed");
    (void)!buf_addf(&line, "%s: %llu of %llu images, %s, ", json_text(seed, "name"), (unsigned long long)done,
                    (unsigned long long)json_bytes(images, "all"), human_size(json_bytes(seed, "fetched_bytes"), text));
    add_outlook(&line, seed);
    if (json_number(seed, "waits_until"))
        (void)!buf_addf(&line, "; waits until %s: %s", clock_text(json_number(seed, "waits_until"), hour, sizeof(hour)),
                        json_text(seed, "waits_for"));
    (void)fprintf(stderr, "%s\n", line.data ? line.data : "");
}

static void show(struct progress *p, const json_t *seed, int64_t *said_at)
{
    if (p->is_terminal) {
        draw(p, seed);
    } else if (clock_monotonic_ms() - *said_at >= PLAIN_EVERY_MS) {
        *said_at = clock_monotonic_ms();
        say(seed);
    }
}

/* ------------------------------------------------------------------ what has come of it */

static void print_failures(const json_t *failures)
{
    const json_t *image;
    size_t at;
    json_array_foreach(failures, at, image)
    {
        const char *origin = json_text(image, "origin");
        printf("\n%s%s%s%s\n  %s\n", json_text(image, "image"), *origin ? "  (" : "", origin, *origin ? ")" : "",
               json_text(image, "cause"));
        if (*json_text(image, "advice"))
            printf("  What to do: %s.\n", json_text(image, "advice"));
    }
}

static int print_end(const json_t *seed)
{
    const json_t *images = json_object_get(seed, "images");
    const char *state = json_text(seed, "state");
    char size[HUMAN_TEXT], pulls[HUMAN_TEXT], took[HUMAN_TEXT], next[HUMAN_TEXT];
    printf("%s: %llu of %llu images are here; %s fetched, %s %s, %s.%s\n", json_text(seed, "name"),
           (unsigned long long)json_bytes(images, "done"), (unsigned long long)json_bytes(images, "all"),
           human_size(json_bytes(seed, "fetched_bytes"), size), human_count(json_bytes(seed, "pulls"), pulls),
           plural(json_bytes(seed, "pulls"), "pull", "pulls"),
           human_duration(json_number(seed, "ended_at") - json_number(seed, "started_at"), took),
           strcmp(state, "cancelled") == 0 ? " It was cancelled." : "");
    print_failures(json_object_get(seed, "failures"));
    if (json_number(seed, "next_at"))
        printf("\nIt is repeated %s.\n", human_age(json_number(seed, "next_at"), clock_real_ms(), next));
    return command_printed();
}

/* Ctrl-C and SIGTERM are asked for, not answered: the seed goes on without us. */
static bool wants_out(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && (sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1);
}

void seed_watch_begin(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
}

void seed_watch_how(int64_t id)
{
    (void)fprintf(stderr, "The server goes on with it. To watch it again: entrepot seed --watch %lld\n", (long long)id);
}

static int ask(struct client *client, int64_t id, int64_t after, json_t **ret_seed)
{
    char target[128];
    (void)snprintf(target, sizeof(target), "/v1/seeds/%lld?after=%lld&wait=%d", (long long)id, (long long)after,
                   WAIT_MS);
    return client_call(client, "GET", target, NULL, ret_seed);
}

int seed_watch(struct client *client, int64_t id, bool json)
{
    struct progress *p = malloc(sizeof(*p));
    int64_t after = 0, said_at = 0;
    int r = p ? STATUS_OK : STATUS_FAILED;
    if (p)
        progress_init(p);
    while (r == STATUS_OK) {
        AUTO_JSON json_t *seed = NULL;
        r = ask(client, id, after, &seed);
        if (r != STATUS_OK)
            break;
        after = json_number(seed, "sequence");
        if (has_ended(seed)) {
            progress_clear(p);
            r = json ? client_print_json(seed) : print_end(seed);
            r = r == STATUS_OK && strcmp(json_text(seed, "state"), "done") != 0 ? STATUS_FAILED : r;
            break;
        }
        if (!json)
            show(p, seed, &said_at);
        if (wants_out()) {
            seed_watch_how(id);
            r = 128 + SIGINT;
        }
    }
    free(p);
    return r;
}
