#include "cli/hosts_options.h"

#include "base/clock.h"
#include "base/limits.h"
#include "config/config.h"
#include "config/value.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PATHS_MAX (8 * KIB) /* a directory and a name */

static const char *const local[] = {"http://127.0.0.1:5000"};

void hosts_options_init(struct hosts_options *o)
{
    /* A lost SYN is sent again after a second. */
    *o = (struct hosts_options){
        .wish.dial_ms = 2 * CLOCK_SECOND, .ca_path = BUF_INIT(PATHS_MAX), .ca_text = BUF_INIT(LIMIT_CA_FILE)};
}

void hosts_options_finish(struct hosts_options *o)
{
    config_destroy(o->config);
    buf_finish(&o->ca_path);
    buf_finish(&o->ca_text);
}

static int add(const struct command *self, const char **list, size_t *count, size_t max, const char *what)
{
    if (*count == max)
        return command_misused(self, "at most %zu: %s", max, what);
    list[(*count)++] = what;
    return STATUS_OK;
}

int hosts_options_take(struct hosts_options *o, const struct command *self, int code, char **argv)
{
    switch (code) {
    case 1000:
        o->client = hosts_client_find(optarg);
        return o->client ? STATUS_OK : command_misused(self, "%s: not one of %s", optarg, hosts_client_names());
    case 1001:
        return add(self, o->mirrors, &o->wish.mirror_count, HOSTS_MIRRORS_MAX, optarg);
    case 1002:
        return add(self, o->registries, &o->wish.registry_count, HOSTS_REGISTRIES_MAX, optarg);
    case 1003:
        o->ca_file = optarg;
        return STATUS_OK;
    case 1004:
        if (value_parse_duration(optarg, &o->wish.dial_ms) == 0 && o->wish.dial_ms <= CLOCK_MINUTE)
            return STATUS_OK;
        return command_misused(self, "%s: a duration of at most 1m is expected, such as 2s or 500ms", optarg);
    case 1005:
        o->config_file = optarg;
        return STATUS_OK;
    case ':':
        return command_misused(self, "%s needs a value", argv[optind - 1]);
    default:
        return command_misused(self, "there is no option %s", argv[optind - 1]);
    }
}

static int read_config(struct hosts_options *o, const struct command *self)
{
    AUTO_BUF struct buf errors = BUF_INIT(MIB);
    int r = o->config_file ? config_load(o->config_file, &o->config, &errors) : config_default(&o->config);
    if (r < 0) {
        (void)fprintf(stderr, "entrepot %s: %s: %s\n%s", self->name, o->config_file ? o->config_file : "defaults",
                      strerror(-r), errors.len > 0 ? errors.data : "");
        return STATUS_FAILED;
    }
    for (size_t i = 0; i < o->config->registry_count; i++) {
        const char *name = o->config->registries[i].name;
        if (hosts_client_takes(o->client, name) &&
            add(self, o->registries, &o->wish.registry_count, HOSTS_REGISTRIES_MAX, name) != STATUS_OK)
            return STATUS_USAGE;
    }
    return STATUS_OK;
}

/* NULL, or what is wrong; `text` has it all then or is not to be used. */
static const char *read_authority(const char *file, struct buf *text)
{
    AUTO_CLOSE int fd = open(file, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : buf_read(text, fd);
    if (r < 0)
        return strerror(-r);
    return text->len > 0 && strstr(text->data, "-----BEGIN CERTIFICATE-----") ? NULL : "there is no certificate in it";
}

/* The same file from every working directory: the clients that are told its path have another. Links stay links. */
static int add_absolute(struct buf *b, const char *path)
{
    if (*path == '/')
        return buf_adds(b, path);
    AUTO_FREE char *here = getcwd(NULL, 0);
    return here ? buf_addf(b, "%s/%s", here, path) : -errno;
}

void hosts_options_reread(struct hosts_options *o)
{
    AUTO_BUF struct buf text = BUF_INIT(LIMIT_CA_FILE);
    if (!o->ca_file || read_authority(o->ca_file, &text))
        return;
    buf_finish(&o->ca_text);
    o->ca_text = text;
    o->wish.ca_text = text.data;
    text = BUF_INIT(0);
}

int hosts_options_done(struct hosts_options *o, const struct command *self)
{
    if (!o->client)
        return command_misused(self, "--for says which client is meant: %s", hosts_client_names());
    struct hosts_wish *w = &o->wish;
    w->mirrors = w->mirror_count > 0 ? o->mirrors : local;
    if (w->mirror_count == 0)
        w->mirror_count = ARRAY_SIZE(local);
    int status = w->registry_count > 0 ? STATUS_OK : read_config(o, self);
    w->registries = o->registries;
    if (status != STATUS_OK)
        return status;
    const char *what = o->ca_file, *wrong = what ? read_authority(what, &o->ca_text) : NULL;
    int r = what && !wrong ? add_absolute(&o->ca_path, what) : 0;
    if (r < 0)
        wrong = strerror(-r);
    if (wrong) {
        (void)fprintf(stderr, "entrepot %s: %s: %s\n", self->name, what, wrong);
        return STATUS_FAILED;
    }
    w->ca_path = o->ca_path.data;
    w->ca_text = o->ca_text.data;
    wrong = hosts_wish_check(o->client, w, &what);
    return wrong ? command_misused(self, "%s: %s", what, wrong) : STATUS_OK;
}
