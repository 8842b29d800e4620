#include "server/tls.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "folder.h"
#include "pki.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define DAY 86400

/* The linker puts it where tls.c calls send(). */
static atomic_int flags_seen; /* of the last call */
ssize_t __real_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
    flags_seen = flags;
    return __real_send(fd, data, len, flags);
}

static char files[4][256]; /* a.crt, a.key, b.crt, b.key */
static char authorities[256];
static struct config_certificate certificates[2];
static struct config config;
static struct tls *tls;
static struct pki one, two;

static void setup(void)
{
    static const char *const names[] = {"a.crt", "a.key", "b.crt", "b.key"};
    log_configure(LOG_ERROR, LOG_TEXT);
    folder_create();
    for (int i = 0; i < 4; i++)
        (void)snprintf(files[i], sizeof(files[i]), "%s", folder_path(names[i]));
    (void)snprintf(authorities, sizeof(authorities), "%s", folder_path("ca.crt"));
    for (int i = 0; i < 2; i++)
        certificates[i] = (struct config_certificate){files[2 * i], files[2 * i + 1]};
    config.server.tls.certificates = certificates;
    config.server.tls.certificate_count = 1;
    pki_create(&one, "one.example", NULL, DAY);
    pki_create(&two, "two.example", NULL, 2 * DAY);
}

static void teardown(void)
{
    tls_destroy(tls);
    pki_finish(&one);
    pki_finish(&two);
    folder_remove();
}

static void put(int pair, const struct pki *certificate, const struct pki *key)
{
    pki_write(&certificate->certificate_text, files[2 * pair]);
    pki_write(&key->key_text, files[2 * pair + 1]);
}

static void create(void)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    int r = tls_create(&config, &tls, &error);
    ck_assert_msg(r == 0, "%s", error.data);
}

/* ------------------------------------------------------------------ handshakes on a pair of sockets */

struct side {
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    int fd, result;
};

struct shake {
    struct side server, client;
    struct tls_peer peer;
};

static void *shake_hands(void *arg)
{
    struct side *s = arg;
    do
        s->result = gnutls_handshake(s->session);
    while (s->result < 0 && !gnutls_error_is_fatal(s->result));
    if (s->result < 0) /* lest the other wait for it */
        (void)shutdown(s->fd, SHUT_RDWR);
    return NULL;
}

static void open_side(struct side *s, unsigned flags, int fd, const char *priorities)
{
    s->fd = fd;
    ck_assert_int_eq(gnutls_init(&s->session, flags), 0);
    ck_assert_int_eq(gnutls_certificate_allocate_credentials(&s->credentials), 0);
    ck_assert_int_eq(gnutls_credentials_set(s->session, GNUTLS_CRD_CERTIFICATE, s->credentials), 0);
    ck_assert_int_eq(gnutls_priority_set_direct(s->session, priorities, NULL), 0);
    gnutls_transport_set_int(s->session, fd);
}

static void begin(struct shake *h, const char *name, const char *versions, const struct pki *client)
{
    int fds[2];
    pthread_t thread;
    *h = (struct shake){0};
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    open_side(&h->server, GNUTLS_SERVER, fds[0], tls_priorities(&config));
    gnutls_certificate_set_retrieve_function3(h->server.credentials, tls_choose);
    tls_begin(tls, h->server.session, &h->peer);
    open_side(&h->client, GNUTLS_CLIENT, fds[1], versions ? versions : "NORMAL");
    if (client)
        ck_assert_int_eq(gnutls_certificate_set_x509_key(h->client.credentials,
                                                         (gnutls_x509_crt_t[]){client->certificate}, 1, client->key),
                         0);
    if (name)
        ck_assert_int_eq(gnutls_server_name_set(h->client.session, GNUTLS_NAME_DNS, name, strlen(name)), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, shake_hands, &h->server), 0);
    (void)shake_hands(&h->client);
    (void)pthread_join(thread, NULL);
}

static void end(struct shake *h)
{
    struct side *sides[] = {&h->server, &h->client};
    for (int i = 0; i < 2; i++) {
        gnutls_deinit(sides[i]->session);
        gnutls_certificate_free_credentials(sides[i]->credentials);
        (void)close(sides[i]->fd);
    }
    tls_peer_finish(&h->peer);
}

/* Whose certificate the client was shown. */
static bool was_shown(const struct shake *h, const struct pki *p)
{
    unsigned len;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(h->client.session, &len);
    gnutls_datum_t own;
    if (h->client.result < 0 || h->server.result < 0 || !chain || len == 0)
        return false;
    ck_assert_int_eq(gnutls_x509_crt_export2(p->certificate, GNUTLS_X509_FMT_DER, &own), 0);
    bool same = own.size == chain[0].size && memcmp(own.data, chain[0].data, own.size) == 0;
    gnutls_free(own.data);
    return same;
}

static void check_shown(const char *name, const struct pki *p)
{
    struct shake h;
    begin(&h, name, NULL, NULL);
    ck_assert(was_shown(&h, p));
    end(&h);
}

/* ------------------------------------------------------------------ certificates */

START_TEST(the_name_that_is_asked_for_chooses_the_certificate)
{
    config.server.tls.certificate_count = 2;
    put(0, &one, &one);
    put(1, &two, &two);
    create();
    check_shown("one.example", &one);
    check_shown("two.example", &two);
    check_shown("other.example", &one);
    check_shown(NULL, &one);
}
END_TEST

START_TEST(a_new_certificate_is_for_new_connections)
{
    struct shake old;
    put(0, &one, &one);
    create();
    begin(&old, NULL, NULL, NULL);
    put(0, &two, &two);
    tls_reload(tls);
    check_shown(NULL, &two);
    ck_assert(was_shown(&old, &one));
    char byte = 0;
    ck_assert_int_eq(gnutls_record_send(old.server.session, "x", 1), 1);
    ssize_t got;
    while ((got = gnutls_record_recv(old.client.session, &byte, 1)) == GNUTLS_E_AGAIN) /* a ticket came first */
        ;
    ck_assert_int_eq(got, 1);
    ck_assert_int_eq(byte, 'x');
    end(&old);
    ck_assert_int_eq(metrics_value(METRIC_TLS_EXPIRY, LABELS(files[0])),
                     (int64_t)gnutls_x509_crt_get_expiration_time(two.certificate) * 1000000);
}
END_TEST

START_TEST(a_record_waits_for_the_next_where_there_is_one_at_once)
{
    struct shake h;
    char bytes[2] = "";
    put(0, &one, &one);
    create();
    begin(&h, NULL, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        h.peer.has_more = i == 0;
        ck_assert_int_eq(gnutls_record_send(h.server.session, "x", 1), 1);
        ck_assert_int_eq((flags_seen & MSG_MORE) != 0, i == 0);
        ck_assert_int_ne(flags_seen & MSG_NOSIGNAL, 0);
    }
    for (size_t len = 0; len < sizeof(bytes);) {
        ssize_t got = gnutls_record_recv(h.client.session, bytes + len, sizeof(bytes) - len);
        ck_assert(got > 0 || got == GNUTLS_E_AGAIN);
        len += got > 0 ? (size_t)got : 0;
    }
    ck_assert_mem_eq(bytes, "xx", sizeof(bytes));
    end(&h);
}
END_TEST

enum wrong { NO_CERTIFICATE, NO_KEY, RUBBISH, EMPTY, OTHER_KEY, EXPIRED, EARLY, TOO_LARGE, WRONGS };

static void put_wrong(enum wrong what, const struct pki *expired, const struct pki *early)
{
    struct buf text = BUF_INIT(4 << 20);
    put(0, &two, &two);
    switch (what) {
    case NO_CERTIFICATE:
        ck_assert_int_eq(remove(files[0]), 0);
        break;
    case NO_KEY:
        ck_assert_int_eq(remove(files[1]), 0);
        break;
    case RUBBISH:
        ck_assert_int_eq(buf_adds(&text, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0);
        pki_write(&text, files[0]);
        break;
    case EMPTY:
        pki_write(&text, files[1]);
        break;
    case OTHER_KEY:
        put(0, &two, &one);
        break;
    case EXPIRED:
        put(0, expired, expired);
        break;
    case EARLY:
        put(0, early, early);
        break;
    case TOO_LARGE:
        for (int i = 0; i < 1 << 15; i++)
            ck_assert_int_eq(buf_adds(&text, "0123456789012345678901234567890123456789"), 0);
        pki_write(&text, files[0]);
        break;
    case WRONGS:
        break;
    }
    buf_finish(&text);
}

START_TEST(what_is_wrong_in_a_new_file_leaves_the_old_certificate_and_is_told)
{
    struct pki expired, early;
    pki_create(&expired, "one.example", NULL, -60);
    pki_create_for(&early, "one.example", NULL, DAY, 2 * DAY);
    put(0, &one, &one);
    create();
    ck_assert_int_eq(metrics_value(METRIC_TLS_RELOAD_SUCCESS, NO_LABELS), 1);
    put_wrong((enum wrong)_i, &expired, &early);
    for (int turn = 0; turn < 2; turn++) {
        tls_reload(tls);
        check_shown(NULL, &one);
        ck_assert_int_eq(metrics_value(METRIC_TLS_RELOAD_SUCCESS, NO_LABELS), 0);
    }
    put(0, &two, &two);
    tls_reload(tls);
    check_shown(NULL, &two);
    ck_assert_int_eq(metrics_value(METRIC_TLS_RELOAD_SUCCESS, NO_LABELS), 1);
    pki_finish(&expired);
    pki_finish(&early);
}
END_TEST

START_TEST(what_is_not_valid_yet_is_taken_when_it_is_or_where_there_is_nothing_better)
{
    struct pki early, expired;
    const time_t begins = time(NULL) + 2;
    pki_create_for(&early, "one.example", NULL, begins - time(NULL), DAY);
    pki_create(&expired, "one.example", NULL, -60);
    put(0, &one, &one);
    create();
    put(0, &early, &early);
    for (; time(NULL) < begins; (void)usleep(20000))
        tls_reload(tls); /* nothing is written to the file in between */
    tls_reload(tls);
    check_shown(NULL, &early);
    ck_assert_int_eq(metrics_value(METRIC_TLS_RELOAD_SUCCESS, NO_LABELS), 1);
    tls_destroy(TAKE_PTR(tls));

    put(0, &expired, &expired);
    create();
    pki_finish(&early);
    pki_create_for(&early, "one.example", NULL, DAY, 2 * DAY);
    put(0, &early, &early);
    tls_reload(tls);
    check_shown(NULL, &early);
    pki_finish(&early);
    pki_finish(&expired);
}
END_TEST

START_TEST(one_bad_pair_does_not_keep_the_others_from_being_new)
{
    struct pki newer;
    pki_create(&newer, "two.example", NULL, DAY);
    config.server.tls.certificate_count = 2;
    put(0, &one, &one);
    put(1, &two, &two);
    create();
    put(0, &one, &two);
    put(1, &newer, &newer);
    tls_reload(tls);
    check_shown("one.example", &one);
    check_shown("two.example", &newer);
    ck_assert_int_eq(metrics_value(METRIC_TLS_RELOAD_SUCCESS, NO_LABELS), 0);
    pki_finish(&newer);
}
END_TEST

START_TEST(at_the_start_what_is_wrong_is_said_with_the_file)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    put(0, &one, &two);
    ck_assert_int_eq(tls_create(&config, &tls, &error), -EINVAL);
    char wanted[320];
    (void)snprintf(wanted, sizeof(wanted), "%s: key: it is not the certificate's", files[0]);
    ck_assert_str_eq(error.data, wanted);
    buf_reset(&error);
    ck_assert_int_eq(remove(files[1]), 0);
    ck_assert_int_eq(tls_create(&config, &tls, &error), -ENOENT);
    ck_assert(strstr(error.data, "No such file"));
}
END_TEST

static const struct {
    enum config_tls_version min;
    const char *client;
    bool good;
} versions[] = {
    {CONFIG_TLS_1_2, "NORMAL:-VERS-ALL:+VERS-TLS1.2", true},  {CONFIG_TLS_1_2, "NORMAL:-VERS-ALL:+VERS-TLS1.3", true},
    {CONFIG_TLS_1_2, "NORMAL:-VERS-ALL:+VERS-TLS1.1", false}, {CONFIG_TLS_1_3, "NORMAL:-VERS-ALL:+VERS-TLS1.2", false},
    {CONFIG_TLS_1_3, "NORMAL:-VERS-ALL:+VERS-TLS1.3", true},
};

START_TEST(older_versions_than_allowed_are_refused)
{
    struct shake h;
    config.server.tls.min_version = versions[_i].min;
    put(0, &one, &one);
    create();
    begin(&h, NULL, versions[_i].client, NULL);
    ck_assert((h.client.result == 0 && h.server.result == 0) == versions[_i].good);
    end(&h);
}
END_TEST

/* ------------------------------------------------------------------ certificates of clients */

enum shown { NOTHING, GOOD, STRANGE, OLD };

static const struct {
    enum config_client_certificates rule;
    enum shown shown;
    bool good;
} shows[] = {
    {CONFIG_CLIENTS_REQUIRED, GOOD, true},     {CONFIG_CLIENTS_REQUIRED, NOTHING, false},
    {CONFIG_CLIENTS_REQUIRED, STRANGE, false}, {CONFIG_CLIENTS_REQUIRED, OLD, false},
    {CONFIG_CLIENTS_OPTIONAL, GOOD, true},     {CONFIG_CLIENTS_OPTIONAL, NOTHING, true},
    {CONFIG_CLIENTS_OPTIONAL, STRANGE, false}, {CONFIG_CLIENTS_OPTIONAL, OLD, false},
};

static void check_client(const struct pki *client, const char *version, bool good, const char *name)
{
    struct shake h;
    begin(&h, NULL, version, client);
    /* In TLS 1.3 a client is through before the server has looked at its certificate. */
    ck_assert_msg((h.server.result == 0) == good, "%s", gnutls_strerror(h.server.result));
    ck_assert_str_eq(h.peer.name, name);
    end(&h);
}

START_TEST(a_client_shows_a_certificate_of_an_authority_that_is_known)
{
    static const char *const both[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3"};
    struct pki ca, node, old;
    pki_create(&ca, "the authority", NULL, DAY);
    pki_create(&node, "node-1", &ca, DAY);
    pki_create(&old, "node-0", &ca, -60);
    const struct pki *clients[] = {[NOTHING] = NULL, [GOOD] = &node, [STRANGE] = &two, [OLD] = &old};
    config.server.tls.client_ca = authorities;
    config.server.tls.client_certificates = shows[_i].rule;
    put(0, &one, &one);
    pki_write(&ca.certificate_text, authorities);
    create();
    for (int v = 0; v < 2; v++)
        check_client(clients[shows[_i].shown], both[v], shows[_i].good, shows[_i].shown == GOOD ? "node-1" : "");
    pki_finish(&ca);
    pki_finish(&node);
    pki_finish(&old);
}
END_TEST

START_TEST(new_authorities_take_the_place_of_the_old_ones)
{
    struct pki nodes[2], cas[2];
    config.server.tls.client_ca = authorities;
    put(0, &one, &one);
    for (int i = 0; i < 2; i++) {
        pki_create(&cas[i], "the authority", NULL, DAY);
        pki_create(&nodes[i], i ? "node-1" : "node-0", &cas[i], DAY);
    }
    pki_write(&cas[0].certificate_text, authorities);
    create();
    check_client(&nodes[0], NULL, true, "node-0");
    check_client(&nodes[1], NULL, false, "");
    pki_write(&one.key_text, authorities);
    tls_reload(tls);
    ck_assert_int_eq(metrics_value(METRIC_TLS_RELOAD_SUCCESS, NO_LABELS), 0);
    check_client(&nodes[0], NULL, true, "node-0");
    pki_write(&cas[1].certificate_text, authorities);
    tls_reload(tls);
    check_client(&nodes[0], NULL, false, "");
    check_client(&nodes[1], NULL, true, "node-1");
    for (int i = 0; i < 2; i++) {
        pki_finish(&nodes[i]);
        pki_finish(&cas[i]);
    }
}
END_TEST

/* ------------------------------------------------------------------ all at once */

static bool take_one(_Atomic int *left)
{
    return --*left >= 0;
}

static void *shake_many(void *arg)
{
    while (take_one(arg)) {
        struct shake h;
        begin(&h, "one.example", NULL, NULL);
        ck_assert(was_shown(&h, &one) || was_shown(&h, &two));
        end(&h);
    }
    return NULL;
}

START_TEST(handshakes_go_on_while_certificates_are_swapped)
{
    _Atomic int left = 60;
    pthread_t threads[3];
    put(0, &one, &one);
    create();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, shake_many, &left), 0);
    for (int seen = left; seen > 0; seen = left) {
        const struct pki *p = seen % 2 ? &one : &two;
        put(0, p, p);
        tls_reload(tls);
    }
    for (int i = 0; i < 3; i++)
        (void)pthread_join(threads[i], NULL);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("tls");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, the_name_that_is_asked_for_chooses_the_certificate);
    tcase_add_test(t, a_new_certificate_is_for_new_connections);
    tcase_add_test(t, a_record_waits_for_the_next_where_there_is_one_at_once);
    tcase_add_loop_test(t, what_is_wrong_in_a_new_file_leaves_the_old_certificate_and_is_told, 0, WRONGS);
    tcase_add_test(t, what_is_not_valid_yet_is_taken_when_it_is_or_where_there_is_nothing_better);
    tcase_add_test(t, one_bad_pair_does_not_keep_the_others_from_being_new);
    tcase_add_test(t, at_the_start_what_is_wrong_is_said_with_the_file);
    tcase_add_loop_test(t, older_versions_than_allowed_are_refused, 0, ARRAY_SIZE(versions));
    tcase_add_loop_test(t, a_client_shows_a_certificate_of_an_authority_that_is_known, 0, ARRAY_SIZE(shows));
    tcase_add_test(t, new_authorities_take_the_place_of_the_old_ones);
    tcase_add_test(t, handshakes_go_on_while_certificates_are_swapped);
    Suite *s = suite_create("tls");
    suite_add_tcase(s, t);
    return suite_run(s);
}
