#include "mirror/seeder.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "lists/lists.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Of one file: in memory it takes 16 times its size. */
#define FILE_MAX (8 * MIB)

/* --- a seed's files ------------------------------------------------------------------------------------------ */

static void complain(const char *seed, const char *file, int line, const char *message)
{
    log_event(LOG_ERROR, "seed_list", LOG_S("seed", seed), LOG_S("file", file), LOG_I("line", line),
              LOG_S("error", message));
}

static int read_file(const char *path, struct buf *text)
{
    struct stat st;
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    return buf_read(text, fd);
}

static int add_words(struct buf *text, const char *const *words, size_t count)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = buf_addf(text, "%s%s", text->len ? " " : "", words[i]);
    return r;
}

static int add_pattern(struct buf *text, const struct image_pattern *p)
{
    int r = buf_adds(text, p->is_partial ? "part" : "whole");
    for (size_t i = 0; r == 0 && i < p->allow_count; i++)
        r = buf_addf(text, "\n+%s", p->allow[i]);
    for (size_t i = 0; r == 0 && i < p->deny_count; i++)
        r = buf_addf(text, "\n-%s", p->deny[i]);
    for (size_t i = 0; r == 0 && i < p->semver_count; i++)
        r = buf_addf(text, "\n=%s", p->semver[i]);
    return r;
}

/* An order that is being put together; the texts are of the list, or in `texts`. */
struct gathering {
    struct seed_wish *wishes;
    char **texts;
    size_t text_count, wish_count;
};

static void gathering_finish(struct gathering *g)
{
    for (size_t i = 0; i < g->text_count; i++)
        free(g->texts[i]);
    free(g->texts);
    free(g->wishes);
}

static int keep_text(struct gathering *g, struct buf *text, const char **ret)
{
    if (text->len == 0)
        return 0;
    *ret = g->texts[g->text_count] = buf_take(text);
    g->text_count += *ret != NULL;
    return *ret ? 0 : -ENOMEM;
}

static int gather_one(struct gathering *g, const struct image_reference *ref)
{
    AUTO_BUF struct buf platforms = BUF_INIT(SEED_PLATFORMS_TEXT_MAX + 1), pattern = BUF_INIT(16 * KIB),
                        origin = BUF_INIT(SEED_ORIGIN_MAX + 1);
    struct seed_wish *w = &g->wishes[g->wish_count];
    *w = (struct seed_wish){.image = ref->name};
    int r = add_words(&platforms, ref->platforms, ref->platform_count);
    if (r == 0 && ref->platform_count > 0 && ref->default_platforms)
        r = buf_adds(&platforms, " default");
    if (r == 0 && ref->pattern.is_set)
        r = add_pattern(&pattern, &ref->pattern);
    if (r == 0)
        r = buf_addf(&origin, "%s:%d", ref->file, ref->line);
    if (r == 0)
        r = keep_text(g, &platforms, &w->platforms);
    if (r == 0)
        r = keep_text(g, &pattern, &w->pattern);
    if (r == 0)
        r = keep_text(g, &origin, &w->origin);
    g->wish_count += r == 0;
    return r;
}

static void say_notes(const char *seed, const struct image_list *list)
{
    size_t count;
    const struct image_note *notes = image_list_notes(list, &count);
    for (size_t i = 0; i < count; i++)
        if (notes[i].is_error)
            complain(seed, notes[i].file, notes[i].line, notes[i].message);
}

static struct seed *make_seed(const char *name, const struct image_list *list, const char *platforms)
{
    size_t count;
    const struct image_reference *refs = image_list_references(list, &count);
    AUTO(gathering_finish)
    struct gathering g = {.wishes = calloc(count + 1, sizeof(*g.wishes)),
                          .texts = calloc(3 * count + 1, sizeof(*g.texts))};
    struct seed_complaint why = {"no memory"};
    struct seed *seed = NULL;
    for (size_t i = 0; g.wishes && g.texts && i < count; i++)
        if (gather_one(&g, &refs[i]) < 0)
            complain(name, refs[i].file, refs[i].line, "its platforms or its pattern are too long");
    const struct seed_order order = {
        .name = name, .platforms = platforms, .wishes = g.wishes, .wish_count = g.wish_count};
    if (!g.wishes || !g.texts || seed_create(&order, &seed, &why) < 0) {
        log_event(LOG_ERROR, "seed_list", LOG_S("seed", name), LOG_S("error", why.text));
        return NULL;
    }
    return seed;
}

static const struct config_seed *find_in(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->seed_count; i++)
        if (strcmp(config->seeds[i].name, name) == 0)
            return &config->seeds[i];
    return NULL;
}

/* Its files and its platforms, which are copies, under the configuration's lock. */
static int copy_files(struct seeder *s, const char *name, struct buf *files, struct buf *platforms)
{
    (void)pthread_rwlock_rdlock(&s->mirror->config_lock);
    const struct config_seed *c = find_in(s->mirror->config, name);
    int r = c ? add_words(platforms, (const char *const *)c->platforms.items, c->platforms.count) : -ENOENT;
    for (size_t i = 0; r == 0 && i < c->files.count; i++)
        r = buf_addf(files, "%s\n", c->files.items[i]);
    (void)pthread_rwlock_unlock(&s->mirror->config_lock);
    return r;
}

struct seed *seeder_read_lists(struct seeder *s, const char *name)
{
    AUTO_BUF struct buf files = BUF_INIT(MIB), platforms = BUF_INIT(4 * KIB);
    AUTO(auto_image_list_destroy) struct image_list *list = NULL;
    const struct image_list_options options = {.format = IMAGE_LIST_DETECT};
    const char *wrong;
    if (copy_files(s, name, &files, &platforms) < 0 || image_list_create(&options, &list, &wrong) < 0)
        return NULL;
    char *rest = files.data;
    for (char *file; rest && (file = strsep(&rest, "\n"));) {
        AUTO_BUF struct buf text = BUF_INIT(FILE_MAX);
        int r = *file ? read_file(file, &text) : 0;
        if (r == 0 && *file)
            r = image_list_read(list, file, text.data ? text.data : "", text.len);
        if (r < 0) { /* half a list would unpin the other half */
            complain(name, file, 0, r == -EFBIG ? "the file is too large" : strerror(-r));
            return NULL;
        }
    }
    say_notes(name, list);
    return make_seed(name, list, platforms.len ? platforms.data : NULL);
}

/* --- which there are ----------------------------------------------------------------------------------------- */

/* Under both locks: those that the configuration does not have any more. */
static void drop_others(struct seeder *s, const struct config *config, struct bundle *b)
{
    for (struct seed *seed = s->seeds, *next; seed; seed = next) {
        next = seed->next;
        if (seed->head.is_configured && !find_in(config, seed->head.name))
            seeder_drop(s, seed, b);
    }
}

/* Under both locks. Its images are read when the run begins. */
static void enter(struct seeder *s, const struct config_seed *c, struct bundle *b)
{
    struct seed *seed = seeder_find_name(s, c->name);
    bool is_new = !seed || !seed->head.is_configured;
    if (seed && is_new) /* what the configuration names is the configuration's */
        seeder_drop(s, seed, b);
    if (is_new) {
        seed = s->seed_count < SEEDS_MAX ? calloc(1, sizeof(*seed)) : NULL;
        if (!seed) {
            log_event(LOG_ERROR, "seed_list", LOG_S("seed", c->name), LOG_S("error", "there are too many seeds"));
            return;
        }
        seed->head = (struct seed_head){
            .id = ++s->last_id, .state = SEED_WAITING, .is_configured = true, .created_at = clock_real_ms()};
        (void)snprintf(seed->head.name, sizeof(seed->head.name), "%s", c->name);
        seeder_link(s, seed);
    }
    s->must_pin = s->must_pin || seed->head.pin != c->pin;
    seed->head.pin = c->pin;
    seed->head.every_ms = c->every_ms && c->every_ms < SEED_EVERY_MIN_MS ? SEED_EVERY_MIN_MS : c->every_ms;
    AUTO_BUF struct buf platforms = BUF_INIT(SEED_PLATFORMS_TEXT_MAX + 1);
    if (add_words(&platforms, (const char *const *)c->platforms.items, c->platforms.count) == 0)
        (void)snprintf(seed->head.platforms, sizeof(seed->head.platforms), "%s", platforms.data ? platforms.data : "");
    /* One that runs goes on; one that waits for its time waits, unless it has none. */
    bool waits = seed->head.next_at && seed->head.every_ms;
    bool runs = !is_new && seed_state_is_open(seed->head.state);
    seed->is_due = !waits && !runs;
    if (waits && seed->head.next_at > seed->head.ended_at + seed->head.every_ms)
        seed->head.next_at = seed->head.ended_at + seed->head.every_ms;
    seeder_put_head(b, seed);
    seeder_note(s, seed);
}

void seeder_read_configuration(struct seeder *s)
{
    struct bundle *b = bundle_create();
    if (!b)
        return;
    (void)pthread_rwlock_rdlock(&s->mirror->config_lock);
    (void)pthread_mutex_lock(&s->lock);
    const struct config *config = s->mirror->config;
    drop_others(s, config, b);
    for (size_t i = 0; i < config->seed_count; i++)
        enter(s, &config->seeds[i], b);
    (void)bundle_post(b, s->mirror->keeper);
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_rwlock_unlock(&s->mirror->config_lock);
}
