/*
 * What the files of a session share. session.c is the door, session_ask.c waits and asks, session_see.c says who may
 * see what, session_manifest.c and session_blob.c decide.
 *
 * One client request, decided step by step. Every step starts from what is stored and asks for what is missing, so that
 * it may be repeated after each wait:
 *
 *   all of them          may this repository be seen? (only where an account could see more than everybody)
 *   manifest by tag      pointer fresh, or asked for (or stale, when nobody answers) ──► manifest by digest
 *   manifest by digest   in the library, or asked for
 *   blob                 in the store, or on a flight, or past the store where it is full
 *   tags, referrers      the list's pointer and document, or asked for (or stale)
 */
#pragma once

#include "mirror/mirror.h"

#include "mirror/state.h"
#include "mirror/trouble.h"
#include "upstream/upstream.h"

#define WARNING_MAX 512

struct mirror_session {
    struct mirror *mirror;
    struct waiter waiter;

    /* set at create */
    enum mirror_object object;
    enum upstream_class class;
    bool head;
    bool by_digest;
    struct digest digest;
    int64_t verify_every_ms;
    int64_t page_size, ttl_ms, stale_for_ms;
    struct flight_rules flight_rules;
    int64_t opened, deadline; /* monotonic ms */
    enum asker asker;
    bool only_if_cached, is_open, has_others, stale_while_revalidate, stale_on_absence;
    unsigned prefetch;
    enum config_miss_status miss_status;
    char registry[LIMIT_NAME + 1], repository[LIMIT_NAME + 1], reference[DIGEST_TEXT_MAX];
    char *artifact_type, *last;
    char client[EVENT_CLIENT_MAX];
    char *login, *login_key; /* the client's own account, or NULL; wiped at the end */
    int64_t guest_ttl_ms, guest_stale_for_ms;

    /* what it holds */
    struct question *question;
    bool question_is_mine;
    struct flight *flight;
    bool flight_is_mine;
    unsigned flight_round;
    struct check *check;     /* of the file, where it was not looked at for long */
    struct passage *passage; /* instead of the flight, where there is no room */
    bool has_tried_others;
    struct document *document;
    struct use use;                    /* of the blob */
    struct blobstore_content *content; /* of the blob, where it is stored */
    bool seen;                         /* the repository may be seen */
    bool is_private;                   /* but not by everybody */
    bool as_public;                    /* nobody has said by whom: no account is shown for it */
    bool greeting;                     /* s->question is whether by the client's own account */
    bool hidden;                       /* which has shown nothing, or is none */
    struct pointer pointer;
    bool resolved; /* the pointer is what the tag stands for */
    bool proving;  /* s->question is whether */
    bool proven;   /* an upstream has shown the digest under this name */
    bool answered;
    struct mirror_answer answer;
    struct failure failure;
    struct trouble trouble; /* status other than 0: this is the answer */
    struct buf body, link;
    char digest_text[DIGEST_TEXT_MAX], warning[WARNING_MAX];

    enum mirror_outcome outcome;
    unsigned requests;
};

/*
 * All of these return 0 when it is done, MIRROR_WAIT when the session has been suspended, or a negative errno: then
 * s->failure tells more. -ENOENT where it says so.
 */

/* session_ask.c */
/* The question is answered, and well: session_leave_question() when done with it. With `holds`, what failed is asked
 * for again while there is time until `until` (monotonic ms). */
int session_ask(struct mirror_session *s, enum question_kind kind, const char *reference, int64_t until, bool holds);
/* Until when to wait for news (monotonic ms): whoever could be served by what is known already is in a hurry. */
int64_t session_due(const struct mirror_session *s, bool knows_something);
int session_hold(struct mirror_session *s, int64_t when); /* suspended until then */
/* Whether nothing under this key failed a moment ago; suspended, if it may be tried again before `until`. */
int session_mind_recent(struct mirror_session *s, const char *key, int64_t until);
void session_leave_question(struct mirror_session *s);
void session_leave_flight(struct mirror_session *s);
void session_note_outcome(struct mirror_session *s, bool mine);
int session_fail(struct mirror_session *s, int error, const char *message); /* returns `error` */
int session_fail_late(struct mirror_session *s, const char *message);
int session_fail_cut(struct mirror_session *s);

/* session_see.c */
int session_see(struct mirror_session *s);
/* Whether what is stored under the digest may be served without asking. */
bool session_may_have(struct mirror_session *s, const struct digest *digest);
int session_prove(struct mirror_session *s, const struct digest *digest);

/* session_manifest.c */
int session_manifest(struct mirror_session *s);
int session_tags(struct mirror_session *s);
int session_referrers(struct mirror_session *s);

/* session_blob.c */
int session_blob(struct mirror_session *s);
/* Its flight, a passage, or a file that is checked, or packed. */
ssize_t session_read_coming(struct mirror_session *s, uint64_t offset, void *data, size_t len);

/* session.c */
/* For who asks later: what s->failure tells. */
void session_note_event(const struct mirror_session *s, enum event_kind kind, int status);
int session_answer(struct mirror_session *s, enum mirror_body body, uint64_t size, const char *type,
                   const struct digest *digest);
int session_answer_document(struct mirror_session *s);
