/* crowd: many clients of one URL at once, each of which compares every byte with a file.
 *
 *   crowd PORT COUNT PATH FILE [FIRST:LAST]
 *
 * All connections are made before the first request is sent. Prints "right N wrong N bytes N"; the exit status is 0
 * when every client had status 200 (206 with a range) and exactly the file's bytes. One thread, epoll. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct client {
    int fd;
    char head[8192];
    size_t head_len;
    int in_body;
    size_t at; /* offset in the file */
    const char *wrong;
};

static char buf[256 * 1024];

static int take_body(struct client *c, const char *data, size_t n, const char *file, size_t end)
{
    if (c->at + n > end) {
        c->wrong = "too many bytes";
        return -1;
    }
    if (memcmp(file + c->at, data, n) != 0) {
        c->wrong = "other bytes";
        return -1;
    }
    c->at += n;
    return c->at == end;
}

/* 1: done, -1: wrong, 0: go on */
static int client_read(struct client *c, const char *file, size_t end, const char *status)
{
    ssize_t n = recv(c->fd, buf, sizeof buf, 0);
    char *body;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        c->wrong = n < 0 ? "reset" : "short body";
        return -1;
    }
    if (c->in_body)
        return take_body(c, buf, (size_t)n, file, end);
    if (c->head_len + (size_t)n >= sizeof c->head && c->head_len > 4096) {
        c->wrong = "long head";
        return -1;
    }
    size_t keep = (size_t)n < sizeof c->head - 1 - c->head_len ? (size_t)n : sizeof c->head - 1 - c->head_len;
    memcpy(c->head + c->head_len, buf, keep);
    size_t before = c->head_len;
    c->head_len += keep;
    c->head[c->head_len] = 0;
    body = memmem(c->head, c->head_len, "\r\n\r\n", 4);
    if (!body)
        return 0;
    if (strncmp(c->head + 9, status, 3) != 0) {
        c->wrong = "status";
        return -1;
    }
    c->in_body = 1;
    size_t used = (size_t)(body + 4 - c->head) - before;
    if (used == (size_t)n)
        return 0;
    return take_body(c, buf + used, (size_t)n - used, file, end);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    int count = atoi(argv[2]);
    int fd = open(argv[4], O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return 2;
    char *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    size_t first = 0;
    size_t end = (size_t)st.st_size;
    char range[128] = "";
    if (argc > 5) {
        size_t last;
        if (sscanf(argv[5], "%zu:%zu", &first, &last) != 2)
            return 2;
        end = last + 1;
        snprintf(range, sizeof range, "Range: bytes=%zu-%zu\r\n", first, last);
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1]))};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    struct client *clients = calloc((size_t)count, sizeof *clients);
    int ep = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        clients[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        clients[i].at = first;
        if (connect(clients[i].fd, (struct sockaddr *)&to, sizeof to) < 0) {
            perror("connect");
            return 2;
        }
    }
    char request[4096];
    int len = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n", argv[3], range);
    for (int i = 0; i < count; i++) {
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &clients[i]};
        if (send(clients[i].fd, request, (size_t)len, 0) != len)
            return 2;
        epoll_ctl(ep, EPOLL_CTL_ADD, clients[i].fd, &ev);
    }
    int open_clients = count;
    int wrong = 0;
    size_t bytes = 0;
    while (open_clients) {
        struct epoll_event evs[64];
        int n = epoll_wait(ep, evs, 64, 120000);
        if (n <= 0) {
            fprintf(stderr, "nothing for 120 s, %d clients open\n", open_clients);
            break;
        }
        for (int i = 0; i < n; i++) {
            struct client *c = evs[i].data.ptr;
            int r = client_read(c, file, end, range[0] ? "206" : "200");
            if (!r)
                continue;
            if (r < 0) {
                fprintf(stderr, "client %d: %s at %zu: %.200s\n", (int)(c - clients), c->wrong, c->at, c->head);
                wrong++;
            }
            bytes += c->at - first;
            close(c->fd);
            open_clients--;
        }
    }
    wrong += open_clients;
    printf("right %d wrong %d bytes %zu\n", count - wrong, wrong, bytes);
    return wrong ? 1 : 0;
}
