/* A job's life, from its submission to its on_done: job.c has the table. Created by any thread; the rest is the
 * upstream thread's. */
#pragma once

#include "base/auto.h"
#include "upstream/list.h"
#include "upstream/upstream.h"

struct job;
struct loop;
struct sources;

/* Copies the request, takes a reference to the sources. -ENOMEM. -EINVAL: names that cannot be part of a URL. */
MUST_CHECK int job_create(const struct upstream_job *request, struct sources *sources, struct loop *loop,
                          struct job **ret_job);
/* One that was not started: without on_done. Accepts NULL. */
void job_destroy(struct job *job);
/* By which it is in a list, of those that wait to be started or of those that run; its end takes it out. */
struct list *job_link(struct job *job);
struct job *job_of_link(struct list *link);

void job_start(struct job *job);
/* on_done with -ECANCELED, and it is gone; started or not. */
void job_cancel(struct job *job);
