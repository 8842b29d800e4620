/* `entrepot nodes`: what runs on every node of a cluster, beside the client whose files it keeps. */
#include "base/clock.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/hosts_options.h"
#include "cli/own_files.h"
#include "cli/probe.h"
#include "cli/watch.h"
#include "config/value.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct nodes {
    const struct command *command;
    struct hosts_options hosts;
    char service_url[512];
    const char *directory;
    int64_t every_ms, timeout_ms, gone_after_ms;
    bool keep, remove_only, check_only;

    struct probe *probe;
    const char *const *mirrors; /* all of them: the files name those that are not gone */
    size_t mirror_count;
    const char *present[HOSTS_MIRRORS_MAX];
    struct watch watches[HOSTS_MIRRORS_MAX];
    bool answers[HOSTS_MIRRORS_MAX];
    bool asked, answered; /* at all; and any of them the last time, for the log */
    unsigned foreign;     /* files that could not be written the last time; for the log */
    bool lost;            /* the directory is not there any more, and its path leads to no other */
};

static void nodes_finish(struct nodes *n)
{
    hosts_options_finish(&n->hosts);
    probe_destroy(n->probe);
}

/* ------------------------------------------------------------------ the files */

/* A directory that is mounted into a container stays mounted when it is removed on the node, as older k3s do at their
 * start: what is made in its place is seen by the next container only. */
static bool is_removed(int directory)
{
    struct stat st;
    return fstat(directory, &st) == 0 && st.st_nlink == 0;
}

static int open_directory(struct nodes *n)
{
    AUTO_CLOSE int fd = open(n->directory, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    const char *wrong = fd < 0 ? strerror(errno) : NULL;
    if (fd >= 0 && is_removed(fd)) {
        n->lost = true;
        wrong = "it was removed, and one in its place is seen after a restart only";
    }
    if (!wrong)
        return TAKE_FD(fd);
    log_event(LOG_ERROR, "nodes", LOG_S("path", n->directory), LOG_S("error", wrong));
    return -1;
}

static int remove_files(struct nodes *n, const struct hosts_files *keep, const char *why)
{
    AUTO_CLOSE int fd = open_directory(n);
    if (fd < 0)
        return -EIO;
    int removed = own_files_remove(fd, keep);
    if (removed > 0)
        log_event(LOG_INFO, "nodes", LOG_S("action", "removed"), LOG_I("files", removed), LOG_S("why", why));
    else if (removed < 0)
        log_event(LOG_ERROR, "nodes", LOG_S("action", "remove"), LOG_S("error", strerror(-removed)));
    return removed < 0 ? removed : 0;
}

static void write_files(struct nodes *n)
{
    AUTO_HOSTS_FILES struct hosts_files files = {0};
    /* An authority's certificate is renewed now and then; where it cannot be read just now, the old one stays. */
    hosts_options_reread(&n->hosts);
    int r = hosts_files_make(n->hosts.client, &n->hosts.wish, &files);
    if (r < 0) {
        log_event(LOG_ERROR, "nodes", LOG_S("action", "write"), LOG_S("error", strerror(-r)));
        return;
    }
    AUTO_CLOSE int fd = open_directory(n);
    if (fd < 0)
        return;
    unsigned written = 0, foreign = 0;
    for (size_t i = 0; i < files.count; i++) {
        r = own_file_write(fd, files.items[i].path, files.items[i].text);
        written += r > 0;
        if (r >= 0 || ++foreign <= n->foreign)
            continue;
        log_event(LOG_WARN, "nodes", LOG_S("path", files.items[i].path),
                  LOG_S("error", r == -EEXIST ? "is somebody else's, and stays as it is" : strerror(-r)));
    }
    n->foreign = foreign;
    if (written > 0)
        log_event(LOG_INFO, "nodes", LOG_S("action", "written"), LOG_U("files", written));
    (void)remove_files(n, &files, "not mirrored any more");
}

/* ------------------------------------------------------------------ the watch */

/* Whether one of them answers. */
static bool ask(struct nodes *n)
{
    const char *why = NULL;
    bool answered = false;
    for (size_t i = 0; i < n->mirror_count; i++) {
        why = probe_ask(n->probe, n->mirrors[i]);
        n->answers[i] = !why;
        answered |= n->answers[i];
    }
    if (!n->asked || answered != n->answered)
        log_event(answered ? LOG_INFO : LOG_WARN, "nodes", LOG_S("mirror", answered ? "answers" : "silent"),
                  LOG_S("why", answered ? NULL : why));
    n->asked = true;
    n->answered = answered;
    return answered;
}

/* One that answers is enough: clients pass over others that refuse or are not there. For one that takes a connection
 * and says nothing they wait, so that it is named no more once it is gone. */
static void step(struct nodes *n)
{
    bool answered = ask(n), removed = false;
    int64_t now_ms = clock_monotonic_ms();
    size_t present = 0;
    for (size_t i = 0; i < n->mirror_count; i++) {
        if (watch_asked(&n->watches[i], n->answers[i], now_ms) == WATCH_REMOVE) {
            removed = true;
            if (answered)
                log_event(LOG_WARN, "nodes", LOG_S("action", "left out"), LOG_S("mirror", n->mirrors[i]));
        }
        if (!n->watches[i].gone)
            n->present[present++] = n->mirrors[i];
    }
    n->hosts.wish.mirrors = n->present;
    n->hosts.wish.mirror_count = present;
    if (answered)
        write_files(n);
    else if (removed && present == 0)
        (void)remove_files(n, NULL, "the mirror is gone");
}

static int run(struct nodes *n)
{
    sigset_t wanted;
    (void)sigemptyset(&wanted);
    (void)sigaddset(&wanted, SIGTERM);
    (void)sigaddset(&wanted, SIGINT);
    (void)sigaddset(&wanted, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &wanted, NULL);
    const struct timespec pause = {.tv_sec = n->every_ms / 1000, .tv_nsec = n->every_ms % 1000 * 1000000};

    log_event(LOG_INFO, "nodes", LOG_S("action", "watch"), LOG_S("mirror", n->mirrors[0]), LOG_S("path", n->directory));
    for (size_t i = 0; i < n->mirror_count; i++)
        watch_begin(&n->watches[i], n->gone_after_ms, clock_monotonic_ms());
    for (;;) {
        step(n);
        if (n->lost)
            return STATUS_FAILED;
        int number = sigtimedwait(&wanted, NULL, &pause);
        if (number == SIGTERM || number == SIGINT)
            break;
    }
    return n->keep || remove_files(n, NULL, "stopped") == 0 ? STATUS_OK : STATUS_FAILED;
}

/* ------------------------------------------------------------------ the command line */

/* What Kubernetes tells each container of the services of its namespace: "my-mirror" is MY_MIRROR_SERVICE_HOST. */
static const char *service_variable(const char *service, const char *what)
{
    char name[256];
    (void)snprintf(name, sizeof(name), "%s_SERVICE_%s", service, what);
    for (char *c = name; *c; c++)
        *c = *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
    return getenv(name);
}

/* A node knows addresses, and not the names of the cluster. */
static int take_service(struct nodes *n, const char *name)
{
    const char *host = service_variable(name, "HOST"), *port = service_variable(name, "PORT");
    if (!host || !port) {
        (void)fprintf(stderr, "entrepot %s: the environment does not know the service %s (yet)\n", n->command->name,
                      name);
        return STATUS_FAILED;
    }
    bool v6 = strchr(host, ':');
    (void)snprintf(n->service_url, sizeof(n->service_url), "http://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "",
                   port);
    n->hosts.mirrors[0] = n->service_url;
    n->hosts.wish.mirror_count = 1;
    return STATUS_OK;
}

static int take_duration(const struct nodes *n, int64_t *ret_ms)
{
    int64_t ms;
    if (value_parse_duration(optarg, &ms) < 0 || ms <= 0)
        return command_misused(n->command, "%s: a duration is expected, such as 10s or 5m", optarg);
    *ret_ms = ms;
    return STATUS_OK;
}

static int read_options(struct nodes *n, int argc, char **argv)
{
    static const struct option options[] = {HOSTS_OPTIONS,
                                            {"write", required_argument, NULL, 'w'},
                                            {"service", required_argument, NULL, 's'},
                                            {"every", required_argument, NULL, 'e'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"gone-after", required_argument, NULL, 'g'},
                                            {"check", no_argument, NULL, 'c'},
                                            {"keep", no_argument, NULL, 'k'},
                                            {"remove", no_argument, NULL, 'r'},
                                            {NULL}};
    const char *service = NULL;
    int status = STATUS_OK;
    for (int code; status == STATUS_OK && (code = command_option(argc, argv, options)) != -1;) {
        switch (code) {
        case 'w':
            n->directory = optarg;
            break;
        case 's':
            service = optarg;
            break;
        case 'e':
            status = take_duration(n, &n->every_ms);
            break;
        case 't':
            status = take_duration(n, &n->timeout_ms);
            break;
        case 'g':
            status = take_duration(n, &n->gone_after_ms);
            break;
        case 'c':
            n->check_only = true;
            break;
        case 'k':
            n->keep = true;
            break;
        case 'r':
            n->remove_only = true;
            break;
        default:
            status = hosts_options_take(&n->hosts, n->command, code, argv);
        }
    }
    if (status != STATUS_OK)
        return status;
    if (optind < argc)
        return command_misused(n->command, "%s: everything here is said by options", argv[optind]);
    if (service && n->hosts.wish.mirror_count > 0)
        return command_misused(n->command, "--service and --mirror say the same: one of them");
    if (service)
        status = take_service(n, service);
    if (status == STATUS_OK)
        status = hosts_options_done(&n->hosts, n->command);
    if (status == STATUS_OK && !hosts_client_rereads(n->hosts.client))
        return command_misused(n->command, "that client reads its files when it starts only; see entrepot hosts");
    if (status == STATUS_OK && !n->directory)
        n->directory = hosts_client_directory(n->hosts.client);
    return status;
}

int nodes_command(const struct command *self, int argc, char **argv)
{
    AUTO(nodes_finish)
    struct nodes n = {
        .command = self,
        .every_ms = 10 * CLOCK_SECOND,
        .timeout_ms = 3 * CLOCK_SECOND,
        .gone_after_ms = 10 * CLOCK_MINUTE,
    };
    hosts_options_init(&n.hosts);
    int status = read_options(&n, argc, argv);
    if (status != STATUS_OK)
        return status;
    n.mirrors = n.hosts.wish.mirrors;
    n.mirror_count = n.hosts.wish.mirror_count;
    log_configure(LOG_INFO, LOG_TEXT);
    if (n.remove_only)
        return remove_files(&n, NULL, "asked for") == 0 ? STATUS_OK : STATUS_FAILED;
    int r = probe_create(n.hosts.ca_file, n.timeout_ms, &n.probe);
    if (r < 0) {
        (void)fprintf(stderr, "entrepot %s: %s\n", self->name, strerror(-r));
        return STATUS_FAILED;
    }
    if (n.check_only)
        return ask(&n) ? STATUS_OK : STATUS_FAILED;
    return run(&n);
}
