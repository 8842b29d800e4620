/*
 * What mirror.c and session.c share: the mirror's parts. Everything is set by mirror_start() and stays, but for the
 * configuration, which sessions read under its lock and copy from.
 */
#pragma once

#include "mirror/events.h"
#include "mirror/evictor.h"
#include "mirror/flight.h"
#include "mirror/gate.h"
#include "mirror/guests.h"
#include "mirror/keeper.h"
#include "mirror/library.h"
#include "mirror/mirror.h"
#include "mirror/packer.h"
#include "mirror/passage.h"
#include "mirror/pointers.h"
#include "mirror/privacy.h"
#include "mirror/question.h"
#include "mirror/recent.h"
#include "mirror/scrubber.h"
#include "mirror/spenders.h"
#include "mirror/tally.h"
#include "mirror/uses.h"
#include "mirror/visibility.h"
#include "mirror/workers.h"

#include <pthread.h>

struct mender;
struct seeder;

struct mirror {
    struct blobstore *store;
    struct upstream *upstream;
    struct gates gates;
    struct gate holding; /* where sessions wait for a back-off to pass */
    struct workers *workers;
    struct keeper *keeper;
    struct library *library;
    struct uses *uses;
    struct evictor *evictor;
    struct scrubber *scrubber;
    struct packer *packer;
    struct pointers *pointers;
    struct privacy *privacy;
    struct visibilities *visibilities;
    struct guests *guests;
    struct recent *recent;
    struct questions *questions;
    struct flights *flights;
    struct passages passages;
    struct tally tally;
    struct spenders *spenders;
    struct events *events;
    struct seeder *seeder;
    struct mender *mender;

    pthread_rwlock_t config_lock;
    const struct config *config; /* under config_lock */
};
