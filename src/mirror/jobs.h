/*
 * What a long job has done last, such as the scrub: a record of BLOBSTORE_JOBS (docs/store-format.md), written by who
 * does the job, for who wants to know. Any thread.
 */
#pragma once

#include "blobstore/blobstore.h"

#define JOB_SCRUB "scrub/last"

#define JOB_TEXT_MAX 512

struct job_report {
    int64_t began_at, ended_at; /* wall clock, ms */
    uint64_t blobs, bytes;      /* that were gone through */
    uint64_t failures;          /* blobs that were damaged, or are missing; 0: all went well */
    char text[JOB_TEXT_MAX];    /* for people: what was made, or why it failed */
};

/* -ENOENT: it was never done, or cannot be read. */
MUST_CHECK int job_report_get(struct blobstore *store, const char *job, struct job_report *ret_report);
void job_report_put(struct blobstore_batch *batch, const char *job, const struct job_report *report);
