#include "mirror/session_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#include "mirror/check.h"
#include "mirror/damage.h"

#include <errno.h>

/* A partial file that is being closed is looked for again after this. */
#define BUSY_PAUSE_MS 20

static const char blob_type[] = "application/octet-stream";

static struct flight_target flight_target(const struct mirror_session *s)
{
    return (struct flight_target){
        .registry = s->registry,
        .repository = s->repository,
        .digest = &s->digest,
        .is_private = s->is_private,
        .as_public = s->as_public,
        .has_others = s->has_others,
        .rules = s->flight_rules,
    };
}

static int step_cold_blob_head(struct mirror_session *s)
{
    uint64_t size = 0;
    const struct flight_target target = flight_target(s);
    struct flight *f = flight_find(s->mirror->flights, &target);
    bool known = f && flight_size(f, &size);
    flight_unref(f);
    if (known) {
        session_note_outcome(s, false);
    } else {
        int r = session_ask(s, QUESTION_SIZE, s->reference, s->deadline, true);
        if (r != 0)
            return r;
        size = question_pointer(s->question)->size;
        session_leave_question(s);
    }
    return session_answer(s, MIRROR_NO_BODY, size, blob_type, &s->digest);
}

/* --- what was not looked at for long ------------------------------------------------------------------------- */

static bool needs_check(const struct mirror_session *s, const struct blobstore_info *info)
{
    int64_t age = clock_real_ms() - info->verified_at;
    return age >= s->verify_every_ms || age < 0 || info->verified_at < blobstore_doubted_before(s->mirror->store);
}

/* Says what has been found out. */
static void tell(struct mirror_session *s, enum check_verdict verdict)
{
    if (verdict == CHECK_RIGHT)
        damage_report_none(s->mirror->keeper, &s->digest, check_began(s->check));
    else if (verdict == CHECK_WRONG)
        damage_report(s->mirror->keeper, s->mirror->store, &s->digest, blobstore_content_fd(s->content), "request");
}

static ssize_t read_checked(struct mirror_session *s, uint64_t offset, void *data, size_t len)
{
    enum check_verdict before = check_verdict(s->check);
    ssize_t n = check_read(s->check, offset, data, len);
    if (check_verdict(s->check) != before)
        tell(s, check_verdict(s->check));
    return n;
}

/* Of s->content. 0: answered. -EBADMSG: a small one, which has been looked at, and is wrong. */
static int answer_checked(struct mirror_session *s, uint64_t size)
{
    int r = check_open(&s->digest, s->content, size, &s->check);
    if (r < 0)
        return session_fail(s, r, "no memory");
    if (size <= FLIGHT_WHOLE) {
        enum check_verdict verdict = check_finish(s->check);
        tell(s, verdict);
        if (verdict == CHECK_FAILED)
            return session_fail(s, -ENOMEM, "no memory");
        if (verdict == CHECK_WRONG) {
            check_close(TAKE_PTR(s->check));
            blobstore_content_close(TAKE_PTR(s->content));
            return -EBADMSG;
        }
    }
    return session_answer(s, MIRROR_FLIGHT, size, blob_type, &s->digest);
}

/* --- where there is no room to store it ---------------------------------------------------------------------- */

static int open_passage(struct mirror_session *s)
{
    char text[DIGEST_TEXT_MAX];
    const struct flight_target target = flight_target(s);
    if (s->only_if_cached)
        return session_fail(s, -ESTALE, "not cached here, and the store is full");
    int r = passage_open(&s->mirror->passages, &target, &s->passage);
    log_event(LOG_WARN, r == 0 ? "passing_by" : "not_passing_by", LOG_S("registry", s->registry),
              LOG_S("repository", s->repository), LOG_S("digest", digest_format(&s->digest, text)),
              LOG_S("cause", "the store is full"));
    if (r < 0)
        return session_fail(s, -ENOSPC, "the store is full, and too many pass it by");
    metrics_add(METRIC_PASSED_BY, 1, LABELS(s->registry));
    session_note_outcome(s, true);
    return 0;
}

static int step_passage(struct mirror_session *s)
{
    uint64_t size;
    int r = s->passage ? 0 : open_passage(s);
    if (r != 0)
        return r;
    bool late = clock_monotonic_ms() >= s->deadline;
    r = passage_wait(s->passage, late ? NULL : &s->waiter, s->deadline, &size, &s->failure);
    if (r == MIRROR_WAIT && late)
        return session_fail_late(s, "the upstream has not begun to send the blob yet");
    if (r == -ECANCELED)
        return session_fail_cut(s);
    return r == 0 ? session_answer(s, MIRROR_FLIGHT, size, blob_type, &s->digest) : r;
}

/* A frame that is damaged is met where it is unpacked. */
static ssize_t read_packed(struct mirror_session *s, uint64_t offset, void *data, size_t len)
{
    ssize_t n = blobstore_content_read(s->content, offset, data, len);
    if (n == -EBADMSG)
        damage_report(s->mirror->keeper, s->mirror->store, &s->digest, blobstore_content_fd(s->content), "request");
    return n;
}

ssize_t session_read_coming(struct mirror_session *s, uint64_t offset, void *data, size_t len)
{
    if (s->check)
        return read_checked(s, offset, data, len);
    if (s->content)
        return read_packed(s, offset, data, len);
    if (!s->passage) {
        ssize_t n = flight_read(s->flight, &s->waiter, &s->flight_round, offset, data, len);
        if (n >= 0 || !flight_lacked_room(s->flight) || open_passage(s) < 0)
            return n;
        session_leave_flight(s); /* it was given up on the way: the rest comes past it */
    }
    return passage_read(s->passage, &s->waiter, offset, data, len);
}

/* --- flights ------------------------------------------------------------------------------------------------- */

/* The store had no room for it a moment ago. */
static bool lacks_room(const struct mirror_session *s, const char *key)
{
    struct failure failure;
    return recent_get(s->mirror->recent, key, &failure) && failure.error == -ENOSPC;
}

/* Its partial file is somebody else's: of a flight that is hidden from this name, as the flights of private
 * repositories are, or of one that ends. The hidden one may be joined by whom an upstream shows the blob under his own
 * name. */
static int board_hidden(struct mirror_session *s)
{
    struct flight *f = flight_find_hidden(s->mirror->flights, &s->digest);
    int r = 0;
    if (f && !s->proven)
        r = session_ask(s, QUESTION_SIZE, s->reference, s->deadline, true);
    if (f && r == 0) {
        session_leave_question(s);
        s->proven = true;
        s->flight = f;
        s->flight_is_mine = false;
        session_note_outcome(s, false);
        return 0;
    }
    flight_unref(f);
    if (f)
        return r;
    if (clock_monotonic_ms() < s->deadline)
        return session_hold(s, clock_monotonic_ms() + BUSY_PAUSE_MS);
    return session_fail(s, -EBUSY, "the store cannot take the blob");
}

/* Gets on the flight of the blob. 0: s->flight. -EEXIST: it is stored by now. */
static int board(struct mirror_session *s)
{
    const struct flight_target target = flight_target(s);
    char key[RECENT_KEY_MAX];
    if (s->only_if_cached) {
        s->flight = flight_find(s->mirror->flights, &target);
        s->flight_is_mine = false;
        if (s->flight)
            session_note_outcome(s, false);
        return s->flight ? 0 : session_fail(s, -ESTALE, "not cached here");
    }
    flight_key(&target, key);
    int r;
    do {
        if (lacks_room(s, key))
            return session_fail(s, -ENOSPC, "the store is full");
        r = session_mind_recent(s, key, s->deadline);
        if (r != 0)
            return r;
        r = flight_join(s->mirror->flights, &target, &s->flight_is_mine, &s->flight);
    } while (r == -EALREADY);
    if (r == -EBUSY)
        return board_hidden(s);
    session_leave_question(s); /* whether it may be had: there is no need to know any more */
    if (r < 0 && r != -EEXIST)
        return session_fail(s, r, r == -ENOSPC ? "the store is full" : "the store cannot take the blob");
    if (r == 0)
        session_note_outcome(s, s->flight_is_mine);
    return r;
}

/* What one source has in another length another may have right: once. Of wrong bytes the flight has tried it. */
static bool may_try_others(struct mirror_session *s)
{
    bool may = s->has_others && !s->has_tried_others && s->failure.error == -EPROTO;
    s->has_tried_others = true;
    return may;
}

static int step_flight(struct mirror_session *s)
{
    for (;;) {
        uint64_t size;
        int r = s->passage ? -ENOSPC : s->flight ? 0 : board(s);
        if (r == -ENOSPC)
            return step_passage(s);
        if (r != 0)
            return r;
        bool late = clock_monotonic_ms() >= s->deadline;
        r = flight_wait(s->flight, s->asker, late ? NULL : &s->waiter, s->deadline, &size, &s->failure);
        if (r == -ESTALE) {
            session_leave_flight(s);
            return session_fail(s, r, "not cached here, and a sibling's word is waited for");
        }
        if (r == MIRROR_WAIT && !late)
            return r;
        if (r == MIRROR_WAIT) {
            session_leave_flight(s);
            return session_fail_late(s, "the upstream has not begun to send the blob yet");
        }
        if (r == -ECANCELED)
            return session_fail_cut(s);
        if (r == 0 && flight_is_verified(s->flight)) {
            (void)session_answer(s, MIRROR_FILE, size, blob_type, &s->digest);
            s->answer.fd = flight_fd(s->flight);
            return 0;
        }
        if (r == 0)
            return session_answer(s, MIRROR_FLIGHT, size, blob_type, &s->digest);
        /* What another repository does not have may be in this one; what failed is tried again while there is time. */
        bool is_own = flight_is_of(s->flight, s->registry, s->repository);
        session_leave_flight(s);
        if (r == -ENOSPC)
            return step_passage(s);
        bool is_absent_elsewhere = !is_own && failure_is_absence(&s->failure);
        if (!failure_is_passing(&s->failure) && !is_absent_elsewhere && !may_try_others(s))
            return s->failure.error;
    }
}

/* 0: answered with what is stored. -ENODATA: it is not. MIRROR_WAIT, or s->failure. */
static int find_blob(struct mirror_session *s)
{
    struct blobstore_info info;
    AUTO(auto_blobstore_content_close) struct blobstore_content *content = NULL;
    int r = blobstore_get(s->mirror->store, &s->digest, &info, &content);
    if (r == -EBADMSG)
        damage_note(&s->digest, "request");
    if (r < 0)
        return -ENODATA;
    r = session_prove(s, &s->digest);
    s->proving = r == MIRROR_WAIT;
    if (r != 0)
        return r;
    blobstore_touch(s->mirror->store, &s->digest);
    s->content = TAKE_PTR(content);
    if (!s->head && needs_check(s, &info)) {
        r = answer_checked(s, info.size);
        if (r == -EBADMSG && clock_monotonic_ms() < s->deadline)
            return session_hold(s, clock_monotonic_ms() + BUSY_PAUSE_MS); /* the keeper takes it away: then a miss */
        return r == -EBADMSG ? session_fail(s, -EIO, "the stored blob is damaged") : r;
    }
    (void)session_answer(s, info.is_packed ? MIRROR_FLIGHT : MIRROR_FILE, info.size, blob_type, &s->digest);
    if (info.is_packed) {
        s->answer.packed_fd = blobstore_content_fd(s->content);
        s->answer.packed_size = info.file_size;
    } else {
        s->answer.fd = blobstore_content_fd(s->content);
    }
    return 0;
}

int session_blob(struct mirror_session *s)
{
    int r = -EEXIST;
    if (s->use.digest.algorithm == DIGEST_NONE && !s->head)
        uses_enter(s->mirror->uses, &s->use, &s->digest);
    for (unsigned i = 0; r == -EEXIST && i < 3; i++) {
        r = s->flight || s->passage || (s->question && !s->proving) ? -ENODATA : find_blob(s);
        if (r != -ENODATA)
            return r;
        r = s->head ? step_cold_blob_head(s) : step_flight(s);
    }
    return r == -EEXIST ? session_fail(s, -EIO, "the stored blob cannot be opened") : r;
}
