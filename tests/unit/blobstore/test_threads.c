/*
 * Everything at once: a thread that stores in batches, some that write partial files, read, list, touch, remove,
 * damage. The sanitizers are the first oracle (run it with -Db_sanitize=thread); the second is that a blob is right or
 * not there.
 */
#include "blobstore/store.h"
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

enum { BLOBS = 48, BATCHES = 150 };

struct shared {
    struct blobstore *store;
    struct digest digests[BLOBS];
    atomic_bool done;
    atomic_uint hits, stored;
};

/* ck_assert is for the thread of the test alone. */
#define must(expr)                                                                                                     \
    do {                                                                                                               \
        if (!(expr)) {                                                                                                 \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #expr);                                           \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static void *store_in_batches(void *arg)
{
    struct shared *s = arg;
    unsigned seed = 1;
    for (unsigned i = 0; i < BATCHES; i++) {
        struct blobstore_writer *writers[4] = {NULL};
        struct blobstore_batch *b;
        must(blobstore_batch_begin(s->store, &b) == 0);
        for (unsigned k = 0; k < ARRAY_SIZE(writers); k++) {
            unsigned n = (unsigned)rand_r(&seed) % BLOBS;
            uint8_t bytes[HELPER_CONTENT_MAX];
            size_t len = helper_content(n, bytes);
            uint64_t length;
            int r = blobstore_writer_open(s->store, &s->digests[n], &writers[k], &length);
            must(r == 0 || r == -EBUSY);
            if (r < 0)
                continue;
            must(length <= len);
            must(blobstore_writer_append(writers[k], bytes + length, len - length) == 0);
            must(blobstore_batch_publish(b, writers[k]) == 0);
            atomic_fetch_add(&s->stored, 1);
        }
        blobstore_batch_put(b, BLOBSTORE_JOBS, "i", 1, &i, sizeof(i));
        if (i % 7 == 3)
            blobstore_batch_abort(b);
        else
            must(blobstore_batch_commit(b) == 0);
        for (unsigned k = 0; k < ARRAY_SIZE(writers); k++)
            blobstore_writer_close(writers[k], BLOBSTORE_DISCARD);
    }
    atomic_store(&s->done, true);
    return NULL;
}

static void *read_and_touch(void *arg)
{
    struct shared *s = arg;
    unsigned seed = (unsigned)(uintptr_t)&seed;
    while (!atomic_load(&s->done)) {
        unsigned n = (unsigned)rand_r(&seed) % BLOBS;
        uint8_t bytes[HELPER_CONTENT_MAX + 1], expected[HELPER_CONTENT_MAX];
        struct blobstore_info info;
        struct blobstore_content *content;
        int r = blobstore_get(s->store, &s->digests[n], &info, &content);
        must(r == 0 || r == -ENOENT || r == -EBADMSG);
        if (r < 0)
            continue;
        size_t len = helper_content(n, expected);
        must(info.size == len);
        must(blobstore_content_read(content, 0, bytes, sizeof(bytes)) == (ssize_t)len &&
             memcmp(bytes, expected, len) == 0);
        blobstore_content_close(content);
        atomic_fetch_add(&s->hits, 1);
        blobstore_touch(s->store, &s->digests[n]);
    }
    return NULL;
}

static void *list_and_look_up(void *arg)
{
    struct shared *s = arg;
    while (!atomic_load(&s->done)) {
        struct blobstore_info infos[BLOBS];
        size_t count;
        AUTO_BUF struct buf value = BUF_INIT(16);
        must(blobstore_list(s->store, NULL, infos, BLOBS, &count) == 0);
        for (size_t i = 1; i < count; i++)
            must(infos[i].digest.algorithm > infos[i - 1].digest.algorithm ||
                 memcmp(infos[i].digest.raw, infos[i - 1].digest.raw, DIGEST_RAW_MAX) > 0);
        int r = blobstore_record_get(s->store, BLOBSTORE_JOBS, "i", 1, &value);
        must(r == -ENOENT || (r == 0 && value.len == sizeof(unsigned)));
    }
    return NULL;
}

static void *remove_and_flush(void *arg)
{
    struct shared *s = arg;
    unsigned seed = 2;
    while (!atomic_load(&s->done)) {
        int r = blobstore_remove(s->store, &s->digests[(unsigned)rand_r(&seed) % BLOBS]);
        must(r == 0 || r == -ENOENT);
        touches_note(s->store->touches, &s->digests[(unsigned)rand_r(&seed) % BLOBS], 4102444800000 + rand_r(&seed));
        must(blobstore_flush_touches(s->store) == 0);
    }
    return NULL;
}

/* Makes and unmakes partial files, in the way of the one who stores. */
static void *write_partial_files(void *arg)
{
    struct shared *s = arg;
    unsigned seed = 3;
    while (!atomic_load(&s->done)) {
        unsigned n = (unsigned)rand_r(&seed) % BLOBS;
        uint8_t bytes[HELPER_CONTENT_MAX];
        (void)helper_content(n, bytes);
        struct blobstore_writer *w;
        uint64_t length;
        int r = blobstore_writer_open(s->store, &s->digests[n], &w, &length);
        must(r == 0 || r == -EBUSY);
        if (r < 0)
            continue;
        if (length == 0)
            must(blobstore_writer_append(w, bytes, 4) == 0); /* right as far as it goes */
        blobstore_writer_close(w, rand_r(&seed) % 2 ? BLOBSTORE_KEEP : BLOBSTORE_DISCARD);
    }
    return NULL;
}

/* Another file in the place of a blob, as a whole: never one that is half right under a reader. */
static void *damage_blobs(void *arg)
{
    struct shared *s = arg;
    unsigned seed = 4;
    while (!atomic_load(&s->done)) {
        char text[DIGEST_TEXT_MAX], from[256], to[512];
        const struct digest *digest = &s->digests[(unsigned)rand_r(&seed) % BLOBS];
        const char *hex = strchr(digest_format(digest, text), ':') + 1;
        (void)snprintf(from, sizeof(from), "%s/damage", helper_root());
        (void)snprintf(to, sizeof(to), "%s/blobs/%s/%.2s/%s", helper_root(), digest_algorithm_name(digest->algorithm),
                       hex, hex);
        int fd = open(from, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        must(fd >= 0 && write(fd, "bad", 3) == 3);
        (void)close(fd);
        struct stat st;
        if (stat(to, &st) < 0 || rename(from, to) < 0)
            (void)unlink(from);
        (void)usleep(2000); /* or nothing else would be found */
    }
    return NULL;
}

static void run(struct shared *s, void *(*const others[])(void *), size_t count)
{
    pthread_t threads[16];
    ck_assert_uint_lt(count, ARRAY_SIZE(threads));
    for (unsigned n = 0; n < BLOBS; n++)
        s->digests[n] = helper_digest(n);
    ck_ok(pthread_create(&threads[count], NULL, store_in_batches, s));
    for (size_t i = 0; i < count; i++)
        ck_ok(pthread_create(&threads[i], NULL, others[i], s));
    for (size_t i = 0; i <= count; i++)
        ck_ok(pthread_join(threads[i], NULL));
    ck_assert_uint_gt(atomic_load(&s->stored), BATCHES);
    ck_assert_uint_gt(atomic_load(&s->hits), 0);
}

START_TEST(readers_writers_batches_touches_and_removes_go_side_by_side)
{
    void *(*const others[])(void *) = {read_and_touch,   read_and_touch,   read_and_touch,      read_and_touch,
                                       list_and_look_up, remove_and_flush, write_partial_files, list_and_look_up};
    struct shared s = {.store = helper_open(NULL)};
    run(&s, others, ARRAY_SIZE(others));
    /* Nothing was damaged, and nothing was taken for damaged. */
    ck_assert_uint_eq(helper_count(helper_path("quarantine")), 0);
    blobstore_close(s.store);

    struct blobstore_report report;
    struct blobstore *store = helper_open(&report);
    uint64_t found = 0;
    for (unsigned n = 0; n < BLOBS; n++)
        found += helper_has(store, n);
    ck_assert_uint_eq(found, report.blobs);
    ck_assert_uint_eq(report.dropped, 0);
    blobstore_close(store);
}
END_TEST

START_TEST(damage_is_met_by_many_at_once_and_mended)
{
    void *(*const others[])(void *) = {read_and_touch, read_and_touch, damage_blobs, list_and_look_up};
    struct shared s = {.store = helper_open(NULL)};
    run(&s, others, ARRAY_SIZE(others));
    for (unsigned n = 0; n < BLOBS; n++) {
        (void)helper_has(s.store, n); /* right, or found damaged */
        (void)helper_store(s.store, n);
        ck_assert(helper_has(s.store, n));
    }
    blobstore_close(s.store);
}
END_TEST

/* ------------------------------------------------------------------ packing */

#define TEXTS 3
#define TEXT_LEN 300000u
#define PACKINGS 60

struct texts {
    struct blobstore *store;
    char *data[TEXTS];
    struct digest digests[TEXTS];
    atomic_bool done;
    atomic_uint packed, hits;
};

static void *pack_and_store(void *arg)
{
    struct texts *s = arg;
    for (unsigned i = 0; i < PACKINGS; i++) {
        unsigned n = i % TEXTS;
        uint64_t saved;
        (void)helper_store_bytes(s->store, s->data[n], TEXT_LEN);
        int r = helper_pack(s->store, &s->digests[n], &saved);
        must(r == 0 || r == -EALREADY || r == -ENOENT || r == -ESTALE);
        atomic_fetch_add(&s->packed, r == 0);
    }
    atomic_store(&s->done, true);
    return NULL;
}

static void *read_texts(void *arg)
{
    struct texts *s = arg;
    unsigned seed = (unsigned)(uintptr_t)&seed;
    while (!atomic_load(&s->done)) {
        unsigned n = (unsigned)rand_r(&seed) % TEXTS;
        AUTO(auto_blobstore_content_close) struct blobstore_content *content = NULL;
        struct blobstore_info info;
        int r = blobstore_get(s->store, &s->digests[n], &info, &content);
        must(r == 0 || r == -ENOENT);
        for (unsigned i = 0; r == 0 && i < 20; i++) {
            char bytes[5000];
            size_t at = (size_t)rand_r(&seed) % (TEXT_LEN - sizeof(bytes));
            ssize_t len = blobstore_content_read(content, at, bytes, sizeof(bytes));
            must(len > 0 && memcmp(bytes, s->data[n] + at, (size_t)len) == 0);
            atomic_fetch_add(&s->hits, 1);
        }
    }
    return NULL;
}

static void *remove_texts(void *arg)
{
    struct texts *s = arg;
    unsigned seed = 5;
    while (!atomic_load(&s->done)) {
        int r = blobstore_remove(s->store, &s->digests[(unsigned)rand_r(&seed) % TEXTS]);
        must(r == 0 || r == -ENOENT);
        (void)usleep(5000);
    }
    return NULL;
}

START_TEST(packing_reading_and_removing_go_side_by_side)
{
    struct texts s = {.store = helper_open(NULL)};
    void *(*const all[])(void *) = {pack_and_store, read_texts, read_texts, read_texts, remove_texts};
    pthread_t threads[ARRAY_SIZE(all)];
    for (unsigned n = 0; n < TEXTS; n++) {
        s.data[n] = helper_text(TEXT_LEN, n);
        ck_ok(digest_of(DIGEST_SHA256, s.data[n], TEXT_LEN, &s.digests[n]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        ck_ok(pthread_create(&threads[i], NULL, all[i], &s));
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        ck_ok(pthread_join(threads[i], NULL));
    ck_assert_uint_gt(atomic_load(&s.packed), 0);
    ck_assert_uint_gt(atomic_load(&s.hits), 0);
    ck_assert_uint_eq(helper_count(helper_path("quarantine")), 0);
    blobstore_close(s.store);
    struct blobstore_report report;
    struct blobstore *store = helper_open(&report);
    ck_assert_uint_eq(report.adopted + report.dropped + report.discarded, 0);
    blobstore_close(store);
    for (unsigned n = 0; n < TEXTS; n++)
        free(s.data[n]);
}
END_TEST

static int in_a_scan(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    pthread_barrier_t *barriers = arg;
    (void)key;
    (void)key_len;
    (void)value;
    (void)value_len;
    (void)pthread_barrier_wait(&barriers[0]);
    (void)pthread_barrier_wait(&barriers[1]);
    return 0;
}

struct scanner {
    struct blobstore *store;
    pthread_barrier_t *barriers;
};

static void *scan(void *arg)
{
    struct scanner *s = arg;
    must(blobstore_record_scan(s->store, BLOBSTORE_TAGS, NULL, 0, in_a_scan, s->barriers) == 0);
    return NULL;
}

START_TEST(more_readers_than_there_is_room_for_are_turned_away_and_served_later)
{
    enum { ROOM = 3 };
    struct blobstore_options options = {.root = helper_root(), .max_readers = ROOM};
    struct blobstore_report report;
    struct blobstore *store;
    struct blobstore_info info;
    struct blobstore_batch *b;
    pthread_barrier_t barriers[2];
    pthread_t threads[ROOM];
    ck_ok(blobstore_open(&options, &store, &report));
    struct digest digest = helper_store(store, 0);
    ck_ok(blobstore_batch_begin(store, &b));
    blobstore_batch_put(b, BLOBSTORE_TAGS, "tag", 3, "value", 5);
    ck_ok(blobstore_batch_commit(b));
    for (int i = 0; i < 2; i++)
        ck_ok(pthread_barrier_init(&barriers[i], NULL, ROOM + 1));
    struct scanner scanner = {store, barriers};
    for (int i = 0; i < ROOM; i++)
        ck_ok(pthread_create(&threads[i], NULL, scan, &scanner));
    (void)pthread_barrier_wait(&barriers[0]); /* all of them are inside */
    ck_assert_int_eq(blobstore_stat(store, &digest, &info), -EBUSY);
    (void)pthread_barrier_wait(&barriers[1]);
    for (int i = 0; i < ROOM; i++)
        ck_ok(pthread_join(threads[i], NULL));
    ck_ok(blobstore_stat(store, &digest, &info));
    for (int i = 0; i < 2; i++)
        ck_ok(pthread_barrier_destroy(&barriers[i]));
    blobstore_close(store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("threads");
    TCase *tc = tcase_create("threads");
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, helper_setup, helper_cleanup);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, readers_writers_batches_touches_and_removes_go_side_by_side);
    tcase_add_test(tc, damage_is_met_by_many_at_once_and_mended);
    tcase_add_test(tc, packing_reading_and_removing_go_side_by_side);
    tcase_add_test(tc, more_readers_than_there_is_room_for_are_turned_away_and_served_later);
    return helper_run(suite);
}
