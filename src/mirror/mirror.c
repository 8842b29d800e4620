#include "mirror/mirror.h"

#include "mirror/budgets.h"
#include "mirror/mender.h"
#include "mirror/seeder.h"
#include "mirror/state.h"
#include "upstream/upstream.h"

#include <errno.h>
#include <stdlib.h>

static unsigned worker_count(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 2 ? 2 : cores > 16 ? 16 : (unsigned)cores;
}

static void checkpoint(void *arg, struct blobstore_batch *batch)
{
    const struct mirror *m = arg;
    budgets_put(m->upstream, batch);
    if (m->privacy)
        privacy_checkpoint(m->privacy, batch);
    if (m->events)
        events_checkpoint(m->events, batch);
}

static bool has_accounts(struct mirror *m, const struct config *config)
{
    for (size_t i = 0; i < config->registry_count; i++)
        if (upstream_has_accounts(m->upstream, config->registries[i].name))
            return true;
    return false;
}

static int64_t spend_time(void *arg)
{
    struct mirror *m = arg;
    const int64_t rests[] = {evictor_step(m->evictor), scrubber_step(m->scrubber), packer_step(m->packer),
                             mender_step(m->mender)};
    int64_t first = rests[0];
    for (size_t i = 1; i < ARRAY_SIZE(rests); i++)
        first = rests[i] < first ? rests[i] : first;
    return first;
}

static int start_parts(struct mirror *m)
{
    int r = budgets_restore(m->store, m->upstream);
    if (r == 0)
        r = keeper_start(m->store, checkpoint, m, &m->keeper);
    if (r == 0)
        r = workers_start(worker_count(), &m->workers);
    if (r == 0)
        r = library_create(m->store, m->keeper, &m->library);
    if (r == 0)
        r = uses_create(&m->uses);
    if (r == 0)
        r = evictor_create(m->store, m->library, m->uses, &m->evictor);
    if (r == 0)
        r = scrubber_create(m->store, m->library, &m->scrubber);
    if (r == 0)
        r = packer_create(m->store, m->uses, &m->packer);
    if (r == 0)
        r = pointers_create(m->store, m->keeper, &m->pointers);
    if (r == 0)
        r = privacy_create(m->store, m->keeper, &m->privacy);
    if (r == 0)
        r = visibilities_create(m->store, m->keeper, &m->visibilities);
    if (r == 0)
        r = guests_create(&m->guests);
    if (r == 0)
        r = recent_create(&m->recent);
    if (r == 0)
        r = spenders_create(&m->spenders);
    if (r == 0)
        r = events_create(m->store, &m->events);
    if (r < 0)
        return r;
    privacy_expect_accounts(m->privacy, has_accounts(m, m->config));
    const struct flights_needs for_flights = {
        .store = m->store,
        .upstream = m->upstream,
        .gates = &m->gates,
        .workers = m->workers,
        .keeper = m->keeper,
        .library = m->library,
        .evictor = m->evictor,
        .privacy = m->privacy,
        .recent = m->recent,
    };
    r = flights_create(&for_flights, &m->flights);
    if (r < 0)
        return r;
    const struct questions_needs for_questions = {
        .upstream = m->upstream,
        .gates = &m->gates,
        .workers = m->workers,
        .library = m->library,
        .pointers = m->pointers,
        .privacy = m->privacy,
        .visibilities = m->visibilities,
        .flights = m->flights,
        .recent = m->recent,
        .spenders = m->spenders,
    };
    r = questions_create(&for_questions, &m->questions);
    if (r == 0)
        r = mender_create(m, &m->mender);
    if (r < 0)
        return r;
    evictor_configure(m->evictor, m->config);
    scrubber_configure(m->scrubber, m->config);
    packer_configure(m->packer, m->config);
    keeper_employ(m->keeper, spend_time, m);
    return seeder_start(m, &m->seeder);
}

int mirror_start(const struct mirror_options *options, struct mirror **ret_mirror)
{
    struct mirror *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->store = options->store;
    m->upstream = options->upstream;
    m->config = options->config;
    m->passages.upstream = m->upstream;
    m->passages.gates = &m->gates;
    (void)pthread_rwlock_init(&m->config_lock, NULL);
    tally_init(&m->tally);
    int r = gates_start(&m->gates);
    gate_init(&m->holding, &m->gates);
    if (r == 0)
        r = start_parts(m);
    if (r < 0) {
        mirror_stop(m);
        return r;
    }
    *ret_mirror = m;
    return 0;
}

int mirror_reload(struct mirror *m, const struct config *config)
{
    (void)pthread_rwlock_wrlock(&m->config_lock);
    m->config = config;
    (void)pthread_rwlock_unlock(&m->config_lock);
    privacy_expect_accounts(m->privacy, has_accounts(m, config));
    recent_forget_all(m->recent);
    evictor_configure(m->evictor, config);
    scrubber_configure(m->scrubber, config);
    packer_configure(m->packer, config);
    keeper_hurry(m->keeper);
    seeder_configure(m->seeder);
    return 0;
}

void mirror_cut(struct mirror *m)
{
    seeder_cut(m->seeder); /* first: what fails because of the stop is no failure of its images */
    gates_cut(&m->gates);
}

/* The seeder has sessions; workers hand over to the keeper, and neither needs the upstream any more. */
void mirror_stop(struct mirror *m)
{
    if (!m)
        return;
    gates_cut(&m->gates);
    seeder_stop(m->seeder);
    workers_stop(m->workers);
    keeper_stop(m->keeper);
    mender_destroy(m->mender);
    flights_destroy(m->flights);
    questions_destroy(m->questions);
    events_destroy(m->events);
    spenders_destroy(m->spenders);
    recent_destroy(m->recent);
    guests_destroy(m->guests);
    visibilities_destroy(m->visibilities);
    privacy_destroy(m->privacy);
    pointers_destroy(m->pointers);
    packer_destroy(m->packer);
    scrubber_destroy(m->scrubber);
    evictor_destroy(m->evictor);
    uses_destroy(m->uses);
    library_destroy(m->library);
    gate_finish(&m->holding);
    gates_stop(&m->gates);
    tally_finish(&m->tally);
    (void)pthread_rwlock_destroy(&m->config_lock);
    free(m);
}
