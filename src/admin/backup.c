/*
 * GET /v1/backup: a stream, made by a thread of its own that writes into a pipe while the answer is read from it. One
 * at a time. POST /v1/backup: who has read it says that it was kept, which is written down.
 */
#include "admin/routes.h"

#include "backup/backup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "blobstore/blobstore.h"
#include "mirror/mirror.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define PIPE_BYTES (1 << 20)

/* BLOBSTORE_JOBS: version u8, when it was begun u64, bytes u64, id */
#define LAST_KEY "backup"
#define LAST_VERSION 1
#define LAST_SIZE (1 + 2 * 8 + BACKUP_ID_MAX - 1)

struct made {
    struct backup_header header;
    struct backup_end end;
    uint64_t bytes; /* of the file */
};

struct backups {
    struct admin *admin;
    pthread_mutex_t lock;
    /* under lock */
    bool is_running;
    struct made last; /* that was streamed to its end; without an id: none was */
};

/* One that is being made. */
struct making {
    struct backups *backups;
    char who[ADMIN_WHO_MAX];
    struct backup_options options;
    char base[BACKUP_ID_MAX];
    int64_t began; /* monotonic ms */
    pthread_t thread;
    int from_thread; /* the end of the pipe that the answer is read from */
    bool is_joined;
    /* the thread's, until it is joined */
    int to_reader;
    int result;
    struct made made;
};

/* ------------------------------------------------------------------ what is written down */

static void show(int64_t created_at, uint64_t bytes)
{
    metrics_set(METRIC_BACKUP_TIME, created_at * 1000, NO_LABELS);
    metrics_set(METRIC_BACKUP_BYTES, (int64_t)bytes, NO_LABELS);
}

static int keep_record(struct admin *a, const struct made *made)
{
    uint8_t value[LAST_SIZE] = {LAST_VERSION};
    const uint64_t numbers[2] = {htobe64((uint64_t)made->header.created_at), htobe64(made->bytes)};
    memcpy(value + 1, numbers, sizeof(numbers));
    memcpy(value + 1 + sizeof(numbers), made->header.id, BACKUP_ID_MAX - 1);
    return mirror_put_job(a->mirror, LAST_KEY, value, sizeof(value));
}

int backups_last(struct blobstore *store, int64_t *ret_created_at, uint64_t *ret_bytes)
{
    AUTO_BUF struct buf value = BUF_INIT(BLOBSTORE_VALUE_MAX);
    uint64_t numbers[2];
    int r = blobstore_record_get(store, BLOBSTORE_JOBS, LAST_KEY, strlen(LAST_KEY), &value);
    if (r < 0 || value.len != LAST_SIZE || value.data[0] != LAST_VERSION)
        return r < 0 ? r : -ENOENT;
    memcpy(numbers, value.data + 1, sizeof(numbers));
    *ret_created_at = (int64_t)be64toh(numbers[0]);
    *ret_bytes = be64toh(numbers[1]);
    return 0;
}

static int show_record(struct blobstore *store)
{
    int64_t created_at;
    uint64_t bytes;
    int r = backups_last(store, &created_at, &bytes);
    if (r == 0)
        show(created_at, bytes);
    return r == -ENOENT ? 0 : r;
}

int backups_create(struct admin *a, struct backups **ret_backups)
{
    struct backups *b = calloc(1, sizeof(*b));
    if (!b)
        return -ENOMEM;
    b->admin = a;
    (void)pthread_mutex_init(&b->lock, NULL);
    int r = a->store ? show_record(a->store) : 0;
    if (r < 0)
        backups_destroy(b);
    else
        *ret_backups = b;
    return r;
}

void backups_destroy(struct backups *b)
{
    if (!b)
        return;
    (void)pthread_mutex_destroy(&b->lock);
    free(b);
}

/* ------------------------------------------------------------------ the thread */

static int to_pipe(void *arg, const void *data, size_t len)
{
    struct making *m = arg;
    for (size_t done = 0; done < len;) {
        ssize_t n = write(m->to_reader, (const char *)data + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO; /* -EPIPE: the reader has left */
        done += (size_t)n;
    }
    m->made.bytes += len;
    return 0;
}

static void report_damage(void *arg, const struct digest *digest, int fd)
{
    const struct making *m = arg;
    mirror_report_damage(m->backups->admin->mirror, digest, fd, "backup");
}

static void *make(void *arg)
{
    struct making *m = arg;
    m->result = backup_write(&m->options, &m->made.header, &m->made.end);
    (void)close(m->to_reader);
    return NULL;
}

/* ------------------------------------------------------------------ the answer */

static void conclude(struct making *m)
{
    struct backups *b = m->backups;
    const struct made *made = &m->made;
    if (m->is_joined)
        return;
    m->is_joined = true;
    (void)pthread_join(m->thread, NULL);
    mirror_hold_eviction(b->admin->mirror, false);
    (void)pthread_mutex_lock(&b->lock);
    b->is_running = false;
    if (m->result == 0)
        b->last = *made;
    (void)pthread_mutex_unlock(&b->lock);
    if (m->result < 0)
        log_event(LOG_WARN, "backup", LOG_S("result", "failed"), LOG_S("who", m->who),
                  LOG_S("error", m->result == -EPIPE ? "its reader has left" : strerror(-m->result)));
    else
        log_event(made->end.damaged ? LOG_WARN : LOG_INFO, "backup", LOG_S("result", "sent"), LOG_S("who", m->who),
                  LOG_S("id", made->header.id), LOG_S("base", *made->header.base ? made->header.base : NULL),
                  LOG_U("blobs", made->end.blobs), LOG_U("bytes", made->bytes), LOG_U("missing", made->end.missing),
                  LOG_U("damaged", made->end.damaged), LOG_I("ms", clock_monotonic_ms() - m->began));
}

static ssize_t read_made(void *arg, void *data, size_t len)
{
    struct making *m = arg;
    ssize_t n;
    do {
        n = read(m->from_thread, data, len);
    } while (n < 0 && errno == EINTR);
    if (n > 0)
        return n;
    conclude(m);
    return m->result < 0 ? m->result : n < 0 ? -EIO : 0;
}

static void finish(void *arg)
{
    struct making *m = arg;
    (void)close(m->from_thread); /* whatever is still written is refused */
    conclude(m);
    free(m);
}

static bool take_turn(struct backups *b)
{
    (void)pthread_mutex_lock(&b->lock);
    bool is_ours = !b->is_running;
    b->is_running = true;
    (void)pthread_mutex_unlock(&b->lock);
    return is_ours;
}

static void give_back_turn(struct backups *b)
{
    (void)pthread_mutex_lock(&b->lock);
    b->is_running = false;
    (void)pthread_mutex_unlock(&b->lock);
}

static int start(struct making *m)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    (void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
    m->from_thread = ends[0];
    m->to_reader = ends[1];
    m->began = clock_monotonic_ms();
    mirror_hold_eviction(m->backups->admin->mirror, true);
    int r = pthread_create(&m->thread, NULL, make, m);
    if (r != 0) {
        mirror_hold_eviction(m->backups->admin->mirror, false);
        (void)close(ends[0]);
        (void)close(ends[1]);
    }
    return -r;
}

/* What is asked for; where it cannot be, the reply says so. */
static int read_options(const struct admin_request *request, struct admin_reply *reply, struct backup_options *o)
{
    const char *since = admin_param(request, "since"), *at = admin_param(request, "at");
    char *end = NULL;
    int r = admin_param_bool(request, reply, "metadata", &o->is_metadata);
    if (r < 0)
        return r;
    errno = 0;
    o->base = since;
    o->base_at = at ? strtoll(at, &end, 10) : 0;
    bool fits = !since == !at;
    if (fits && since)
        fits = !o->is_metadata && backup_id_is_valid(since) && end != at && !*end && !errno && o->base_at >= 0;
    if (fits)
        return 0;
    admin_fail(reply, 400, "bad_parameter",
               "since is the id of a backup and at its created_at: they go together, and not with metadata");
    return -EINVAL;
}

static int begin(struct admin *a, const struct admin_request *request, const struct backup_options *wanted,
                 struct making **ret_making)
{
    struct making *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->backups = a->backups;
    m->options = *wanted;
    m->options.store = a->store;
    m->options.damaged = report_damage;
    m->options.sink = to_pipe;
    m->options.arg = m;
    memcpy(m->who, request->who, sizeof(m->who));
    if (wanted->base) {
        memcpy(m->base, wanted->base, sizeof(m->base));
        m->options.base = m->base;
    }
    int r = start(m);
    if (r < 0)
        free(m);
    else
        *ret_making = m;
    return r;
}

void backup_get(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    struct backup_options wanted = {0};
    struct making *m;
    if (read_options(request, reply, &wanted) < 0)
        return;
    if (!take_turn(a->backups)) {
        admin_fail(reply, 409, "busy", "another backup is being made");
        return;
    }
    int r = begin(a, request, &wanted, &m);
    if (r < 0) {
        give_back_turn(a->backups);
        admin_fail_errno(reply, r, "backup");
        return;
    }
    *reply = (struct admin_reply){
        .status = 200, .content_type = "application/zstd", .read = read_made, .finish = finish, .arg = m};
}

/* ------------------------------------------------------------------ it was kept */

/* {"bytes": 4711}, which tells whether it is the same. */
void backup_post(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    AUTO_JSON json_t *body = admin_body(request, reply);
    json_int_t bytes;
    if (!body)
        return;
    if (json_unpack(body, "{s:I!}", "bytes", &bytes) < 0) {
        admin_fail(reply, 400, "bad_body", "the body is to be {\"bytes\": N}");
        return;
    }
    (void)pthread_mutex_lock(&a->backups->lock);
    const struct made made = a->backups->last;
    (void)pthread_mutex_unlock(&a->backups->lock);
    if (!*made.header.id || bytes < 0 || (uint64_t)bytes != made.bytes) {
        admin_fail(reply, 409, "conflict", "the last backup that was sent is not one of that size");
        return;
    }
    int r = keep_record(a, &made);
    admin_audit(request, "backup", made.header.id, r < 0 ? "failed" : "kept");
    if (r < 0) {
        admin_fail_errno(reply, r, "backup");
        return;
    }
    show(made.header.created_at, made.bytes);
    admin_answer(reply, json_pack("{s:s, s:I, s:I, s:I, s:I}", "id", made.header.id, "blobs",
                                  (json_int_t)made.end.blobs, "bytes", (json_int_t)made.bytes, "missing",
                                  (json_int_t)made.end.missing, "damaged", (json_int_t)made.end.damaged));
}
