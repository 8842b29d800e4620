/*
 * The scrubber: reads everything that is stored, slowly and for ever, and sees whether it still is what its digest
 * says. Of the keeper's thread, in steps of a few milliseconds; what was verified, and how far it has come, is written
 * down, so that it goes on there after a restart.
 */
#pragma once

#include "blobstore/blobstore.h"
#include "config/config.h"

struct library;
struct scrubber;

MUST_CHECK int scrubber_create(struct blobstore *store, struct library *library, struct scrubber **ret_scrubber);
void scrubber_destroy(struct scrubber *s); /* accepts NULL */
/* How fast and how often, from now on. Any thread. */
void scrubber_configure(struct scrubber *s, const struct config *config);
/* How far the round has come, in percent. Any thread. */
unsigned scrubber_progress(struct scrubber *s);
/* Does a little, if it is time; returns for how long (ms) nothing need be done. */
int64_t scrubber_step(struct scrubber *s);
