/*
 * What the clients of the field read to know of the mirror: the files for each, as text. Every file that may have a
 * comment begins with HOSTS_MARK, so that it is known later as ours (own_files.h). Pure; any thread.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOSTS_MARK "# Written by entrepot"
/* The registry that stands for all that have no file of their own. */
#define HOSTS_DEFAULT "_default"

struct hosts_client; /* one of the clients that there are */

struct hosts_file {
    char *path; /* within the client's directory */
    char *text;
};

struct hosts_files {
    struct hosts_file *items;
    size_t count;
};

struct hosts_wish {
    const char *const *mirrors; /* URLs, asked in this order; at least one */
    size_t mirror_count;
    const char *const *registries; /* names as they stand in image names, or HOSTS_DEFAULT */
    size_t registry_count;
    const char *ca_path; /* of the authority that signed the mirror's certificate, or NULL */
    const char *ca_text; /* its PEM; NULL where ca_path is */
    int64_t dial_ms;     /* how long to wait for a connection, where the client can be told */
};

/* "containerd", "crio", …; NULL where there is none of that name. */
const struct hosts_client *hosts_client_find(const char *name);
/* All names, for messages: "containerd, crio, …". */
const char *hosts_client_names(void);
/* Where the client looks: "/etc/containerd/certs.d". */
const char *hosts_client_directory(const struct hosts_client *c);
/* Whether it may be told of this registry; Docker knows mirrors of docker.io only. */
bool hosts_client_takes(const struct hosts_client *c, const char *registry);
/* Whether it heeds its files without a restart, be it at a reload. */
bool hosts_client_rereads(const struct hosts_client *c);
/* The URLs and names go into files that others parse. NULL, or what is wrong, in words, with the URL or name. */
const char *hosts_wish_check(const struct hosts_client *c, const struct hosts_wish *w, const char **ret_what);

/* The files for a wish that was checked. -ENOMEM, -EFBIG. */
MUST_CHECK int hosts_files_make(const struct hosts_client *c, const struct hosts_wish *w,
                                struct hosts_files *ret_files);
void hosts_files_finish(struct hosts_files *f);

static inline void auto_hosts_files_finish(struct hosts_files *f)
{
    hosts_files_finish(f);
}
#define AUTO_HOSTS_FILES AUTO(auto_hosts_files_finish)
