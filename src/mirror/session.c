#include "mirror/session_state.h"

#include "base/clock.h"
#include "base/limits.h"
#include "mirror/check.h"
#include "mirror/reference.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int session_answer(struct mirror_session *s, enum mirror_body body, uint64_t size, const char *type,
                   const struct digest *digest)
{
    s->answer = (struct mirror_answer){
        .status = 200,
        .body = body,
        .size = size,
        .fd = -1,
        .content_type = type,
        .digest = digest ? digest_format(digest, s->digest_text) : NULL,
        .warning = s->warning[0] ? s->warning : NULL,
        .retry_after_s = -1,
    };
    if (s->outcome == MIRROR_NONE)
        s->outcome = MIRROR_HIT;
    s->answered = true;
    return 0;
}

int session_answer_document(struct mirror_session *s)
{
    (void)session_answer(s, MIRROR_MEMORY, s->document->len, s->document->media_type, &s->document->digest);
    s->answer.memory = s->document->data;
    return 0;
}

static int answer_trouble(struct mirror_session *s)
{
    s->outcome = MIRROR_ERROR;
    s->answer = (struct mirror_answer){
        .status = s->trouble.status,
        .fd = -1,
        .error_code = s->trouble.code,
        .error_message = s->trouble.message,
        .retry_after_s = s->trouble.retry_after_s,
        .hidden = s->hidden,
    };
    s->answered = true;
    return 0;
}

static int trouble(struct mirror_session *s, int status, const char *code, const char *message)
{
    trouble_of_request(status, code, message, &s->trouble);
    return 0;
}

static int read_reference(struct mirror_session *s, const struct mirror_request *request)
{
    const char *text = request->reference ? request->reference : "";
    size_t len = strlen(text);
    if (request->object == MIRROR_TAGS)
        return 0;
    bool must_be_digest = request->object != MIRROR_MANIFEST;
    if (must_be_digest || strchr(text, ':')) {
        int r = digest_parse(text, len, &s->digest);
        if (r < 0)
            return trouble(s, 400, "DIGEST_INVALID",
                           r == -ENOTSUP ? "a digest of an algorithm that is not supported" : "not a digest");
        s->by_digest = true;
    } else if (!tag_is_valid(text)) {
        return trouble(s, 400, "MANIFEST_INVALID", "neither a tag nor a digest");
    }
    memcpy(s->reference, text, len + 1);
    return 0;
}

/* Nobody waits for it: there is time, and what is stored is no answer. */
static void expect_news(struct mirror_session *s)
{
    s->ttl_ms = s->stale_for_ms = 0;
    s->prefetch = 0;
    s->deadline = s->opened + s->flight_rules.patience_ms;
}

static int read_names(struct mirror_session *s, const struct mirror_request *request, const struct config *config)
{
    struct repository_name name;
    int r = repository_resolve(config, request->ns, request->name, &name);
    if (r == -ENOENT)
        return trouble(s, 404, "NAME_UNKNOWN", "no registry of the name in ns is configured here");
    if (r < 0)
        return trouble(s, 400, "NAME_INVALID", "not a repository name");
    (void)stpcpy(s->registry, name.registry->name);
    (void)stpcpy(s->repository, name.path);
    (void)read_reference(s, request);
    s->verify_every_ms = config->store.verify_every_ms;
    s->ttl_ms = config_tag_ttl_ms(config, name.registry, s->repository, s->reference);
    s->has_others = name.registry->source_count > 1;
    s->is_open = config_is_open(name.registry, s->repository);
    s->stale_for_ms = config->tags.stale_for_ms;
    s->stale_while_revalidate = config->tags.stale_while_revalidate;
    s->stale_on_absence = config->tags.stale_on_absence;
    s->prefetch = config->prefetch.enabled ? config->prefetch.max_flights : 0;
    s->miss_status = config->server.miss_status;
    s->deadline = s->opened + config->server.answer_timeout_ms;
    s->flight_rules = (struct flight_rules){
        .patience_ms = config->upstream.flight_timeout_ms,
        .segments = config->segments.count,
        .segments_min = config->segments.min_size,
    };
    s->guest_ttl_ms = config->server.auth.pull_secrets_ttl_ms;
    s->guest_stale_for_ms = config->server.auth.pull_secrets_stale_for_ms;
    if (s->class == UPSTREAM_SEEDING)
        expect_news(s);
    if (request->hop && s->deadline > s->opened + LIMIT_SIBLING_ANSWER_MS)
        s->deadline = s->opened + LIMIT_SIBLING_ANSWER_MS;
    return 0;
}

static enum asker asker_of(const struct mirror *m, const char *hop)
{
    if (!hop)
        return ASKER_CLIENT;
    return strcmp(hop, upstream_hop(m->upstream)) < 0 ? ASKER_LESSER : ASKER_GREATER;
}

int mirror_open(struct mirror *m, const struct mirror_request *request, struct mirror_session **ret_session)
{
    AUTO(auto_mirror_close) struct mirror_session *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->mirror = m;
    s->waiter.call = request->waiter;
    s->object = request->object;
    s->head = request->head;
    s->page_size = request->page_size;
    s->asker = asker_of(m, request->hop);
    s->only_if_cached = request->only_if_cached || request->hop;
    s->class = request->is_seeding ? UPSTREAM_SEEDING : UPSTREAM_LIVE;
    s->opened = clock_monotonic_ms();
    (void)snprintf(s->client, sizeof(s->client), "%s", request->client ? request->client : "");
    s->body = BUF_INIT(LIMIT_DOCUMENT);
    s->link = BUF_INIT(4 * KIB);
    if (request->login && !request->hop &&
        (!(s->login = strdup(request->login)) || !(s->login_key = strdup(request->login_key))))
        return -ENOMEM;
    if ((request->artifact_type && !(s->artifact_type = strdup(request->artifact_type))) ||
        (request->last && !(s->last = strdup(request->last))))
        return -ENOMEM;
    (void)pthread_rwlock_rdlock(&m->config_lock);
    (void)read_names(s, request, m->config);
    (void)pthread_rwlock_unlock(&m->config_lock);
    *ret_session = TAKE_PTR(s);
    return 0;
}

void mirror_admit(struct mirror_session *s)
{
    s->is_open = s->is_open || s->asker == ASKER_CLIENT;
}

static int step(struct mirror_session *s)
{
    int r = session_see(s);
    if (r != 0)
        return r;
    switch (s->object) {
    case MIRROR_MANIFEST:
        return session_manifest(s);
    case MIRROR_BLOB:
        return session_blob(s);
    case MIRROR_TAGS:
        return session_tags(s);
    case MIRROR_REFERRERS:
        return session_referrers(s);
    }
    return session_fail(s, -EINVAL, "not an object");
}

/* Signatures and the like are looked for by tags that nobody has made. */
static bool is_probe(const struct mirror_session *s)
{
    return failure_is_absence(&s->failure) &&
           (s->object == MIRROR_REFERRERS || strncmp(s->reference, "sha256-", 7) == 0);
}

void session_note_event(const struct mirror_session *s, enum event_kind kind, int status)
{
    struct event e = {.kind = kind, .object = s->object, .status = status};
    if (s->only_if_cached || s->failure.error == -ECANCELED || is_probe(s))
        return;
    (void)stpcpy(e.registry, s->registry);
    (void)stpcpy(e.repository, s->repository);
    (void)stpcpy(e.reference, s->reference);
    (void)stpcpy(e.message, s->failure.message);
    events_note(s->mirror->events, &e, s->client);
}

int mirror_step(struct mirror_session *s, struct mirror_answer *ret_answer)
{
    if (!s->answered && s->trouble.status == 0) {
        int r = step(s);
        if (r == MIRROR_WAIT)
            return r;
        if (r < 0) {
            trouble_of_failure(&s->failure, s->object, s->registry, clock_monotonic_ms(), s->miss_status, &s->trouble);
            session_note_event(s, EVENT_FAILED, s->trouble.status);
        }
    }
    if (!s->answered)
        (void)answer_trouble(s);
    *ret_answer = s->answer;
    return 0;
}

ssize_t mirror_read(struct mirror_session *s, uint64_t offset, void *data, size_t len)
{
    const struct mirror_answer *a = &s->answer;
    ssize_t n;
    if (a->body == MIRROR_FLIGHT)
        return session_read_coming(s, offset, data, len);
    if (len > a->size - offset)
        len = (size_t)(a->size - offset);
    if (a->body == MIRROR_MEMORY) {
        memcpy(data, (const char *)a->memory + offset, len);
        return (ssize_t)len;
    }
    do
        n = pread(a->fd, data, len, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n > 0 ? n : -EIO; /* shorter than it was published */
}

void mirror_account(const struct mirror_session *s, struct mirror_account *ret_account)
{
    unsigned requests = s->requests;
    if (s->question && s->question_is_mine)
        requests += question_requests(s->question);
    if (s->flight && s->flight_is_mine)
        requests += flight_requests(s->flight);
    if (s->passage)
        requests += passage_requests(s->passage);
    *ret_account = (struct mirror_account){
        .registry = s->registry,
        .repository = s->repository,
        .outcome = s->outcome,
        .upstream_requests = requests,
    };
}

void mirror_close(struct mirror_session *s)
{
    if (!s)
        return;
    if (s->answered && !s->only_if_cached && s->registry[0])
        tally_note(&s->mirror->tally, s->outcome);
    gate_forget(&s->waiter);
    question_unref(s->question);
    flight_unref(s->flight);
    passage_close(s->passage);
    check_close(s->check);
    document_unref(s->document);
    blobstore_content_close(s->content);
    uses_leave(s->mirror->uses, &s->use);
    buf_finish(&s->body);
    buf_finish(&s->link);
    free(s->artifact_type);
    free(s->last);
    if (s->login)
        explicit_bzero(s->login, strlen(s->login));
    free(s->login);
    free(s->login_key);
    free(s);
}
