/*
 * Questions: what is asked of an upstream and answered from memory, one at a time however many want to know. What a tag
 * stands for, a manifest, how large a blob is, a repository's tags, the referrers of a digest. The answer is put where
 * later sessions find it (pointers, library, recent failures) before anybody is told.
 *
 *     ASKING ──job ends──► READING (a worker checks what came) ──► ANSWERED
 *        ▲                     │
 *        └─ next page, second attempt, GET after a HEAD that said too little, the referrers' fallback tag
 */
#pragma once

#include "mirror/flight.h"
#include "mirror/gate.h"
#include "mirror/library.h"
#include "mirror/pointers.h"
#include "mirror/privacy.h"
#include "mirror/recent.h"
#include "mirror/spenders.h"
#include "mirror/visibility.h"
#include "mirror/workers.h"
#include "upstream/upstream.h"

struct questions;
struct question;

enum question_kind {
    QUESTION_TAG,       /* HEAD of a manifest: reference is a tag, or a digest */
    QUESTION_MANIFEST,  /* GET of a manifest by digest */
    QUESTION_SIZE,      /* HEAD of a blob */
    QUESTION_TAGS_LIST, /* reference is "" */
    QUESTION_REFERRERS, /* reference is a digest */
    QUESTION_LOGIN,     /* may the account `login` see the repository? reference as of QUESTION_PUBLIC */
    QUESTION_PUBLIC,    /* may everybody see the repository? reference as for the object that is wanted of it */
};

/* Everything a question needs; all of it outlives the questions. */
struct questions_needs {
    struct upstream *upstream;
    struct gates *gates;
    struct workers *workers;
    struct library *library;
    struct pointers *pointers;
    struct privacy *privacy;
    struct visibilities *visibilities;
    struct flights *flights;
    struct recent *recent;
    struct spenders *spenders;
};

struct question_target {
    enum question_kind kind;
    const char *registry, *repository, *reference;
    const char *login;                /* QUESTION_LOGIN: the account, "Basic …", wiped when it is answered */
    const char *login_key;            /* and the hash that stands for it in keys */
    bool of_blob;                     /* QUESTION_PUBLIC, QUESTION_LOGIN: the reference is a blob's */
    enum upstream_class class;        /* what it is paid from: who joins raises it */
    bool is_private;                  /* what comes is for this repository only */
    bool as_public;                   /* asked without an account: upstream_job.as_public */
    bool has_others;                  /* the registry has more than one source */
    unsigned prefetch;                /* of a manifest's blobs, when so many at the most are under way; 0: none */
    struct flight_rules flight_rules; /* of those flights */
    const char *client;               /* the first who asks, an address; "" or NULL: nobody */
};

MUST_CHECK int questions_create(const struct questions_needs *needs, struct questions **ret_questions);
/* After upstream and workers have been stopped. Accepts NULL. */
void questions_destroy(struct questions *qs);

/* The key under which failures of this question are remembered; RECENT_KEY_MAX bytes. */
void question_key(const struct question_target *t, char *key);
/* The question that is being asked, or NULL; a reference, the caller's. Of a manifest it may be that of a tag, which
 * has come to fetch it. */
struct question *question_find(struct questions *qs, const struct question_target *t);
/* Joins the question that is being asked, or asks it (*ret_mine). One reference, the caller's. Where a question that is
 * asked for seeding is joined by somebody whom more is left to, it is asked on for him. -EALREADY: it has failed since
 * the caller looked, recent_get() has why. -ECANCELED when stopping. */
MUST_CHECK int question_join(struct questions *qs, const struct question_target *t, bool *ret_mine,
                             struct question **ret_question);
/* 0: answered. MIRROR_WAIT: entered and suspended, until `due` at the latest; with `w` NULL, neither. -ECANCELED:
 * nothing may wait any more. -ESTALE: the asker and it may wait for each other (mirror/feed.h). */
MUST_CHECK int question_wait(struct question *q, enum asker asker, struct waiter *w, int64_t due);
/* Of an answered one; good as long as the reference. error 0: it went well. */
const struct failure *question_failure(const struct question *q);
/* QUESTION_TAG: digest, size (0: not known), type. QUESTION_SIZE: size. */
const struct pointer *question_pointer(const struct question *q);
/* QUESTION_MANIFEST and the lists; may be NULL otherwise. */
struct document *question_document(const struct question *q);
/* QUESTION_PUBLIC: upstream_result.unsure. */
bool question_is_unsure(const struct question *q);
/* HTTP requests made so far. */
unsigned question_requests(const struct question *q);
void question_unref(struct question *q); /* accepts NULL; the waiter has been forgotten (gate_forget()) */
