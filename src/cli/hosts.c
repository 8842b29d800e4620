#include "cli/hosts.h"

#include "base/buf.h"
#include "base/limits.h"
#include "config/address.h"
#include "config/value.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define FILE_MAX (1 * MIB)
#define AUTHORITY_FILE "entrepot-ca.crt"

typedef int(make_files)(const struct hosts_wish *w, struct hosts_files *files);

struct hosts_client {
    const char *name;
    const char *directory;
    bool takes_all; /* HOSTS_DEFAULT */
    bool docker_only;
    bool rereads;
    make_files *make;
};

/* ------------------------------------------------------------------ a URL's parts */

static bool is_plain(const char *mirror)
{
    return strncasecmp(mirror, "http://", strlen("http://")) == 0;
}

/* "mirror:5000" or "mirror:5000/path" */
static const char *location(const char *mirror)
{
    return strstr(mirror, "://") + strlen("://");
}

static size_t location_len(const char *mirror)
{
    size_t len = strlen(location(mirror));
    while (len > 0 && location(mirror)[len - 1] == '/')
        len--;
    return len;
}

static size_t host_len(const char *mirror)
{
    return strcspn(location(mirror), "/");
}

/* ------------------------------------------------------------------ files */

/* Takes over the bytes of `text`. The path is at most that of a registry's or mirror's name, which are bounded. */
static int add_file(struct hosts_files *files, struct buf *text, const char *fmt, ...) PRINTF_LIKE(3, 4);

static int add_file(struct hosts_files *files, struct buf *text, const char *fmt, ...)
{
    AUTO_BUF struct buf path = BUF_INIT(4 * KIB);
    va_list ap;
    va_start(ap, fmt);
    int r = buf_vaddf(&path, fmt, ap);
    va_end(ap);
    if (r < 0)
        return r;
    struct hosts_file *items = realloc(files->items, (files->count + 1) * sizeof(*items));
    if (!items)
        return -ENOMEM;
    files->items = items;
    items[files->count++] = (struct hosts_file){.path = buf_take(&path), .text = buf_take(text)};
    return items[files->count - 1].path && items[files->count - 1].text ? 0 : -ENOMEM;
}

static int add_mark(struct buf *b, const char *what)
{
    return buf_addf(b, HOSTS_MARK "; what is changed here is lost.%s%s\n", *what ? " " : "", what);
}

/* A PEM reader passes over what stands before the certificates. */
static int add_authority(const struct hosts_wish *w, struct hosts_files *files, const char *directory, size_t len,
                         const char *name)
{
    AUTO_BUF struct buf b = BUF_INIT(LIMIT_CA_FILE + KIB);
    int r = add_mark(&b, "");
    if (r == 0)
        r = buf_adds(&b, w->ca_text);
    return r < 0 ? r : add_file(files, &b, "%.*s/%s", (int)len, directory, name);
}

/* Docker, podman and CRI-O look for authorities by the mirror's name. */
static int add_authorities_by_host(const struct hosts_wish *w, struct hosts_files *files)
{
    for (size_t i = 0; w->ca_text && i < w->mirror_count; i++) {
        AUTO_BUF struct buf directory = BUF_INIT(KIB);
        int r = buf_addf(&directory, "certs.d/%.*s", (int)host_len(w->mirrors[i]), location(w->mirrors[i]));
        if (r == 0 && !is_plain(w->mirrors[i]))
            r = add_authority(w, files, directory.data, directory.len, "ca.crt");
        if (r < 0)
            return r;
    }
    return 0;
}

/* ------------------------------------------------------------------ containerd */

/* Older than 2.1 passes over it. */
static int add_dial_timeout(struct buf *b, int64_t ms)
{
    int r = buf_adds(b, "  dial_timeout = \"");
    if (r == 0)
        r = value_add_duration(b, (uint64_t)ms);
    return r < 0 ? r : buf_adds(b, "\"\n");
}

/* Without `server` the registry itself is asked last, as if there were no file. `referrers` is not among the
 * capabilities: containerd before 2.2 gives up the whole file for it, silently (protocol.md §0, §4.1). */
static int containerd_file(const struct hosts_wish *w, struct buf *b)
{
    int r = add_mark(b, "The registry itself is asked where no mirror has it.");
    for (size_t i = 0; r == 0 && i < w->mirror_count; i++) {
        r = buf_addf(b, "[host.\"%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", w->mirrors[i]);
        if (r == 0 && w->dial_ms > 0)
            r = add_dial_timeout(b, w->dial_ms);
        if (r == 0 && w->ca_text && !is_plain(w->mirrors[i]))
            r = buf_adds(b, "  ca = \"" AUTHORITY_FILE "\"\n");
    }
    return r;
}

static int containerd_files(const struct hosts_wish *w, struct hosts_files *files)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < w->registry_count; i++) {
        const char *name = w->registries[i];
        if (w->ca_text)
            r = add_authority(w, files, name, strlen(name), AUTHORITY_FILE);
        AUTO_BUF struct buf b = BUF_INIT(FILE_MAX);
        if (r == 0)
            r = containerd_file(w, &b);
        if (r == 0)
            r = add_file(files, &b, "%s/hosts.toml", name);
    }
    return r;
}

/* ------------------------------------------------------------------ podman, CRI-O, skopeo, buildah */

/* They do not say which registry they mean: it is a part of the mirror's path. */
static int containers_files(const struct hosts_wish *w, struct hosts_files *files)
{
    AUTO_BUF struct buf b = BUF_INIT(FILE_MAX);
    int r = add_mark(&b, "The registry itself is asked where no mirror has it.");
    for (size_t i = 0; r == 0 && i < w->registry_count; i++) {
        r = buf_addf(&b, "\n[[registry]]\nlocation = \"%s\"\n", w->registries[i]);
        for (size_t m = 0; r == 0 && m < w->mirror_count; m++) {
            const char *mirror = w->mirrors[m];
            r = buf_addf(&b, "[[registry.mirror]]\nlocation = \"%.*s/%s\"\n%s", (int)location_len(mirror),
                         location(mirror), w->registries[i], is_plain(mirror) ? "insecure = true\n" : "");
        }
    }
    if (r == 0)
        r = add_authorities_by_host(w, files);
    return r < 0 ? r : add_file(files, &b, "registries.conf.d/50-entrepot.conf");
}

/* ------------------------------------------------------------------ Docker */

static int docker_files(const struct hosts_wish *w, struct hosts_files *files)
{
    AUTO_BUF struct buf b = BUF_INIT(FILE_MAX);
    int r = buf_adds(&b, "{\n  \"registry-mirrors\": [");
    for (size_t i = 0; r == 0 && i < w->mirror_count; i++) {
        r = buf_adds(&b, i > 0 ? ", " : "");
        if (r == 0)
            r = buf_add_json(&b, w->mirrors[i]);
    }
    if (r == 0)
        r = buf_adds(&b, "]\n}\n");
    if (r == 0)
        r = add_authorities_by_host(w, files);
    return r < 0 ? r : add_file(files, &b, "daemon.json");
}

/* ------------------------------------------------------------------ k3s and RKE2 */

static int k3s_files(const struct hosts_wish *w, struct hosts_files *files)
{
    AUTO_BUF struct buf b = BUF_INIT(FILE_MAX);
    int r = add_mark(&b, "Read when k3s or RKE2 starts.");
    if (r == 0)
        r = buf_adds(&b, "mirrors:\n");
    for (size_t i = 0; r == 0 && i < w->registry_count; i++) {
        bool all = strcmp(w->registries[i], HOSTS_DEFAULT) == 0;
        r = buf_addf(&b, "  \"%s\":\n    endpoint:\n", all ? "*" : w->registries[i]);
        for (size_t m = 0; r == 0 && m < w->mirror_count; m++)
            r = buf_addf(&b, "      - \"%s\"\n", w->mirrors[m]);
    }
    bool head = false;
    for (size_t m = 0; r == 0 && w->ca_path && m < w->mirror_count; m++) {
        const char *mirror = w->mirrors[m];
        if (is_plain(mirror))
            continue;
        r = buf_addf(&b, "%s  \"%.*s\":\n    tls:\n      ca_file: ", head ? "" : "configs:\n", (int)host_len(mirror),
                     location(mirror));
        if (r == 0)
            r = buf_add_json(&b, w->ca_path);
        if (r == 0)
            r = buf_adds(&b, "\n");
        head = true;
    }
    return r < 0 ? r : add_file(files, &b, "registries.yaml");
}

/* ------------------------------------------------------------------ BuildKit */

static int buildkit_files(const struct hosts_wish *w, struct hosts_files *files)
{
    AUTO_BUF struct buf b = BUF_INIT(FILE_MAX);
    int r = add_mark(&b, "");
    for (size_t i = 0; r == 0 && i < w->registry_count; i++) {
        r = buf_addf(&b, "\n[registry.\"%s\"]\n  mirrors = [", w->registries[i]);
        for (size_t m = 0; r == 0 && m < w->mirror_count; m++)
            r = buf_addf(&b, "%s\"%.*s\"", m > 0 ? ", " : "", (int)location_len(w->mirrors[m]),
                         location(w->mirrors[m]));
        if (r == 0)
            r = buf_adds(&b, "]\n");
    }
    /* Of a local address it takes for granted that it is plain. */
    for (size_t m = 0; r == 0 && m < w->mirror_count; m++) {
        const char *mirror = w->mirrors[m];
        bool plain = is_plain(mirror);
        r = buf_addf(&b, "\n[registry.\"%.*s\"]\n  http = %s\n", (int)host_len(mirror), location(mirror),
                     plain ? "true" : "false");
        if (plain || !w->ca_path)
            continue;
        if (r == 0)
            r = buf_adds(&b, "  ca = [");
        if (r == 0)
            r = buf_add_json(&b, w->ca_path);
        if (r == 0)
            r = buf_adds(&b, "]\n");
    }
    return r < 0 ? r : add_file(files, &b, "buildkitd.toml");
}

/* ------------------------------------------------------------------ which there are */

static const struct hosts_client clients[] = {
    {"containerd", "/etc/containerd/certs.d", true, false, true, containerd_files},
    {"crio", "/etc/containers", false, false, true, containers_files},
    {"docker", "/etc/docker", false, true, false, docker_files},
    {"podman", "/etc/containers", false, false, true, containers_files},
    {"k3s", "/etc/rancher/k3s", true, false, false, k3s_files},
    {"buildkit", "/etc/buildkit", false, false, false, buildkit_files},
};

const struct hosts_client *hosts_client_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
        if (strcmp(clients[i].name, name) == 0)
            return &clients[i];
    return NULL;
}

const char *hosts_client_names(void)
{
    return "containerd, crio, docker, podman, k3s, buildkit";
}

const char *hosts_client_directory(const struct hosts_client *c)
{
    return c->directory;
}

bool hosts_client_takes(const struct hosts_client *c, const char *registry)
{
    if (strcmp(registry, HOSTS_DEFAULT) == 0)
        return c->takes_all;
    return !c->docker_only || strcmp(registry, "docker.io") == 0;
}

bool hosts_client_rereads(const struct hosts_client *c)
{
    return c->rereads;
}

static bool is_named_twice(const char *const *names, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(names[k], names[i]) == 0)
            return true;
    return false;
}

const char *hosts_wish_check(const struct hosts_client *c, const struct hosts_wish *w, const char **ret_what)
{
    for (size_t i = 0; i < w->mirror_count; i++) {
        const char *wrong = address_check_url(*ret_what = w->mirrors[i]);
        if (wrong)
            return wrong;
        if (is_named_twice(w->mirrors, i))
            return "is named twice";
    }
    for (size_t i = 0; i < w->registry_count; i++) {
        const char *name = *ret_what = w->registries[i];
        const char *wrong = strcmp(name, HOSTS_DEFAULT) == 0 ? NULL : address_check_host(name);
        if (wrong)
            return wrong;
        if (is_named_twice(w->registries, i))
            return "is named twice";
        if (!hosts_client_takes(c, name))
            return c->docker_only ? "Docker has mirrors of docker.io only" : "this client must be told each registry";
    }
    return NULL;
}

int hosts_files_make(const struct hosts_client *c, const struct hosts_wish *w, struct hosts_files *ret_files)
{
    AUTO_HOSTS_FILES struct hosts_files files = {0};
    int r = c->make(w, &files);
    if (r < 0)
        return r;
    *ret_files = files;
    files = (struct hosts_files){0};
    return 0;
}

void hosts_files_finish(struct hosts_files *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free(f->items[i].path);
        free(f->items[i].text);
    }
    free(f->items);
    *f = (struct hosts_files){0};
}
