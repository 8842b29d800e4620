#include "mirror/library.h"

#include "scratch.h"
#include "starve.h"

#include "base/limits.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define LAYER "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define CONFIG "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const char image[] = "{\"schemaVersion\":2,\"config\":{\"digest\":\"" CONFIG "\",\"size\":7},"
                            "\"layers\":[{\"digest\":\"" LAYER "\",\"size\":70000}]}";
static const char list[] = "{\"name\":\"x\",\"tags\":[]}";

static struct blobstore *store;
static struct keeper *keeper;
static struct library *library;

static void start(void)
{
    store = scratch_store();
    ck_ok(keeper_start(store, NULL, NULL, &keeper));
    ck_ok(library_create(store, keeper, &library));
}

static void stop(void)
{
    keeper_stop(keeper);
    library_destroy(library);
    blobstore_close(store);
}

static void restart(void)
{
    stop();
    start();
}

static void setup(void)
{
    scratch_setup();
    start();
}

static void cleanup(void)
{
    stop();
    scratch_cleanup();
}

static struct digest digest_of_text(const char *text)
{
    struct digest d;
    ck_ok(digest_of(DIGEST_SHA256, text, strlen(text), &d));
    return d;
}

static void add(const char *text, const char *type)
{
    struct digest digest = digest_of_text(text);
    AUTO(auto_document_unref) struct document *d = NULL;
    AUTO(auto_manifest_destroy) struct manifest *m = NULL;
    ck_ok(document_create(&digest, type, text, strlen(text), &d));
    int r = manifest_parse(text, strlen(text), &m);
    library_add(library, d, r == 0 ? m : NULL, "docker.io", "library/alpine");
}

static void check_has(const char *text, const char *type)
{
    struct digest digest = digest_of_text(text);
    AUTO(auto_document_unref) struct document *d = NULL;
    ck_assert(library_has(library, &digest));
    ck_ok(library_get(library, &digest, &d));
    ck_assert_uint_eq(d->len, strlen(text));
    ck_assert_str_eq(d->data, text);
    ck_assert_str_eq(d->media_type, type);
}

static int error_of(const struct digest *digest)
{
    struct document *d = NULL;
    int r = library_get(library, digest, &d);
    ck_assert_ptr_null(d);
    return r;
}

static void store_blob(const void *data, size_t len, const struct digest *digest)
{
    struct blobstore_writer *w;
    struct blobstore_batch *batch;
    uint64_t length;
    ck_ok(blobstore_writer_open(store, digest, &w, &length));
    ck_ok(blobstore_writer_append(w, data, len));
    ck_ok(blobstore_batch_begin(store, &batch));
    ck_ok(blobstore_batch_publish(batch, w));
    ck_ok(blobstore_batch_commit(batch));
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
}

/* --- several at once ---------------------------------------------------------------------------------------- */

/* Something to keep that holds the keeper until the test has come. */
struct stop {
    struct keeping keeping;
    pthread_barrier_t meet;
};

static void stop_add(struct keeping *k, struct blobstore_batch *batch)
{
    struct stop *s = (struct stop *)k;
    (void)batch;
    (void)pthread_barrier_wait(&s->meet);
    (void)pthread_barrier_wait(&s->meet);
}

static void stop_done(struct keeping *k, int result)
{
    (void)k;
    (void)result;
}

/* What is posted meanwhile goes into one commit. */
static void hold_up_keeper(struct stop *s)
{
    s->keeping = (struct keeping){.add = stop_add, .done = stop_done};
    ck_ok(pthread_barrier_init(&s->meet, NULL, 2));
    keeper_post(keeper, &s->keeping);
    (void)pthread_barrier_wait(&s->meet);
}

static void let_keeper_go(struct stop *s)
{
    (void)pthread_barrier_wait(&s->meet);
    restart();
    ck_ok(pthread_barrier_destroy(&s->meet));
}

/* An image with as many layers as a manifest has room for, and those of another `seed` are others. */
static char *largest_image(unsigned seed)
{
    struct buf text = BUF_INIT(LIMIT_MANIFEST);
    ck_ok(buf_adds(&text, "{\"schemaVersion\":2,\"config\":{\"digest\":\"" CONFIG "\",\"size\":7},\"layers\":["));
    for (unsigned i = 0; text.len + 200 < LIMIT_MANIFEST; i++)
        ck_ok(buf_addf(&text, "%s{\"digest\":\"sha256:%064llx\",\"size\":1}", i ? "," : "",
                       (unsigned long long)i * 0x9e3779b97f4a7c15ULL + seed));
    ck_ok(buf_adds(&text, "]}"));
    return text.data;
}

START_TEST(however_much_documents_name_those_that_come_together_are_all_kept)
{
    struct stop busy;
    char *large[5];
    hold_up_keeper(&busy);
    add(image, MEDIA_TYPE_OCI_MANIFEST);
    for (unsigned i = 0; i < ARRAY_SIZE(large); i++) {
        large[i] = largest_image(i);
        add(large[i], MEDIA_TYPE_OCI_MANIFEST);
    }
    let_keeper_go(&busy);
    check_has(image, MEDIA_TYPE_OCI_MANIFEST);
    for (unsigned i = 0; i < ARRAY_SIZE(large); i++) {
        check_has(large[i], MEDIA_TYPE_OCI_MANIFEST);
        free(large[i]);
    }
}
END_TEST

START_TEST(what_was_added_is_there_at_once_and_after_a_restart)
{
    struct digest digest = digest_of_text(image);
    ck_assert(!library_has(library, &digest));
    ck_assert_int_eq(error_of(&digest), -ENOENT);
    add(image, MEDIA_TYPE_DOCKER_MANIFEST);
    check_has(image, MEDIA_TYPE_DOCKER_MANIFEST);
    restart();
    check_has(image, MEDIA_TYPE_DOCKER_MANIFEST); /* as it was added, not as its form is */
}
END_TEST

START_TEST(added_twice_is_kept_once_with_the_latest_type)
{
    add(image, MEDIA_TYPE_DOCKER_MANIFEST);
    add(image, MEDIA_TYPE_OCI_MANIFEST);
    restart();
    check_has(image, MEDIA_TYPE_OCI_MANIFEST);
    ck_assert_uint_eq(scratch_count("partial"), 0);
}
END_TEST

START_TEST(a_document_that_is_no_manifest_is_kept_with_its_type)
{
    add(list, MEDIA_TYPE_JSON);
    restart();
    check_has(list, MEDIA_TYPE_JSON);
}
END_TEST

START_TEST(a_manifest_that_came_as_a_blob_says_itself_what_it_is)
{
    struct digest digest = digest_of_text(image), other = digest_of_text(list);
    store_blob(image, strlen(image), &digest);
    check_has(image, MEDIA_TYPE_OCI_MANIFEST);
    restart(); /* the keeper has written it down, and has no batch now */
    store_blob(list, strlen(list), &other);
    ck_assert_int_eq(error_of(&other), -ENOENT); /* and what is none is none */
}
END_TEST

START_TEST(a_large_blob_is_no_document_and_is_not_read)
{
    struct digest digest;
    AUTO_FREE char *data = scratch_bytes(1, LIMIT_MANIFEST + 1, &digest);
    store_blob(data, LIMIT_MANIFEST + 1, &digest);
    ck_assert_int_eq(error_of(&digest), -ENOENT);
}
END_TEST

START_TEST(what_a_flight_has_left_behind_does_not_disturb)
{
    struct digest digest = digest_of_text(image);
    struct blobstore_writer *w;
    uint64_t length;
    ck_ok(blobstore_writer_open(store, &digest, &w, &length));
    ck_ok(blobstore_writer_append(w, "rubbish", 7));
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    add(image, MEDIA_TYPE_OCI_MANIFEST);
    restart();
    check_has(image, MEDIA_TYPE_OCI_MANIFEST);
    ck_assert_uint_eq(scratch_count("partial"), 0);
}
END_TEST

START_TEST(what_is_damaged_is_not_handed_out_and_not_kept)
{
    struct digest digest = digest_of_text(image);
    add(image, MEDIA_TYPE_OCI_MANIFEST);
    stop();
    scratch_damage(&digest);
    start();
    ck_assert_int_eq(error_of(&digest), -ENOENT);
    restart();
    ck_assert(!library_has(library, &digest));
    add(image, MEDIA_TYPE_OCI_MANIFEST);
    restart();
    check_has(image, MEDIA_TYPE_OCI_MANIFEST);
}
END_TEST

START_TEST(bytes_that_are_not_those_of_their_name_are_removed_before_the_right_ones_come)
{
    struct digest digest = digest_of_text(image);
    struct stop busy;
    store_blob(list, strlen(list), &digest);
    hold_up_keeper(&busy);
    ck_assert_int_eq(error_of(&digest), -ENOENT);
    add(image, MEDIA_TYPE_OCI_MANIFEST); /* into one commit with the removal */
    let_keeper_go(&busy);
    check_has(image, MEDIA_TYPE_OCI_MANIFEST);
}
END_TEST

/* --- sizes -------------------------------------------------------------------------------------------------- */

static void check_size(const char *text, uint64_t wanted)
{
    struct digest digest;
    uint64_t size = 0;
    ck_ok(digest_parse(text, strlen(text), &digest));
    ck_ok(library_size_hint(library, &digest, &size));
    ck_assert_uint_eq(size, wanted);
}

START_TEST(a_manifest_says_how_large_its_parts_are)
{
    struct digest other = digest_of_text("other");
    uint64_t size = 7;
    add(image, MEDIA_TYPE_OCI_MANIFEST);
    check_size(LAYER, 70000);
    check_size(CONFIG, 7);
    restart();
    check_size(LAYER, 70000);
    check_size(CONFIG, 7);
    ck_assert_int_eq(library_size_hint(library, &other, &size), -ENOENT);
    ck_assert_uint_eq(size, 7);
}
END_TEST

START_TEST(what_an_upstream_says_counts_more)
{
    struct digest layer;
    ck_ok(digest_parse(LAYER, strlen(LAYER), &layer));
    add(image, MEDIA_TYPE_OCI_MANIFEST);
    library_note_size(library, &layer, 70001);
    check_size(LAYER, 70001);
}
END_TEST

START_TEST(what_a_lost_index_knew_of_a_manifest_is_written_again_when_it_is_read)
{
    struct digest digest = digest_of_text(image);
    store_blob(image, strlen(image), &digest);
    check_has(image, MEDIA_TYPE_OCI_MANIFEST);
    restart();
    ck_assert_uint_eq(scratch_records(store, BLOBSTORE_MANIFESTS, NULL, 0), 1);
    ck_assert_uint_eq(scratch_records(store, BLOBSTORE_REFERENCES, NULL, 0), 2);
    ck_assert_uint_eq(scratch_records(store, BLOBSTORE_REPOSITORIES, NULL, 0), 0);
}
END_TEST

/* Without some of what it names, the rest would seem to be used by nobody. */
START_TEST(whichever_allocation_fails_a_manifest_is_kept_with_all_that_it_names_or_not_at_all)
{
    struct digest digest = digest_of_text(image);
    bool fired = true;
    for (unsigned i = 0; fired; i++) {
        AUTO(auto_document_unref) struct document *d = NULL;
        AUTO(auto_manifest_destroy) struct manifest *m = NULL;
        ck_assert_uint_lt(i, 100);
        ck_ok(document_create(&digest, MEDIA_TYPE_OCI_MANIFEST, image, strlen(image), &d));
        ck_ok(manifest_parse(image, strlen(image), &m));
        starve_arm(i, STARVE_ONE);
        starve_enter(true);
        library_add(library, d, m, "docker.io", "library/alpine");
        fired = starve_disarm();
        restart();
        unsigned kept = scratch_records(store, BLOBSTORE_MANIFESTS, NULL, 0);
        ck_assert(kept == 1 || fired);
        ck_assert_uint_eq(scratch_records(store, BLOBSTORE_REFERENCES, NULL, 0), 2 * kept);
        stop();
        scratch_cleanup();
        scratch_setup();
        start();
    }
}
END_TEST

START_TEST(what_is_forgotten_is_not_served_from_memory)
{
    struct digest digest = digest_of_text(image);
    add(image, MEDIA_TYPE_OCI_MANIFEST);
    restart();
    check_has(image, MEDIA_TYPE_OCI_MANIFEST);
    ck_ok(blobstore_remove(store, &digest));
    ck_assert(library_has(library, &digest));
    library_forget(library, &digest);
    ck_assert_int_eq(error_of(&digest), -ENOENT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("library");
    TCase *tests = tcase_create("library");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, what_was_added_is_there_at_once_and_after_a_restart);
    tcase_add_test(tests, however_much_documents_name_those_that_come_together_are_all_kept);
    tcase_add_test(tests, added_twice_is_kept_once_with_the_latest_type);
    tcase_add_test(tests, a_document_that_is_no_manifest_is_kept_with_its_type);
    tcase_add_test(tests, a_manifest_that_came_as_a_blob_says_itself_what_it_is);
    tcase_add_test(tests, a_large_blob_is_no_document_and_is_not_read);
    tcase_add_test(tests, what_a_flight_has_left_behind_does_not_disturb);
    tcase_add_test(tests, what_is_damaged_is_not_handed_out_and_not_kept);
    tcase_add_test(tests, bytes_that_are_not_those_of_their_name_are_removed_before_the_right_ones_come);
    tcase_add_test(tests, a_manifest_says_how_large_its_parts_are);
    tcase_add_test(tests, what_an_upstream_says_counts_more);
    tcase_add_test(tests, what_a_lost_index_knew_of_a_manifest_is_written_again_when_it_is_read);
    tcase_add_test(tests, whichever_allocation_fails_a_manifest_is_kept_with_all_that_it_names_or_not_at_all);
    tcase_add_test(tests, what_is_forgotten_is_not_served_from_memory);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
