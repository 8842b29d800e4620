#include "backup/backup.h"
#include "base/limits.h"
#include "base/plural.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/meter.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

struct taking {
    const struct command *command;
    int fd;
    uint64_t bytes;
    struct meter meter;
};

/* ------------------------------------------------------------------ what comes */

static bool take(void *arg, const void *data, size_t len)
{
    struct taking *t = arg;
    for (size_t done = 0; done < len;) {
        ssize_t n = write(t->fd, (const char *)data + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            meter_end(&t->meter);
            (void)client_failed(t->command, "cannot write: %s", strerror(errno));
            return false;
        }
        done += (size_t)n;
    }
    t->bytes += len;
    meter_show(&t->meter, t->bytes, 0);
    return true;
}

static int fetch(struct taking *t, struct client *client, const char *target)
{
    meter_begin(&t->meter);
    int r = client_stream(client, "GET", target, NULL, take, t);
    meter_end(&t->meter);
    return r;
}

/* What the server knows of what it has sent, and that we have kept it. */
static int confirm(const struct taking *t, struct client *client, const char *file, bool as_json)
{
    AUTO_JSON json_t *answer = NULL;
    char body[64], size[HUMAN_TEXT], blobs[HUMAN_TEXT], lost[HUMAN_TEXT];
    json_int_t n, missing, damaged;
    const char *id;
    (void)snprintf(body, sizeof(body), "{\"bytes\": %llu}", (unsigned long long)t->bytes);
    int r = client_call(client, "POST", "/v1/backup", body, &answer);
    if (r != STATUS_OK || as_json)
        return r != STATUS_OK ? r : client_print_json(answer);
    if (json_unpack(answer, "{s:s, s:I, s:I, s:I}", "id", &id, "blobs", &n, "missing", &missing, "damaged", &damaged) <
        0)
        return client_failed(t->command, "the server's answer has another form");
    FILE *out = t->fd == STDOUT_FILENO ? stderr : stdout;
    (void)fprintf(out, "%s: %s, %s %s, backup %s\n", file, human_size(t->bytes, size), human_count((uint64_t)n, blobs),
                  plural((uint64_t)n, "blob", "blobs"), id);
    if (missing > 0)
        (void)fprintf(out, "  %s %s not in it\n", human_count((uint64_t)missing, lost),
                      plural((uint64_t)missing, "blob left the store meanwhile and is",
                             "blobs left the store meanwhile and are"));
    if (damaged > 0)
        (void)fprintf(out, "  %s %s of no use\n", human_count((uint64_t)damaged, lost),
                      plural((uint64_t)damaged, "blob had rotted in the store, and is",
                             "blobs had rotted in the store, and are"));
    return damaged > 0 ? STATUS_WANTING : command_printed();
}

/* ------------------------------------------------------------------ the file */

/* Nobody else is writing it. */
static int open_partial(const struct command *self, const char *partial, int *ret_fd)
{
    AUTO_CLOSE int fd = open(partial, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || ftruncate(fd, 0) < 0)
        return client_failed(self, "%s: %s", partial,
                             errno == EWOULDBLOCK ? "another backup is being written to it" : strerror(errno));
    *ret_fd = TAKE_FD(fd);
    return STATUS_OK;
}

static int sync_directory(const char *file)
{
    AUTO_FREE char *copy = strdup(file);
    AUTO_CLOSE int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    return fd < 0 || fsync(fd) < 0 ? -1 : 0;
}

/* It is whole and durable, and fits its base: it gets its name. */
static int keep_file(const struct taking *t, const char *partial, const char *file, const char *since)
{
    AUTO_BUF struct buf problems = BUF_INIT(MIB);
    if (fsync(t->fd) < 0)
        return client_failed(t->command, "%s: %s", partial, strerror(errno));
    if (since && backup_fits(partial, since, &problems) < 0) {
        client_problems(t->command, &problems);
        return STATUS_FAILED;
    }
    if (rename(partial, file) < 0 || sync_directory(file) < 0)
        return client_failed(t->command, "%s: %s", file, strerror(errno));
    return STATUS_OK;
}

static int to_file(struct taking *t, struct client *client, const char *target, const char *file, const char *since)
{
    AUTO_BUF struct buf partial = BUF_INIT(16 * KIB);
    if (buf_addf(&partial, "%s.partial", file) < 0)
        return client_failed(t->command, "%s: %s", file, strerror(ENAMETOOLONG));
    int r = open_partial(t->command, partial.data, &t->fd);
    if (r != STATUS_OK)
        return r;
    r = fetch(t, client, target);
    if (r == STATUS_OK)
        r = keep_file(t, partial.data, file, since);
    if (r != STATUS_OK)
        (void)unlink(partial.data);
    (void)close(t->fd);
    return r;
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* ------------------------------------------------------------------ the command */

static int make_target(const struct command *self, const char *since, bool is_metadata, struct buf *target)
{
    AUTO_BUF struct buf problems = BUF_INIT(MIB);
    struct backup_header base;
    if (!since)
        return buf_addf(target, "/v1/backup%s", is_metadata ? "?metadata=1" : "") < 0 ? STATUS_FAILED : STATUS_OK;
    if (backup_read_header(since, &base, &problems) < 0) {
        client_problems(self, &problems);
        return STATUS_FAILED;
    }
    if (base.is_metadata)
        return client_failed(self, "%s: has no contents, so nothing can be left out since", since);
    return buf_addf(target, "/v1/backup?since=%s&at=%lld", base.id, (long long)base.created_at) < 0 ? STATUS_FAILED
                                                                                                    : STATUS_OK;
}

int backup_command(const struct command *self, int argc, char **argv)
{
    static const struct option options[] = {
        {"since", required_argument, NULL, 's'}, {"metadata", no_argument, NULL, 'm'}, CLIENT_OPTIONS, {0}};
    struct client_options client_options = {0};
    AUTO(auto_client_close) struct client *client = NULL;
    AUTO_BUF struct buf target = BUF_INIT(4 * KIB);
    struct taking t = {.command = self, .fd = STDOUT_FILENO};
    const char *since = NULL;
    bool is_metadata = false;
    for (int o; (o = command_option(argc, argv, options)) != -1;)
        if (o == 's')
            since = optarg;
        else if (o == 'm')
            is_metadata = true;
        else if (!client_take_option(&client_options, o, optarg))
            return command_bad_option(self, o, argv);
    if (optind + 1 != argc)
        return command_misused(self, optind == argc ? "where to is missing" : "one file at a time");
    const char *file = argv[optind];
    bool to_stdout = strcmp(file, "-") == 0;
    if (since && is_metadata)
        return command_misused(self, "--since and --metadata do not go together");
    if (since && to_stdout)
        return command_misused(self, "--since needs a file to write to, which is held against the other");
    if (since && is_same_file(since, file))
        return command_misused(self, "%s would take the place of its own base", file);
    if (to_stdout && isatty(STDOUT_FILENO))
        return command_misused(self, "a terminal is no place for a backup");
    int r = make_target(self, since, is_metadata, &target);
    if (r == STATUS_OK)
        r = client_open(self, &client_options, &client);
    if (r == STATUS_OK)
        r = to_stdout ? fetch(&t, client, target.data) : to_file(&t, client, target.data, file, since);
    return r == STATUS_OK ? confirm(&t, client, file, client_options.json && !to_stdout) : r;
}
