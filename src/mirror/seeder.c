#include "mirror/seeder.h"

#include "base/clock.h"
#include "base/log.h"
#include "mirror/listing.h"
#include "mirror/tag_pattern.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The wall clock may be set while the thread sleeps: it looks again after this. */
#define SLEEP_MAX_MS (30 * CLOCK_SECOND)
/* After a failure that may pass: 15 s, a minute, four. */
#define RETRY_FIRST_MS (15 * CLOCK_SECOND)
#define RETRY_FACTOR 4
/* Progress in bytes is told so often. */
#define PROGRESS_MS 200

/* --- seeds --------------------------------------------------------------------------------------------------- */

void seed_destroy(struct seed *seed)
{
    if (!seed)
        return;
    for (size_t i = 0; i < seed->count; i++)
        seed_image_finish(&seed->images[i]);
    free(seed->images);
    free(seed);
}

void seeder_note(struct seeder *s, struct seed *seed)
{
    seed->sequence = ++s->sequence;
    (void)pthread_cond_broadcast(&s->changed);
}

struct seed *seeder_find(struct seeder *s, uint64_t id)
{
    struct seed *seed = s->seeds;
    while (seed && seed->head.id != id)
        seed = seed->next;
    return seed;
}

struct seed *seeder_find_name(struct seeder *s, const char *name)
{
    struct seed *seed = s->seeds;
    while (seed && strcmp(seed->head.name, name) != 0)
        seed = seed->next;
    return seed;
}

void seeder_link(struct seeder *s, struct seed *seed)
{
    struct seed **end = &s->seeds;
    while (*end)
        end = &(*end)->next;
    *end = seed;
    seed->next = NULL;
    s->seed_count++;
    s->image_count += seed->count;
    if (seed->head.id > s->last_id)
        s->last_id = seed->head.id;
    seeder_note(s, seed);
}

/* --- records ------------------------------------------------------------------------------------------------- */

void seeder_put_head(struct bundle *b, const struct seed *seed)
{
    AUTO_BUF struct buf key = BUF_INIT(BLOBSTORE_KEY_MAX), value = BUF_INIT(BLOBSTORE_VALUE_MAX);
    if (seed_head_key(seed->head.id, &key) == 0 && seed_head_encode(&seed->head, &value) == 0)
        bundle_put(b, BLOBSTORE_JOBS, &key, &value);
}

void seeder_put_image(struct bundle *b, const struct seed *seed, size_t at)
{
    AUTO_BUF struct buf key = BUF_INIT(BLOBSTORE_KEY_MAX), value = BUF_INIT(BLOBSTORE_VALUE_MAX);
    if (seed_image_key(seed->head.id, at, &key) == 0 && seed_image_encode(&seed->images[at], &value) == 0)
        bundle_put(b, BLOBSTORE_JOBS, &key, &value);
}

void seeder_put_all(struct bundle *b, const struct seed *seed)
{
    seeder_put_head(b, seed);
    for (size_t i = 0; i < seed->count; i++)
        seeder_put_image(b, seed, i);
}

static void delete_images(struct bundle *b, const struct seed *seed)
{
    for (size_t i = 0; i < seed->count; i++) {
        AUTO_BUF struct buf key = BUF_INIT(BLOBSTORE_KEY_MAX);
        if (seed_image_key(seed->head.id, i, &key) == 0)
            bundle_delete(b, BLOBSTORE_JOBS, &key);
    }
}

static void delete_all(struct bundle *b, const struct seed *seed)
{
    AUTO_BUF struct buf key = BUF_INIT(BLOBSTORE_KEY_MAX);
    if (seed_head_key(seed->head.id, &key) == 0)
        bundle_delete(b, BLOBSTORE_JOBS, &key);
    delete_images(b, seed);
}

void seeder_drop(struct seeder *s, struct seed *seed, struct bundle *b)
{
    struct seed **at = &s->seeds;
    s->must_pin = s->must_pin || seed->head.pin;
    delete_all(b, seed);
    while (*at != seed)
        at = &(*at)->next;
    *at = seed->next;
    s->seed_count--;
    s->image_count -= seed->count;
    (void)pthread_cond_broadcast(&s->changed);
    if (s->current.seed == seed)
        seed->is_gone = true;
    else
        seed_destroy(seed);
}

/* What could not be put for want of memory is done again after a restart. */
static void put(struct seeder *s, const struct seed *seed, size_t at)
{
    struct bundle *b = bundle_create();
    if (!b)
        return;
    seeder_put_head(b, seed);
    if (at < seed->count)
        seeder_put_image(b, seed, at);
    (void)bundle_post(b, s->mirror->keeper);
}

struct loading {
    struct seeder *s;
    struct seed *last;
    char key[SEED_HEAD_KEY_LEN]; /* of it */
};

static int load_image(struct seed *seed, const void *value, size_t value_len)
{
    struct seed_image *more, image;
    if (seed->count == SEED_IMAGES_MAX || seed_image_decode(value, value_len, &image) < 0)
        return 0;
    more = realloc(seed->images, (seed->count + 1) * sizeof(*more));
    if (!more) {
        seed_image_finish(&image);
        return -ENOMEM;
    }
    if (image.state == SEED_RUNNING)
        image.state = SEED_WAITING;
    seed->images = more;
    seed->images[seed->count++] = image;
    return 0;
}

static int load_record(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct loading *l = arg;
    struct seed_head head;
    if (key_len == SEED_IMAGE_KEY_LEN) { /* behind its head */
        if (!l->last || memcmp(key, l->key, SEED_HEAD_KEY_LEN) != 0)
            return 0;
        l->s->image_count -= l->last->count;
        int r = load_image(l->last, value, value_len);
        l->s->image_count += l->last->count;
        return r;
    }
    if (seed_head_decode(key, key_len, value, value_len, &head) < 0) {
        l->last = NULL; /* and its images */
        return 0;
    }
    l->last = calloc(1, sizeof(*l->last));
    if (!l->last)
        return -ENOMEM;
    memcpy(l->key, key, SEED_HEAD_KEY_LEN);
    l->last->head = head;
    seeder_link(l->s, l->last);
    return 0;
}

/* --- pauses -------------------------------------------------------------------------------------------------- */

/* "docker.io" of "docker.io/library/alpine:3.20". */
static size_t registry_len(const char *image)
{
    return strcspn(image, "/");
}

static const struct seeder_pause *pause_of(const struct seeder *s, const char *image, int64_t now)
{
    size_t len = registry_len(image);
    for (size_t i = 0; i < SEEDER_PAUSES_MAX; i++) {
        const struct seeder_pause *p = &s->pauses[i];
        if (p->until > now && strlen(p->registry) == len && strncmp(p->registry, image, len) == 0)
            return p;
    }
    return NULL;
}

int64_t seeder_due(const struct seeder *s, const struct seed_image *image, int64_t now,
                   const struct seeder_pause **ret_pause)
{
    const struct seeder_pause *p = pause_of(s, image->image, now);
    *ret_pause = p && p->until >= image->retry_at ? p : NULL;
    return *ret_pause ? p->until : image->retry_at;
}

/* In the place of one that is over, or of the one that is over first. */
static void pause_registry(struct seeder *s, const char *image, int64_t until, const char *why)
{
    struct seeder_pause *p = &s->pauses[0];
    for (size_t i = 1; i < SEEDER_PAUSES_MAX; i++)
        if (s->pauses[i].until < p->until)
            p = &s->pauses[i];
    size_t len = registry_len(image);
    *p = (struct seeder_pause){.until = until};
    (void)snprintf(p->registry, sizeof(p->registry), "%.*s", (int)len, image);
    (void)snprintf(p->why, sizeof(p->why), "%s", why);
}

/* --- a run --------------------------------------------------------------------------------------------------- */

static void set_text(char **at, const char *text)
{
    char *copy = text && *text ? strdup(text) : NULL;
    free(*at);
    *at = copy;
}

static void forget_matches(struct seed *seed)
{
    size_t kept = 0;
    for (size_t i = 0; i < seed->count; i++) {
        if (seed->images[i].is_match)
            seed_image_finish(&seed->images[i]);
        else
            seed->images[kept++] = seed->images[i];
    }
    seed->count = kept;
}

/* Under the lock, which is let go of where lists are read. */
static void begin_run(struct seeder *s, struct seed *seed)
{
    struct seed *fresh = NULL;
    if (seed->head.is_configured) {
        s->current.seed = seed; /* so that nobody frees it */
        (void)pthread_mutex_unlock(&s->lock);
        fresh = seeder_read_lists(s, seed->head.name);
        (void)pthread_mutex_lock(&s->lock);
        s->current.seed = NULL;
        if (seed->is_gone) {
            seed_destroy(seed);
            seed_destroy(fresh);
            return;
        }
    }
    struct bundle *b = bundle_create();
    if (b)
        delete_images(b, seed);
    s->image_count -= seed->count;
    if (fresh) { /* else those that were there are tried again */
        for (size_t i = 0; i < seed->count; i++)
            seed_image_finish(&seed->images[i]);
        free(seed->images);
        seed->images = TAKE_PTR(fresh->images);
        seed->count = fresh->count;
        fresh->count = 0;
        seed_destroy(fresh);
    }
    forget_matches(seed);
    s->image_count += seed->count;
    for (size_t i = 0; i < seed->count; i++) {
        struct seed_image *image = &seed->images[i];
        *image = (struct seed_image){.state = SEED_WAITING,
                                     .image = image->image,
                                     .platforms = image->platforms,
                                     .pattern = image->pattern,
                                     .origin = image->origin};
    }
    seed->is_due = false;
    seed->fetched = seed->pulls = seed->worked = 0;
    seed->busy_ms = 0;
    seed->head.state = SEED_WAITING;
    seed->head.started_at = clock_real_ms();
    seed->head.ended_at = seed->head.next_at = 0;
    if (b) {
        seeder_put_all(b, seed);
        (void)bundle_post(b, s->mirror->keeper);
    }
    s->must_pin = s->must_pin || seed->head.pin;
    seeder_note(s, seed);
}

static void end_run(struct seeder *s, struct seed *seed)
{
    size_t failed = 0;
    for (size_t i = 0; i < seed->count; i++)
        failed += seed->images[i].state == SEED_FAILED;
    seed->head.state = failed ? SEED_FAILED : SEED_DONE;
    seed->head.ended_at = clock_real_ms();
    seed->head.next_at = seed->head.every_ms ? seed->head.ended_at + seed->head.every_ms : 0;
    log_event(failed ? LOG_WARN : LOG_INFO, "seeded", LOG_S("seed", seed->head.name), LOG_U("images", seed->count),
              LOG_U("failed", failed), LOG_U("bytes", seed->fetched), LOG_U("pulls", seed->pulls));
    put(s, seed, SIZE_MAX);
    seeder_note(s, seed);
}

/* The next image that can be asked for now. false: none; something can be done at *when. */
static bool choose(struct seeder *s, struct seed **ret_seed, size_t *ret_at, int64_t *when)
{
    int64_t now = clock_monotonic_ms();
    for (struct seed *seed = s->seeds; seed; seed = seed->next) {
        for (size_t i = 0; seed_state_is_open(seed->head.state) && i < seed->count; i++) {
            const struct seed_image *image = &seed->images[i];
            if (image->state != SEED_WAITING)
                continue;
            const struct seeder_pause *pause;
            int64_t at = seeder_due(s, image, now, &pause);
            if (at <= now) {
                *ret_seed = seed;
                *ret_at = i;
                return true;
            }
            *when = at < *when ? at : *when;
        }
    }
    return false;
}

/* A run that is to begin, or has nothing left to do. */
static bool tend(struct seeder *s, int64_t *when)
{
    int64_t now = clock_real_ms();
    for (struct seed *seed = s->seeds; seed; seed = seed->next) {
        int64_t next = seed->head.next_at;
        if (seed->is_due || (next && next <= now)) {
            begin_run(s, seed);
            return true;
        }
        if (next && clock_monotonic_ms() + next - now < *when)
            *when = clock_monotonic_ms() + next - now;
        size_t left = 0;
        for (size_t i = 0; seed_state_is_open(seed->head.state) && i < seed->count; i++)
            left += seed->images[i].state == SEED_WAITING;
        if (seed_state_is_open(seed->head.state) && left == 0) {
            end_run(s, seed);
            return true;
        }
    }
    return false;
}

/* --- one image ----------------------------------------------------------------------------------------------- */

static bool may_pass(int error)
{
    const struct failure f = {.error = error};
    return failure_is_passing(&f) || error == -ENOSPC || error == -EBUSY || error == -ENOMEM || error == -EBADMSG ||
           error == -EPROTO || error == -EIO || error == -ECANCELED;
}

static void settle(struct seeder *s, struct seed *seed, size_t at, const struct seeder_result *result)
{
    struct seed_image *image = &seed->images[at];
    int64_t now = clock_monotonic_ms();
    seed->fetched += result->fetched;
    seed->pulls += result->pulls;
    seed->busy_ms += now - s->current.began;
    if (image->state != SEED_RUNNING) /* it was cancelled */
        return;
    image->state = SEED_WAITING;
    if (s->is_stopping)
        return;
    image->error = result->error;
    image->bytes = result->bytes > image->bytes ? result->bytes : image->bytes;
    set_text(&image->cause, result->cause);
    if (result->error == 0) {
        image->state = SEED_DONE;
        seed->worked++;
    } else if (result->error == -EAGAIN) {
        pause_registry(s, image->image, result->until > now ? result->until : now + CLOCK_SECOND, result->cause);
    } else if (may_pass(result->error) && image->attempts + 1 < SEED_ATTEMPTS) {
        int64_t pause = RETRY_FIRST_MS;
        for (unsigned i = 0; i < image->attempts; i++)
            pause *= RETRY_FACTOR;
        image->attempts++;
        image->retry_at = now + pause;
    } else {
        image->attempts++;
        image->state = SEED_FAILED;
        log_event(LOG_WARN, "seed_failed", LOG_S("seed", seed->head.name), LOG_S("image", image->image),
                  LOG_S("origin", image->origin), LOG_S("cause", result->cause));
    }
    put(s, seed, at);
    seeder_note(s, seed);
}

/* "linux/amd64 default" */
static int read_platforms(struct seeder *s, const char *text, const char *fallback, struct platform *platforms,
                          size_t *count);

/* What is meant where a seed says nothing. */
static int default_platforms(struct seeder *s, struct platform *platforms, size_t *count)
{
    struct mirror *m = s->mirror;
    int r = 0;
    (void)pthread_rwlock_rdlock(&m->config_lock);
    const struct config_list *list = &m->config->seeding.platforms;
    for (size_t i = 0; r == 0 && i < list->count; i++)
        r = read_platforms(s, list->items[i], NULL, platforms, count);
    bool is_none = list->count == 0;
    (void)pthread_rwlock_unlock(&m->config_lock);
    if (is_none)
        platforms[(*count)++] = platform_of_host();
    return r;
}

static int read_platforms(struct seeder *s, const char *text, const char *fallback, struct platform *platforms,
                          size_t *count)
{
    AUTO_FREE char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    char *rest = copy;
    for (char *word; (word = strsep(&rest, " "));) {
        int r = 0;
        if (*count == SEED_PLATFORMS_MAX)
            return -EINVAL;
        if (strcmp(word, "all") == 0) {
            *count = 0;
            return 1;
        }
        if (strcmp(word, "default") == 0 && fallback)
            r = read_platforms(s, *fallback ? fallback : "default", NULL, platforms, count);
        else if (strcmp(word, "default") == 0)
            r = default_platforms(s, platforms, count);
        else if (*word)
            r = platform_parse(word, &platforms[(*count)++]);
        if (r != 0)
            return r;
    }
    return 0;
}

int seeder_platforms(struct seeder *s, const char *text, const char *fallback,
                     struct platform platforms[SEED_PLATFORMS_MAX], size_t *ret_count)
{
    size_t count = 0;
    int r = read_platforms(s, text, fallback, platforms, &count);
    if (r >= 0)
        *ret_count = count;
    return r < 0 ? r : 0;
}

/* A task that the lock does not protect. */
struct task {
    struct image_name name;
    char *platforms, *pattern;
    char fallback[SEED_PLATFORMS_TEXT_MAX + 1];
};

static void task_finish(struct task *t)
{
    free(t->platforms);
    free(t->pattern);
}

static int take_task(const struct seed *seed, const struct seed_image *image, struct task *t)
{
    const char *wrong;
    *t = (struct task){.platforms = strdup(image->platforms ? image->platforms : "default")};
    (void)stpcpy(t->fallback, seed->head.platforms);
    if (!t->platforms || (image->pattern && !(t->pattern = strdup(image->pattern))))
        return -ENOMEM;
    return image_name_parse(image->image, strlen(image->image), &t->name, &wrong);
}

static void fetch(struct seeder *s, const struct task *t, struct seeder_result *result)
{
    struct platform platforms[SEED_PLATFORMS_MAX];
    size_t count = 0;
    int r = seeder_platforms(s, t->platforms, t->fallback, platforms, &count);
    if (r < 0) {
        *result = (struct seeder_result){.error = r, .cause = "its platforms cannot be read"};
        return;
    }
    seeder_fetch(s, &t->name, platforms, count, result);
}

struct matching {
    const struct task *task;
    const struct tag_pattern *pattern;
    char *names[SEED_MATCHES_MAX];
    size_t count, all; /* that were kept, that there are */
};

static void match(void *arg, const char *tag)
{
    struct matching *m = arg;
    struct image_name name = m->task->name;
    char text[IMAGE_NAME_MAX];
    if (!tag_is_valid(tag) || !tag_pattern_matches(m->pattern, tag) || m->all++ >= SEED_MATCHES_MAX)
        return;
    (void)stpcpy(name.tag, tag);
    m->names[m->count] = strdup(image_name_format(&name, text));
    m->count += m->names[m->count] != NULL;
}

/* What the repository has now. */
static void match_tags(struct seeder *s, struct matching *m, struct seeder_result *result)
{
    AUTO(auto_tag_pattern_destroy) struct tag_pattern *pattern = NULL;
    AUTO(auto_document_unref) struct document *d = NULL;
    AUTO(auto_listing_destroy) struct listing *tags = NULL;
    const char *wrong = "no memory";
    int r = tag_pattern_create(m->task->pattern, &pattern, &wrong);
    if (r < 0) {
        *result = (struct seeder_result){.error = r};
        (void)snprintf(result->cause, sizeof(result->cause), "the pattern %s", wrong);
        return;
    }
    seeder_fetch_tags(s, &m->task->name, &d, result);
    if (result->error)
        return;
    r = listing_create(&tags);
    if (r == 0)
        r = listing_add_tags(tags, d->data, d->len);
    result->error = r;
    if (r < 0)
        return;
    m->pattern = pattern;
    listing_each_tag(tags, match, m);
    if (m->all == 0)
        (void)snprintf(result->cause, sizeof(result->cause), "no tag matches");
    else if (m->all > m->count)
        (void)snprintf(result->cause, sizeof(result->cause), "%zu tags match: the first %zu are taken", m->all,
                       m->count);
    else
        (void)snprintf(result->cause, sizeof(result->cause), "%zu tags match", m->all);
}

static bool has_image(const struct seed *seed, const char *image)
{
    for (size_t i = 0; i < seed->count; i++)
        if (!seed->images[i].pattern && strcmp(seed->images[i].image, image) == 0)
            return true;
    return false;
}

/* Under the lock: what a pattern has brought becomes images of the seed. */
static int add_matches(struct seeder *s, struct seed *seed, size_t at, struct matching *m)
{
    size_t room = SEED_IMAGES_MAX - seed->count, room_of_all = SEED_IMAGES_ALL_MAX - s->image_count;
    room = room < room_of_all ? room : room_of_all;
    if (m->count > room)
        return -E2BIG;
    struct seed_image *more = realloc(seed->images, (seed->count + m->count) * sizeof(*more));
    struct bundle *b = bundle_create();
    if (more)
        seed->images = more;
    if (!more || !b) {
        bundle_destroy(b);
        return -ENOMEM;
    }
    for (size_t i = 0; i < m->count; i++) {
        const struct seed_image *parent = &seed->images[at];
        if (has_image(seed, m->names[i]))
            continue;
        struct seed_image child = {.state = SEED_WAITING, .is_match = true, .image = TAKE_PTR(m->names[i])};
        set_text(&child.platforms, parent->platforms);
        set_text(&child.origin, parent->origin);
        seed->images[seed->count++] = child;
        s->image_count++;
        seeder_put_image(b, seed, seed->count - 1);
    }
    s->must_pin = s->must_pin || seed->head.pin;
    return bundle_post(b, s->mirror->keeper);
}

static void finish_matching(struct matching *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->names[i]);
}

/* Under the lock, which is let go of meanwhile. */
static void work_on(struct seeder *s, struct seed *seed, size_t at)
{
    AUTO(task_finish) struct task task;
    AUTO(finish_matching) struct matching matching = {.task = &task};
    struct seeder_result result = {.error = take_task(seed, &seed->images[at], &task), .cause = "no memory"};
    bool is_pattern = task.pattern != NULL;
    seed->images[at].state = SEED_RUNNING;
    seed->head.state = SEED_RUNNING;
    s->current = (struct seeder_current){.seed = seed, .at = at, .began = clock_monotonic_ms()};
    seeder_note(s, seed);
    (void)pthread_mutex_unlock(&s->lock);
    uint64_t counted = seeder_counted(s->mirror);
    if (result.error == 0) {
        if (is_pattern)
            match_tags(s, &matching, &result);
        else
            fetch(s, &task, &result);
    }
    result.pulls = seeder_counted(s->mirror) - counted;
    (void)pthread_mutex_lock(&s->lock);
    if (seed->is_gone) {
        s->current.seed = NULL;
        seed_destroy(seed);
        return;
    }
    if (is_pattern && result.error == 0 && seed->images[at].state == SEED_RUNNING) {
        result.error = add_matches(s, seed, at, &matching);
        if (result.error == -E2BIG)
            (void)snprintf(result.cause, sizeof(result.cause), "it brings more images than a seed may have");
    }
    settle(s, seed, at, &result);
    s->current.seed = NULL;
}

/* --- the thread ---------------------------------------------------------------------------------------------- */

static void sleep_until(struct seeder *s, int64_t when)
{
    int64_t latest = clock_monotonic_ms() + SLEEP_MAX_MS;
    if (when > latest)
        when = latest;
    struct timespec until = {.tv_sec = when / 1000, .tv_nsec = when % 1000 * 1000000};
    (void)pthread_cond_timedwait(&s->stirred, &s->lock, &until);
}

/* What takes the lock itself. Whether anything was to be done. */
static bool catch_up(struct seeder *s)
{
    bool reads = s->is_reconfigured, pins = s->must_pin;
    s->is_reconfigured = s->must_pin = false;
    (void)pthread_mutex_unlock(&s->lock);
    if (reads)
        seeder_read_configuration(s);
    if (pins)
        seeder_pin(s);
    (void)pthread_mutex_lock(&s->lock);
    return reads || pins;
}

static void *seeder_thread(void *arg)
{
    struct seeder *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    while (!s->is_stopping) {
        struct seed *seed;
        size_t at;
        int64_t when = INT64_MAX;
        if (catch_up(s) || tend(s, &when))
            continue;
        if (choose(s, &seed, &at, &when))
            work_on(s, seed, at);
        else
            sleep_until(s, when);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

bool seeder_is_interrupted(struct seeder *s)
{
    (void)pthread_mutex_lock(&s->lock);
    const struct seeder_current *c = &s->current;
    bool is = s->is_stopping || c->seed->is_gone || c->seed->images[c->at].state != SEED_RUNNING;
    (void)pthread_mutex_unlock(&s->lock);
    return is;
}

void seeder_note_progress(struct seeder *s, uint64_t bytes, uint64_t missing, uint64_t fetched)
{
    int64_t now = clock_monotonic_ms();
    (void)pthread_mutex_lock(&s->lock);
    s->current.bytes = bytes;
    s->current.missing = missing;
    s->current.fetched = fetched;
    if (now - s->progress_told >= PROGRESS_MS) {
        s->progress_told = now;
        seeder_note(s, s->current.seed);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static void init(struct seeder *s, struct mirror *m)
{
    pthread_condattr_t attr;
    s->mirror = m;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->stirred, &attr);
    (void)pthread_cond_init(&s->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    s->is_reconfigured = s->must_pin = true;
}

int seeder_start(struct mirror *m, struct seeder **ret_seeder)
{
    struct seeder *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    init(s, m);
    struct loading loading = {.s = s};
    int r =
        blobstore_record_scan(m->store, BLOBSTORE_JOBS, SEED_KEY_PREFIX, SEED_KEY_PREFIX_LEN, load_record, &loading);
    if (r == 0)
        r = -pthread_create(&s->thread, NULL, seeder_thread, s);
    s->is_running = r == 0;
    if (r < 0) {
        seeder_stop(s);
        return r;
    }
    *ret_seeder = s;
    return 0;
}

void seeder_configure(struct seeder *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->is_reconfigured = true;
    memset(s->pauses, 0, sizeof(s->pauses));
    for (struct seed *seed = s->seeds; seed; seed = seed->next)
        for (size_t i = 0; i < seed->count; i++)
            seed->images[i].retry_at = 0;
    (void)pthread_cond_signal(&s->stirred);
    (void)pthread_mutex_unlock(&s->lock);
}

void seeder_cut(struct seeder *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->is_stopping = s->is_cut = true;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_cond_signal(&s->stirred);
    (void)pthread_mutex_unlock(&s->lock);
}

void seeder_stop(struct seeder *s)
{
    if (!s)
        return;
    if (s->is_running) {
        seeder_cut(s);
        (void)pthread_join(s->thread, NULL);
    }
    for (struct seed *seed = s->seeds, *next; seed; seed = next) {
        next = seed->next;
        seed_destroy(seed);
    }
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_cond_destroy(&s->stirred);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}
