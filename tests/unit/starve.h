/*
 * Memory that runs out. In a program that is linked with `starve_link` (tests/unit/meson.build) allocations and new
 * threads are counted, and the one that was asked for fails. Spared, neither counted nor refused, are: what the test's
 * own files allocate, which are compiled with `starve_spared`; and the thread that arms, but where it says that it
 * enters what is tested, since Check allocates as well.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum starve_extent {
    STARVE_ONE,  /* the one, and all after it succeed */
    STARVE_REST, /* and all after it, until starve_disarm() */
    STARVE_EXTENTS
};

/* From now on, on whatever thread: `countdown` allocations succeed, the next one fails. */
void starve_arm(unsigned countdown, enum starve_extent extent);
/* The thread that armed enters or leaves what is tested. */
void starve_enter(bool inside);
/* Whether one has failed. */
bool starve_disarm(void);

/* For a shared library, which is not linked anew but can be told what to call. */
void *starve_malloc(size_t size);
void *starve_calloc(size_t count, size_t size);
void *starve_realloc(void *p, size_t size);
char *starve_strdup(const char *s);
