#include "server/listener.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/unix_address.h"
#include "config/config.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#define SOCKETS_MAX 32
#define BACKLOG 1024
#define ACCEPTS_A_TURN 64
#define PAUSE_MS 100 /* after an accept() that failed for want of descriptors or memory */
#define COMPLAIN_EVERY (10 * CLOCK_SECOND)

#define ADDRESS_TEXT (NI_MAXHOST + 16)

struct listener {
    /* set at create and start */
    unsigned max_connections;
    listener_accept *accept;
    void *arg;
    int wakeup;                             /* eventfd: a connection was closed at the limit, or stop */
    struct pollfd sockets[SOCKETS_MAX + 1]; /* [0] is `wakeup` */
    char *paths[SOCKETS_MAX + 1];           /* of Unix sockets, else NULL */
    size_t count;
    pthread_t thread;
    bool running;
    int64_t complained_ms; /* owned by the thread */

    /* any thread */
    _Atomic unsigned open; /* handed over and not closed */
    _Atomic bool stopping;
};

static void format_address(const struct sockaddr *address, socklen_t len, char *text)
{
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getnameinfo(address, len, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        (void)snprintf(text, ADDRESS_TEXT, "?");
    else
        (void)snprintf(text, ADDRESS_TEXT, address->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static int open_socket(const struct addrinfo *a, int *ret_fd)
{
    const int on = 1;
    AUTO_CLOSE int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (a->ai_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
        bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* "host:port", "[v6]:port" or ":port", into its two strings. */
static bool split_address(const char *address, char *host, size_t host_cap, const char **ret_port)
{
    const char *colon = strrchr(address, ':');
    if (!colon)
        return false;
    const char *from = address, *to = colon;
    if (*from == '[') {
        if (to == from || to[-1] != ']')
            return false;
        from++;
        to--;
    }
    if ((size_t)(to - from) >= host_cap)
        return false;
    (void)snprintf(host, host_cap, "%.*s", (int)(to - from), from);
    *ret_port = colon + 1;
    return true;
}

static int say(struct buf *error, int r, const char *address, const char *why)
{
    return buf_addf(error, "cannot listen on %s: %s", address, why) < 0 ? -ENOMEM : r;
}

/* Somebody listens there: what a dead process left refuses. */
static bool is_answered(const struct sockaddr_un *address)
{
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno != ECONNREFUSED;
}

static int bind_unix(int fd, const struct sockaddr_un *address)
{
    struct stat st;
    if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
        return 0;
    if (errno != EADDRINUSE || lstat(address->sun_path, &st) < 0)
        return -errno;
    if (!S_ISSOCK(st.st_mode) || is_answered(address))
        return -EADDRINUSE;
    (void)unlink(address->sun_path);
    return bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
}

/* For its owner alone: nobody can connect before the listen(). */
static int open_unix(const char *path, int *ret_fd)
{
    AUTO(unix_address_finish) struct unix_address a = {.directory = -1};
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r = fd < 0 ? -errno : unix_address_init(path, &a);
    if (r == 0)
        r = bind_unix(fd, &a.address);
    if (r < 0)
        return r;
    if (chmod(a.address.sun_path, 0600) < 0 || listen(fd, BACKLOG) < 0) {
        r = -errno;
        (void)unlink(a.address.sun_path);
        return r;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static void add_socket(struct listener *l, int fd, char *path)
{
    l->sockets[++l->count] = (struct pollfd){.fd = fd, .events = POLLIN};
    l->paths[l->count] = path;
}

static int add_unix(struct listener *l, const char *address, struct buf *error)
{
    AUTO_FREE char *path = strdup(address + strlen(CONFIG_UNIX));
    int fd = -1;
    int r = !path ? -ENOMEM : l->count < SOCKETS_MAX ? open_unix(path, &fd) : -EMFILE;
    if (r < 0)
        return say(error, r, address, strerror(-r));
    add_socket(l, fd, TAKE_PTR(path));
    return 0;
}

static int add_address(struct listener *l, const char *address, struct buf *error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char host[NI_MAXHOST];
    const char *port;

    if (!split_address(address, host, sizeof(host), &port))
        return say(error, -EINVAL, address, "not an address of the form host:port");
    int r = getaddrinfo(*host ? host : NULL, port, &hints, &found);
    if (r != 0)
        return say(error, -EADDRNOTAVAIL, address, gai_strerror(r));
    for (const struct addrinfo *a = found; r == 0 && a; a = a->ai_next) {
        int fd = -1;
        r = l->count < SOCKETS_MAX ? open_socket(a, &fd) : -EMFILE;
        if (r == 0)
            add_socket(l, fd, NULL);
        else
            r = say(error, r, address, strerror(-r));
    }
    freeaddrinfo(found);
    return r;
}

int listener_create(char *const *addresses, unsigned max_connections, struct listener **ret_listener, struct buf *error)
{
    AUTO(auto_listener_destroy) struct listener *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->max_connections = max_connections;
    l->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wakeup < 0)
        return -errno;
    l->sockets[0] = (struct pollfd){.fd = l->wakeup, .events = POLLIN};
    for (; *addresses; addresses++) {
        bool is_unix = strncmp(*addresses, CONFIG_UNIX, strlen(CONFIG_UNIX)) == 0;
        int r = is_unix ? add_unix(l, *addresses, error) : add_address(l, *addresses, error);
        if (r < 0)
            return r;
    }
    *ret_listener = TAKE_PTR(l);
    return 0;
}

static void wake(struct listener *l)
{
    const uint64_t one = 1;
    (void)!write(l->wakeup, &one, sizeof(one)); /* EAGAIN: it is awake as it is */
}

static bool has_room(const struct listener *l)
{
    return l->open < l->max_connections;
}

/* A warning that a storm of connections would repeat without end. */
static void complain(struct listener *l, const char *why)
{
    int64_t now = clock_monotonic_ms();
    if (l->complained_ms != 0 && now - l->complained_ms < COMPLAIN_EVERY)
        return;
    l->complained_ms = now;
    log_event(LOG_WARN, "not-accepting", LOG_S("reason", why), LOG_U("open", l->open),
              LOG_U("max_connections", l->max_connections));
}

/* Accepts what waits at one socket; false when nothing can be accepted for a while. */
static bool accept_some(struct listener *l, int fd)
{
    for (unsigned i = 0; i < ACCEPTS_A_TURN && has_room(l); i++) {
        struct sockaddr_storage address;
        socklen_t len = sizeof(address);
        int connection = accept4(fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (connection >= 0) {
            l->open++;
            l->accept(l->arg, connection, (struct sockaddr *)&address, len);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            complain(l, strerror(errno));
            return false;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            break;
        }
    }
    return true;
}

static void *accept_thread(void *arg)
{
    struct listener *l = arg;
    bool pause = false;
    while (!l->stopping) {
        bool room = has_room(l), listening = room && !pause;
        if (!room)
            complain(l, "max_connections are open");
        int n = poll(l->sockets, listening ? l->count + 1 : 1, pause ? PAUSE_MS : -1);
        pause = false;
        if (n <= 0)
            continue;
        uint64_t count;
        if (l->sockets[0].revents)
            (void)!read(l->wakeup, &count, sizeof(count));
        for (size_t i = 1; listening && !pause && i <= l->count; i++)
            if (l->sockets[i].revents)
                pause = !accept_some(l, l->sockets[i].fd);
    }
    /* Whoever was let in by the kernel before the end is answered, not reset. */
    for (size_t i = 1; i <= l->count; i++)
        (void)accept_some(l, l->sockets[i].fd);
    return NULL;
}

static void log_socket(const struct listener *l, size_t i, const char *event)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    char text[ADDRESS_TEXT] = "?";
    if (l->paths[i]) {
        AUTO_BUF struct buf b = BUF_INIT(2 * PATH_MAX);
        if (buf_addf(&b, CONFIG_UNIX "%s", l->paths[i]) == 0)
            log_event(LOG_INFO, event, LOG_S("listen", b.data));
        return;
    }
    if (getsockname(l->sockets[i].fd, (struct sockaddr *)&address, &len) == 0)
        format_address((struct sockaddr *)&address, len, text);
    log_event(LOG_INFO, event, LOG_S("listen", text));
}

int listener_start(struct listener *l, const char *event, listener_accept *accept, void *arg)
{
    l->accept = accept;
    l->arg = arg;
    int r = pthread_create(&l->thread, NULL, accept_thread, l);
    if (r != 0)
        return -r;
    l->running = true;
    for (size_t i = 1; i <= l->count; i++)
        log_socket(l, i, event);
    return 0;
}

void listener_closed(struct listener *l)
{
    if (l->open-- >= l->max_connections)
        wake(l);
}

static void close_socket(struct listener *l, size_t i)
{
    AUTO(unix_address_finish) struct unix_address a = {.directory = -1};
    if (l->paths[i] && unix_address_init(l->paths[i], &a) == 0)
        (void)unlink(a.address.sun_path);
    free(TAKE_PTR(l->paths[i]));
    (void)close(l->sockets[i].fd);
}

void listener_stop(struct listener *l)
{
    if (l->running) {
        l->stopping = true;
        wake(l);
        (void)pthread_join(l->thread, NULL);
        l->running = false;
    }
    for (size_t i = 1; i <= l->count; i++)
        close_socket(l, i);
    l->count = 0;
}

void listener_destroy(struct listener *l)
{
    if (!l)
        return;
    listener_stop(l);
    if (l->wakeup >= 0)
        (void)close(l->wakeup);
    free(l);
}
