/*
 * What the tests of the upstream's thread share: a configuration built by hand, and a probe that notes what a job's
 * callbacks were called with, and waits for it.
 */
#pragma once

#include "base/buf.h"
#include "config/config.h"
#include "httpd.h"
#include "upstream/ledger.h"
#include "upstream/source.h"
#include "upstream/upstream.h"

#include <pthread.h>

struct world {
    struct config config;
    struct config_registry registries[4];
    struct config_source sources[4][4];
    char urls[4][128], source_urls[4][4][128];
    char *no_hosts[1];
    struct buf errors;
    struct ledger ledger; /* of sources that a test makes by itself */
    struct upstream *upstream;
};

/* Deadlines that no test waits for, private addresses allowed, no proxy. */
void world_init(struct world *w);
/* Adds a registry "one.test", "two.test" … at a server of the test, at 127.0.0.1. Its first source: what is said of it
 * counts. */
struct config_source *world_add(struct world *w, struct httpd *h);
/* Another source of a registry that was added, at another server, or at the first one's where it is NULL. */
struct config_source *world_add_source(struct world *w, size_t registry, struct httpd *h);
/* A source by itself, without the thread; the caller unrefs it before world_finish(). */
int world_source(struct world *w, const struct config_registry *registry, const struct config_source *config,
                 struct source **ret_source);
void world_start(struct world *w);
void world_finish(struct world *w); /* stops it, where it runs */

struct probe {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int fail_head, fail_body; /* what the callbacks return */
    unsigned heads, bodies, ticks, dones;
    char asked[16];            /* a letter for each source: 's' a sibling, 'u' another */
    struct upstream_head head; /* numbers only */
    char content_type[128], digest[128], etag[128], link[256], filters[64];
    struct buf body;
    struct upstream_result result; /* without the message */
    char message[512];
};

void probe_init(struct probe *p);
void probe_finish(struct probe *p);
/* A blob of library/a at one.test, for a start. */
struct upstream_job probe_job(struct probe *p);
void probe_submit(struct world *w, struct probe *p, const struct upstream_job *job);
/* Fails the test where it does not come within a long time. */
void probe_wait(struct probe *p);
void probe_wait_tick(struct probe *p);
void probe_wait_body(struct probe *p);
/* Submit and wait. The result's error. */
int probe_run(struct world *w, struct probe *p, const struct upstream_job *job);
/* What a source of the running upstream is like; texts are gone. */
struct upstream_source_state world_state(struct world *w, const char *registry, const char *source);
