/*
 * A mirror of the tests' own behind mirror/mirror.h: objects whose answers, bodies and progress the test decides. An
 * object is found by a request's reference, or by its name where it has none. Any thread.
 */
#pragma once

#include "mirror/mirror.h"

struct fake_object {
    char key[160];
    struct mirror_answer answer; /* may be changed before it is asked for */
    int fd;                      /* of MIRROR_FILE */
    uint8_t *memory;             /* of MIRROR_MEMORY */

    /* under the mirror's lock */
    uint64_t available; /* of MIRROR_FLIGHT */
    bool held, failed;
    struct fake_object *next;
};

/* The last request, as far as it matters. Strings are empty where the request had NULL. */
struct fake_seen {
    enum mirror_object object;
    bool head;
    char ns[256], name[256], reference[160], artifact_type[256], last[256];
    int64_t page_size;
    bool only_if_cached, is_of_sibling;
    bool admitted; /* mirror_admit() */
};

struct mirror *fake_mirror_create(void);
void fake_mirror_destroy(struct mirror *m); /* no session may be open */
/* Content is the bytes fake_byte(0), fake_byte(1), …; a flight has none of them yet. */
struct fake_object *fake_add(struct mirror *m, const char *key, enum mirror_body body, uint64_t size);
struct fake_object *fake_add_error(struct mirror *m, const char *key, int status, const char *code);
uint8_t fake_byte(uint64_t offset);

void fake_hold(struct mirror *m, struct fake_object *o); /* steps wait */
void fake_release(struct mirror *m, struct fake_object *o);
void fake_advance(struct mirror *m, struct fake_object *o, uint64_t available);
void fake_grow(struct mirror *m, struct fake_object *o, uint64_t more);
void fake_restart(struct mirror *m, struct fake_object *o); /* from no bytes */
void fake_fail(struct mirror *m, struct fake_object *o);
void fake_tick(struct mirror *m); /* wakes everybody, as the mirror does once a second */

/* Between the two every call into the mirror blocks. */
void fake_freeze(struct mirror *m);
void fake_thaw(struct mirror *m);
unsigned fake_asked(struct mirror *m); /* calls of mirror_open(), those that are blocked as well */

/* They wait until it is so, and fail the test after a while. */
void fake_await_waiting(struct mirror *m, unsigned count);
void fake_await_open(struct mirror *m, unsigned count);

struct fake_seen fake_seen(struct mirror *m);
unsigned fake_opened(struct mirror *m); /* sessions ever */
unsigned fake_open(struct mirror *m);   /* sessions now */
bool fake_was_cut(struct mirror *m);
