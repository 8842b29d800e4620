/*
 * What the two files of a question share: question.c asks and tells, question_read.c reads what came and decides how it
 * goes on.
 */
#pragma once

#include "mirror/question.h"

#include "base/limits.h"
#include "base/table.h"
#include "mirror/events.h"
#include "mirror/listing.h"
#include "upstream/upstream.h"

struct questions {
    struct questions_needs needs; /* set at create */
    pthread_mutex_t lock;
    /* under lock */
    struct question *questions;
    struct question *fetching; /* those of tags that fetch a manifest, by what asks for it by digest */
};

/* What is being asked upstream now. */
enum step {
    STEP_HEAD,     /* HEAD of the manifest or blob */
    STEP_GET,      /* GET of the manifest */
    STEP_PAGES,    /* GET of a list's page */
    STEP_FALLBACK, /* HEAD of the referrers' fallback tag */
    STEP_FALLBACK_GET,
};

struct question {
    struct work work; /* first, for the worker */
    struct questions *all;
    UT_hash_handle hh, by_digest; /* under the lock of all */
    char *digest_key;             /* of `fetching`, or NULL; the same */
    atomic_uint refs;
    atomic_uint requests;
    atomic_uint class; /* enum upstream_class: of the most urgent who has joined */
    /* set at create */
    enum question_kind kind;
    char *registry, *repository, *reference, *login;
    bool of_blob, is_private, as_public, has_others;
    unsigned prefetch;
    struct flight_rules flight_rules;
    char client[EVENT_CLIENT_MAX];
    /* of whoever has the step: the upstream's thread while a job runs, a worker afterwards */
    enum step step;
    enum upstream_class asked_as; /* the class of the last job */
    unsigned attempts, pages;
    bool of_sibling;              /* the answer, which costs nothing */
    uint32_t avoid;               /* sources whose manifest was wrong */
    int wrong;                    /* in which way the last of them was */
    struct buf body, query, next; /* query of the page now asked for, of the one after it */
    struct listing *listing;
    struct upstream_result result;
    char message[RECENT_MESSAGE_MAX];
    int64_t length;
    char content_type[MEDIA_TYPE_MAX];
    char digest_text[DIGEST_TEXT_MAX];
    bool has_next;
    struct digest fallback;
    /* under the gate's lock until answered, const afterwards */
    struct gate gate;
    bool answered;
    enum feed feed;
    struct failure failure;
    struct pointer pointer;
    struct document *document;
    char key[]; /* set at create */
};

/* question.c */
void question_ask(struct question *q, int64_t delay_ms); /* what q->step says; answered with the failure if it cannot */
void question_fail(struct question *q, int error, const char *message);
void question_succeed(struct question *q);

/* question_read.c */
void question_read(struct work *work);
