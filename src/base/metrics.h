/*
 * What is counted, and the page that Prometheus reads (text format 0.0.4). The families are one table in metrics.c,
 * from which docs/metrics.md is made; nothing is registered at run time. Any thread of any floor may count: no lock is
 * taken but for the first value of a new set of labels.
 *
 * A family has a bounded number of series, lest labels fill memory. Counters and histograms with labels beyond it are
 * counted under "other", gauges are left out. Families that are collected have no values of their own: before each page
 * they are forgotten, and the collector gives them anew.
 *
 * Values are integers; of families in seconds they are microseconds.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"

#include <stdint.h>

/* With the names of their labels. */
enum metric {
    METRIC_BUILD_INFO,           /* version */
    METRIC_START_TIME,           /* none */
    METRIC_CONNECTIONS,          /* none */
    METRIC_CONNECTIONS_LIMIT,    /* none */
    METRIC_CONNECTIONS_REFUSED,  /* none */
    METRIC_CONNECTIONS_SLOW,     /* reason */
    METRIC_TLS_EXPIRY,           /* certificate */
    METRIC_TLS_RELOAD_SUCCESS,   /* none */
    METRIC_AUTH_RELOAD_SUCCESS,  /* none */
    METRIC_AUTH_LOGINS,          /* result */
    METRIC_REQUESTS,             /* object, outcome, status */
    METRIC_REQUEST_DURATION,     /* object, outcome */
    METRIC_REQUEST_FIRST_BYTE,   /* object, outcome */
    METRIC_RESPONSE_BYTES,       /* object, outcome */
    METRIC_STALE_SERVED,         /* registry */
    METRIC_NEGATIVE_HITS,        /* registry */
    METRIC_QUESTIONS,            /* registry, kind */
    METRIC_FLIGHTS_ACTIVE,       /* none */
    METRIC_FLIGHTS_STARTED,      /* registry */
    METRIC_FLIGHTS_FAILED,       /* registry */
    METRIC_FLIGHTS_RESUMED,      /* registry */
    METRIC_FLIGHTS_PREFETCHED,   /* registry */
    METRIC_FLIGHTS_SEGMENTS,     /* registry */
    METRIC_STORED_BYTES,         /* registry */
    METRIC_UPSTREAM_REQUESTS,    /* registry, source */
    METRIC_UPSTREAM_BYTES,       /* registry, source */
    METRIC_UPSTREAM_COUNTED,     /* registry, account, class, cause */
    METRIC_UPSTREAM_LIMITED,     /* registry, kind */
    METRIC_UPSTREAM_BREAKER,     /* registry, source */
    METRIC_BUDGET_LIMIT,         /* registry, source, account */
    METRIC_BUDGET_REMAINING,     /* registry, source, account */
    METRIC_BUDGET_EMPTY_IN,      /* registry, source, account */
    METRIC_BUDGET_BLOCKED_UNTIL, /* registry, source, account */
    METRIC_PUBLIC_LIMIT,         /* registry, source */
    METRIC_PUBLIC_REMAINING,     /* registry, source */
    METRIC_STORE_BYTES,          /* none */
    METRIC_STORE_CONTENT,        /* none */
    METRIC_STORE_BLOBS,          /* none */
    METRIC_STORE_LIMIT,          /* none */
    METRIC_STORE_HELD,           /* none */
    METRIC_STORE_PARTIAL,        /* state */
    METRIC_STORE_AVAILABLE,      /* none */
    METRIC_EVICTED_IMAGES,       /* none */
    METRIC_EVICTED_BYTES,        /* none */
    METRIC_PACKED_BLOBS,         /* none */
    METRIC_PACKED_SAVED,         /* none */
    METRIC_PASSED_BY,            /* registry */
    METRIC_MENDED,
    METRIC_SCRUBBED_BYTES, /* none */
    METRIC_DAMAGED,        /* found */
    METRIC_BACKUP_TIME,    /* none */
    METRIC_BACKUP_BYTES,   /* none */
    METRIC_SEED_IMAGES,    /* seed */
    METRIC_SEED_FAILED,    /* seed */
    METRIC_SEED_ENDED,     /* seed */
};
#define METRICS (METRIC_SEED_ENDED + 1)

#define METRIC_LABELS_MAX 4
#define METRIC_SERIES_MAX 256

/* The values of a family's labels, in the order of the table: metrics_add(METRIC_REQUESTS, 1, LABELS("blob", "hit",
 * "2xx")). NULL counts as "". */
#define LABELS(...) ((const char *const[METRIC_LABELS_MAX]){__VA_ARGS__})
#define NO_LABELS NULL

/* Counters grow; gauges may also shrink. */
void metrics_add(enum metric m, int64_t n, const char *const *labels);
/* Of a gauge. */
void metrics_set(enum metric m, int64_t value, const char *const *labels);
/* Of a histogram. */
void metrics_observe(enum metric m, int64_t value, const char *const *labels);
/* The value now; of a histogram the number of observations. 0 where there is none. */
int64_t metrics_value(enum metric m, const char *const *labels);

/* `fn` gives the collected families their values, at each page. It runs on the thread that makes the page, under the
 * lock of pages only. NULL: none any more; the old one is not running when this returns. */
void metrics_set_collector(void (*fn)(void *arg), void *arg);
/* Adds the page to `text`. -ENOMEM, -EFBIG. */
MUST_CHECK int metrics_page(struct buf *text);
/* docs/metrics.md. */
MUST_CHECK int metrics_reference(struct buf *markdown);
