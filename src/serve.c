#include "serve.h"

#include "accounts.h"
#include "admin/admin.h"
#include "backup/backup.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "blobstore/blobstore.h"
#include "cli/command.h"
#include "collect.h"
#include "config/config.h"
#include "mirror/mirror.h"
#include "server/admin.h"
#include "server/guard.h"
#include "server/ops.h"
#include "server/server.h"
#include "upstream/upstream.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

/* How often the files with accounts and authorities are looked at. */
#define ACCOUNTS_EVERY_S 5

/*
 *   start: configuration → ops → store → upstream → mirror → guard → admin API → server
 *   stop:  admin API → server (drains) → guard → upstream's jobs → mirror → upstream → store → ops
 *
 * A floor that was not started is NULL and is passed over by the stop.
 */
struct service {
    const char *file; /* NULL: everything has its default */
    struct ops *ops;  /* NULL also where nobody wants it */
    struct blobstore *store;
    struct upstream *upstream;
    struct mirror *mirror;
    struct guard *guard; /* of the admin API and the server */
    struct admin *admin;
    struct admin_server *admin_server; /* NULL also where nobody wants it */
    struct server *server;
    struct collected collected;
    /* What each floor refers to. The server keeps that of the start; a reload gives the others a new one. */
    struct config *of_server, *of_upstream, *of_mirror, *of_admin;
    uint64_t accounts; /* what the files with accounts and authorities looked like when they were read */
};

/* ------------------------------------------------------------------ configuration */

static void log_lines(enum log_level level, const char *event, struct buf *lines)
{
    char *rest = lines->data;
    for (char *line; rest && (line = strsep(&rest, "\n"));)
        if (*line)
            log_event(level, event, LOG_S("error", line));
}

static int load(const char *file, struct config **ret_config)
{
    AUTO_BUF struct buf errors = BUF_INIT(MIB);
    int r = file ? config_load(file, ret_config, &errors) : config_default(ret_config);
    if (r < 0 && errors.len == 0)
        log_event(LOG_ERROR, "config", LOG_S("file", file), LOG_S("error", strerror(-r)));
    log_lines(LOG_ERROR, "config", &errors);
    return r;
}

static void configure_log(const struct config *c)
{
    static const enum log_level levels[] = {[CONFIG_LOG_ERROR] = LOG_ERROR,
                                            [CONFIG_LOG_WARN] = LOG_WARN,
                                            [CONFIG_LOG_INFO] = LOG_INFO,
                                            [CONFIG_LOG_DEBUG] = LOG_DEBUG};
    log_configure(levels[c->log.level], c->log.format == CONFIG_LOG_JSON ? LOG_JSON : LOG_TEXT);
}

/* Gives a floor another configuration, and frees its old one if no other floor has it. */
static void refer(struct service *s, struct config **slot, struct config *config)
{
    struct config *old = *slot;
    *slot = config;
    if (old != s->of_server && old != s->of_upstream && old != s->of_mirror && old != s->of_admin)
        config_destroy(old);
}

static void log_restart_keys(const struct service *s, const struct config *now)
{
    AUTO_BUF struct buf keys = BUF_INIT(4 * KIB);
    if (config_restart_keys(s->of_server, now, &keys) == 0 && keys.len > 0)
        log_event(LOG_WARN, "restart_needed", LOG_S("keys", keys.data));
}

/* True: the new configuration is in force. */
static bool reload(struct service *s)
{
    struct config *config;
    AUTO_BUF struct buf errors = BUF_INIT(MIB);
    int r = load(s->file, &config);
    if (r < 0) {
        log_event(LOG_ERROR, "reload", LOG_S("result", "failed, the old configuration stays"));
        return false;
    }
    log_restart_keys(s, config);
    s->accounts = accounts_look(config);
    /* The upstream first, which then knows every registry that the mirror may ask it for. */
    r = upstream_reload(s->upstream, config, &errors);
    log_lines(LOG_WARN, "credentials", &errors);
    if (r == 0) {
        refer(s, &s->of_upstream, config);
        r = mirror_reload(s->mirror, config);
        if (r == 0)
            refer(s, &s->of_mirror, config);
        admin_reload(s->admin, config);
        refer(s, &s->of_admin, config);
    } else {
        config_destroy(config);
    }
    if (r < 0) {
        log_event(LOG_ERROR, "reload", LOG_S("result", "failed"), LOG_S("error", strerror(-r)));
        return false;
    }
    configure_log(config); /* whoever wants to hear of reloads from now on hears of this one */
    log_event(LOG_INFO, "reload", LOG_S("result", "done"));
    return true;
}

/* Accounts, and authorities, that have changed on the disk are read by themselves: nobody signals when a Secret is
 * mounted anew. The configuration is that which is in force. What failed with the old ones is asked for again. */
static void look_at_accounts(struct service *s)
{
    uint64_t now = accounts_look(s->of_upstream);
    if (now == s->accounts)
        return;
    s->accounts = now; /* before they are read: what changes meanwhile is seen the next time */
    AUTO_BUF struct buf errors = BUF_INIT(MIB);
    int r = upstream_reload(s->upstream, s->of_upstream, &errors);
    log_lines(LOG_WARN, "credentials", &errors);
    if (r == 0)
        r = mirror_reload(s->mirror, s->of_mirror);
    if (r < 0)
        log_event(LOG_ERROR, "credentials", LOG_S("error", strerror(-r)));
    else
        log_event(LOG_NOTICE, "credentials", LOG_S("result", "have changed, or authorities have, and were read again"));
}

/* A changed configuration is somebody's doing, as what the admin API does is. */
static void audit_reload(const struct service *s, const siginfo_t *sender, bool done)
{
    char who[64];
    (void)snprintf(who, sizeof(who), "uid=%u pid=%d", sender->si_uid, (int)sender->si_pid);
    log_event(LOG_NOTICE, "audit", LOG_S("who", who), LOG_S("action", "reload"), LOG_S("what", s->file),
              LOG_S("result", done ? "done" : "failed"));
}

/* ------------------------------------------------------------------ start */

/* A connection and the file that it is sent, and what the floors have open themselves. */
static void raise_open_files(const struct config *c)
{
    struct rlimit limit;
    rlim_t kinds = (c->server.listen.count > 0) + (c->server.tls.listen.count > 0);
    rlim_t wanted = 2 * kinds * c->server.max_connections + 1024;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < wanted)
        log_event(LOG_WARN, "open_files", LOG_U("limit", limit.rlim_cur), LOG_U("wanted", wanted));
}

/* Content that has come without what goes with it must not be served. */
static int check_restored(struct blobstore *store, const char *path)
{
    int r = backup_restore_has_begun(store);
    if (r == 0)
        return 0;
    log_event(LOG_ERROR, "store", LOG_S("path", path),
              LOG_S("error", r < 0 ? strerror(-r) : "a restore has begun in it and has not ended: restore again"));
    return r < 0 ? r : -EBUSY;
}

static int open_store(struct service *s)
{
    const char *path = s->of_server->store.path;
    AUTO_BUF struct buf errors = BUF_INIT(16 * KIB);
    const struct blobstore_options options = {.root = path, .errors = &errors};
    struct blobstore_report report = {0};
    int64_t began = clock_monotonic_ms();
    int r = blobstore_open(&options, &s->store, &report);
    if (r < 0) {
        const char *why = errors.len ? errors.data : strerror(-r);
        log_event(LOG_ERROR, "store", LOG_S("path", path),
                  LOG_S("error", r == -EBUSY ? "another process is using this store" : why));
        return r;
    }
    log_event(report.rebuilt ? LOG_WARN : LOG_INFO, "store", LOG_S("path", path), LOG_U("blobs", report.blobs),
              LOG_U("bytes", report.bytes), LOG_S("last_stop", report.clean ? "clean" : "unclean"),
              LOG_S("rebuilt", report.rebuilt ? report.rebuilt_why : NULL), LOG_U("adopted", report.adopted),
              LOG_U("dropped", report.dropped), LOG_U("partials", report.partials),
              LOG_U("partial_bytes", report.partial_bytes), LOG_U("discarded", report.discarded),
              LOG_I("ms", clock_monotonic_ms() - began));
    return check_restored(s->store, path);
}

/* What a floor says of its start; without words of its own, what the error means. */
static int fail(const char *event, int r, const struct buf *words)
{
    log_event(LOG_ERROR, event, LOG_S("error", words && words->len ? words->data : strerror(-r)));
    return r;
}

static int start_admin(struct service *s, struct config *config)
{
    AUTO_BUF struct buf errors = BUF_INIT(MIB);
    const struct admin_options options = {
        .config = config, .store = s->store, .upstream = s->upstream, .mirror = s->mirror};
    int r = admin_create(&options, &s->admin);
    if (r == 0)
        r = admin_server_start(config, s->admin, s->guard, &s->admin_server, &errors);
    return r < 0 ? fail("admin", r, &errors) : 0;
}

static int start_floors(struct service *s)
{
    AUTO_BUF struct buf errors = BUF_INIT(MIB);
    struct config *config = s->of_server;
    int r = ops_start(config, &s->ops, &errors);
    if (r < 0)
        return fail("ops", r, &errors);
    r = open_store(s);
    if (r < 0)
        return r;
    buf_reset(&errors);
    s->accounts = accounts_look(config);
    r = upstream_start(config, &errors, &s->upstream);
    log_lines(LOG_WARN, "credentials", &errors);
    if (r < 0)
        return fail("upstream", r, NULL);
    const struct mirror_options options = {.config = config, .store = s->store, .upstream = s->upstream};
    r = mirror_start(&options, &s->mirror);
    if (r < 0)
        return fail("mirror", r, NULL);
    s->collected = (struct collected){.upstream = s->upstream, .mirror = s->mirror};
    collect_start(&s->collected);
    buf_reset(&errors);
    r = guard_create(config, &s->guard, &errors);
    if (r < 0)
        return fail("server", r, &errors);
    r = start_admin(s, config);
    if (r < 0)
        return r;
    buf_reset(&errors);
    r = server_start(config, s->mirror, s->guard, &s->server, &errors);
    if (r < 0)
        return fail("server", r, &errors);
    ops_enter(s->ops, OPS_SERVING);
    return 0;
}

static int start(struct service *s)
{
    struct config *config;
    int r = load(s->file, &config);
    if (r < 0)
        return r;
    s->of_server = s->of_upstream = s->of_mirror = s->of_admin = config;
    configure_log(config);
    r = log_start();
    if (r < 0)
        return fail("log", r, NULL);
    log_event(LOG_INFO, "start", LOG_S("version", ENTREPOT_VERSION), LOG_S("config", s->file),
              LOG_U("registries", config->registry_count), LOG_U("threads", config->server.threads));
    metrics_set(METRIC_BUILD_INFO, 1, LABELS(ENTREPOT_VERSION));
    metrics_set(METRIC_START_TIME, clock_real_ms() * 1000, NO_LABELS);
    raise_open_files(config);
    return start_floors(s);
}

/* ------------------------------------------------------------------ run and stop */

/* SIGTERM and SIGINT end it. They are blocked in every thread, and stay so: a second one does not disturb the stop. */
static void run(struct service *s, const sigset_t *signals)
{
    for (;;) {
        siginfo_t info;
        const struct timespec while_quiet = {.tv_sec = ACCOUNTS_EVERY_S};
        int sig = sigtimedwait(signals, &info, &while_quiet);
        if (sig < 0) {
            look_at_accounts(s);
        } else if (sig == SIGHUP) {
            audit_reload(s, &info, reload(s));
        } else if (sig == SIGTERM || sig == SIGINT) {
            log_event(LOG_INFO, "stopping", LOG_S("signal", sig == SIGTERM ? "SIGTERM" : "SIGINT"));
            return;
        }
    }
}

static void stop(struct service *s)
{
    ops_enter(s->ops, OPS_STOPPING);
    admin_server_stop(s->admin_server);
    admin_destroy(s->admin);
    server_stop(s->server);
    guard_destroy(s->guard);
    collect_stop();
    if (s->upstream)
        upstream_stop(s->upstream);
    mirror_stop(s->mirror);
    upstream_destroy(s->upstream);
    blobstore_close(s->store);
    ops_stop(s->ops);
    refer(s, &s->of_server, NULL);
    refer(s, &s->of_upstream, NULL);
    refer(s, &s->of_mirror, NULL);
    refer(s, &s->of_admin, NULL);
}

static int serve(const char *file)
{
    struct service s = {.file = file};
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before there are threads: all of them inherit it */
    (void)signal(SIGPIPE, SIG_IGN);

    int r = start(&s);
    if (r == 0)
        run(&s, &signals);
    int64_t began = clock_monotonic_ms();
    stop(&s);
    if (r == 0)
        log_event(LOG_INFO, "stopped", LOG_I("ms", clock_monotonic_ms() - began));
    log_stop();
    return r < 0 ? STATUS_FAILED : STATUS_OK;
}

int serve_command(const struct command *self, int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'}, {0}};
    const char *file = NULL;
    for (int o; (o = command_option(argc, argv, options)) != -1;) {
        if (o != 'c')
            return command_bad_option(self, o, argv);
        file = optarg;
    }
    if (optind < argc)
        return command_misused(self, "%s: the configuration is named by --config", argv[optind]);
    return serve(file);
}
