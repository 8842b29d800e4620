/*
 * The seeder: the thread that works off seeds (mirror/seeding.h), one image at a time, its blobs side by side. It asks
 * as a client of the mirror, in a class of its own, and is in nobody's way: who pulls goes before it. What its files
 * share is here:
 *
 *   seeding.c          the door
 *   seeder.c           the thread, and how the work on an image ends
 *   seeder_seeds.c     the seeds that there are, and their records
 *   seeder_runs.c      what can be done when: runs that begin and end, registries that rest
 *   seeder_order.c     a seed of an order, and the platforms that it means
 *   seeder_lists.c     the seeds of the configuration, and their files
 *   seeder_fetch.c     brings one image
 *   seeder_tags.c      a pattern of tags becomes images
 *   seeder_pins.c      pins what is not to be evicted
 *   seeder_budget.c    what is left of the pull limits
 *   seeder_price.c     what an order would cost
 *
 * Records are put by the keeper. All that is under the lock is changed there first, and posted under it, so that
 * records come in the order of the changes.
 */
#pragma once

#include "mirror/bundle.h"
#include "mirror/seed_record.h"
#include "mirror/state.h"

#include <pthread.h>

/* Registries that have no pulls left, or want to be left in peace. */
#define SEEDER_PAUSES_MAX 16

struct seed {
    struct seed *next;
    struct seed_head head;
    struct seed_image *images;
    size_t count;
    uint64_t sequence;
    bool is_gone; /* out of the list; the thread frees it, which is at it */
    bool is_due;  /* a run is to begin */
    /* of this run, since the start */
    uint64_t fetched, pulls;
    int64_t busy_ms;
    size_t worked; /* images that were gone through */
};

struct seeder_pause {
    char registry[LIMIT_NAME + 1]; /* "": none */
    int64_t until;                 /* monotonic ms */
    char why[RECENT_MESSAGE_MAX];
};

/* What the thread is at. */
struct seeder_current {
    struct seed *seed; /* NULL: nothing */
    size_t at;
    uint64_t bytes, missing, fetched;
    int64_t began; /* monotonic ms */
};

struct seeder {
    struct mirror *mirror; /* set at create */
    pthread_t thread;
    bool is_running;
    pthread_mutex_t lock;
    pthread_cond_t stirred; /* for the thread */
    pthread_cond_t changed; /* for those who look */
    /* under lock */
    struct seed *seeds; /* by id */
    size_t seed_count, image_count;
    uint64_t last_id, sequence;
    int64_t progress_told; /* monotonic ms */
    bool is_stopping, is_reconfigured, must_pin;
    int64_t pins_lapse_at; /* wall clock, ms: when somebody's pin ends of what a seed pins, too; 0: none does */
    bool is_cut;           /* nobody looks on */
    struct seeder_pause pauses[SEEDER_PAUSES_MAX];
    struct seeder_current current;
};

/* Of a seed, or an image: it has not come to its end. */
static inline bool seed_state_is_open(enum seed_state state)
{
    return state == SEED_WAITING || state == SEED_RUNNING;
}

/* Reads the seeds that there are, and starts the thread. */
MUST_CHECK int seeder_start(struct mirror *m, struct seeder **ret_seeder);
/* The configuration has changed; everything that is waited for is tried anew. Any thread. */
void seeder_configure(struct seeder *s);
/* Somebody has pinned something. Any thread; accepts NULL. */
void seeder_note_pin(struct seeder *s);
/* The thread comes to its end; idempotent, any thread. */
void seeder_cut(struct seeder *s);
/* After gates_cut(). Accepts NULL. */
void seeder_stop(struct seeder *s);

/* ------------------------------------------------------------------ seeder_seeds.c, under the lock */

void seed_destroy(struct seed *seed); /* accepts NULL */
/* NULL where the text is empty, or there is no memory. */
void seed_set_text(char **at, const char *text);
/* Something has changed that shows. */
void seeder_note(struct seeder *s, struct seed *seed);
struct seed *seeder_find(struct seeder *s, uint64_t id);
struct seed *seeder_find_name(struct seeder *s, const char *name);
void seeder_link(struct seeder *s, struct seed *seed);
/* Out of the list, with its records and its pins. Frees it, or lets the thread do so. */
void seeder_drop(struct seeder *s, struct seed *seed, struct bundle *b);
void seeder_put_head(struct bundle *b, const struct seed *seed);
void seeder_put_image(struct bundle *b, const struct seed *seed, size_t at);
void seeder_put_all(struct bundle *b, const struct seed *seed);
void seeder_delete_images(struct bundle *b, const struct seed *seed);
/* The head, and one image unless `at` is past the last. What could not be posted for want of memory is done again
 * after a restart. */
void seeder_post(struct seeder *s, const struct seed *seed, size_t at);
/* Reads the seeds that there are; before the thread is started. */
MUST_CHECK int seeder_load(struct seeder *s);

/* ------------------------------------------------------------------ seeder_runs.c, under the lock */

/* When the image can be asked for (monotonic ms), and the pause of its registry that keeps it until then, or NULL. */
int64_t seeder_due(const struct seeder *s, const struct seed_image *image, int64_t now,
                   const struct seeder_pause **ret_pause);
/* The image's registry is left in peace until then. */
void seeder_pause(struct seeder *s, const char *image, int64_t until, const char *why);
/* Begins a run that is to begin, or ends one that has nothing left to do; lets go of the lock where lists are read.
 * false: there is none; the next is due at *when, if that is earlier. */
bool seeder_tend(struct seeder *s, int64_t *when);
/* The next image that can be asked for now. false: none; something can be done at *when, if that is earlier. */
bool seeder_choose(struct seeder *s, struct seed **ret_seed, size_t *ret_at, int64_t *when);

/* ------------------------------------------------------------------ without it */

/* seeder_order.c: a seed without id, of an order. -EINVAL, -ENOSPC: *ret_why. */
MUST_CHECK int seed_create(const struct seed_order *order, struct seed **ret_seed, struct seed_complaint *ret_why);
/* Returns `error`. */
int seed_complain(struct seed_complaint *why, int error, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Reads "linux/amd64 default", where "default" is what `fallback` says, and where that says nothing, the configuration.
 * Of no length: all. -EINVAL, -ENOMEM. */
MUST_CHECK int seeder_platforms(struct seeder *s, const char *text, const char *fallback,
                                struct platform platforms[SEED_PLATFORMS_MAX], size_t *ret_count);

/* seeder_fetch.c */
struct seeder_result {
    int error; /* 0: everything is stored */
    char cause[SEED_CAUSE_MAX + 1];
    int64_t until; /* monotonic ms: of -EAGAIN */
    uint64_t bytes, fetched, pulls;
};
/* Brings what is missing of the image, for these platforms (none: all). *result is set whatever comes of it. */
void seeder_fetch(struct seeder *s, const struct image_name *name, const struct platform *platforms,
                  size_t platform_count, struct seeder_result *result);
/* The tags of a repository, as a document of a registry's answer; the caller's reference. */
void seeder_fetch_tags(struct seeder *s, const struct image_name *name, struct document **ret_document,
                       struct seeder_result *result);

/* seeder_tags.c */
struct seeder_matches {
    char *names[SEED_MATCHES_MAX];
    size_t count, all; /* that were kept, that there are */
};
/* What of the repository's tags matches now. *result is set whatever comes of it; seeder_matches_finish() in any case.
 */
void seeder_match(struct seeder *s, const struct image_name *repository, const char *pattern,
                  struct seeder_matches *matches, struct seeder_result *result);
/* Under the lock: they become images of the seed, behind the pattern at `at`. */
void seeder_add_matches(struct seeder *s, struct seed *seed, size_t at, struct seeder_matches *matches,
                        struct seeder_result *result);
void seeder_matches_finish(struct seeder_matches *matches);

/* seeder.c: for who brings an image. Both take the lock. */
/* Whether it is no use to go on with what the thread is at. */
bool seeder_is_interrupted(struct seeder *s);
void seeder_note_progress(struct seeder *s, uint64_t bytes, uint64_t missing, uint64_t fetched);

/* seeder_pins.c: pins what is to be pinned now, and unpins what was pinned for a seed and is not any more. Takes the
 * lock for a look. */
void seeder_pin(struct seeder *s);

/* seeder_lists.c: the seeds of the configuration become those of the seeder: new ones due, others gone. */
void seeder_read_configuration(struct seeder *s);
/* Reads the files of a seed of the configuration anew. NULL: it has none, or they cannot be read, as the log says. */
struct seed *seeder_read_lists(struct seeder *s, const char *name);

/* seeder_budget.c: what is left to seeding of the pull limits of a registry. -1 where no limit is known. */
struct seeder_budget {
    int64_t left, per_window, window_ms;
};
void seeder_budget(struct mirror *m, const char *registry, struct seeder_budget *ret_budget);
/* How long the limit will make so many pulls wait, about; -1: nobody can say. */
int64_t seeder_budget_wait_ms(const struct seeder_budget *budget, uint64_t pulls);
/* Pulls that were counted for seeding, since the start. */
uint64_t seeder_counted(struct mirror *m);
