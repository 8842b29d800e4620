/*
 * Reads a manifest or index: its media type, what it refers to, what it is about. Only the references are looked at;
 * every other byte is opaque. Pure; any thread. OCI image-spec, manifest.md and image-index.md; Docker image manifest
 * v2 schema 2. jansson refuses duplicate keys, bad UTF-8 and trailing rubbish.
 */
#pragma once

#include "base/digest.h"
#include "base/platform.h"

#include <stddef.h>
#include <stdint.h>

/* The longest media type (RFC 6838 §4.2: two names of 127 characters). */
#define MEDIA_TYPE_MAX 256
/* More references than this make a manifest unreadable: none of the field has a hundredth of it. */
#define MANIFEST_CHILDREN_MAX 100000

#define MEDIA_TYPE_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define MEDIA_TYPE_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_TYPE_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define MEDIA_TYPE_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIA_TYPE_JSON "application/json"

struct manifest_child {
    struct digest digest;
    uint64_t size;            /* bytes, as the descriptor has it */
    bool is_manifest;         /* of an index's manifests[]; otherwise config, layers[] or blobs[] */
    bool is_config;           /* the config */
    bool is_elsewhere;        /* has URLs of its own (foreign, non-distributable): the registry need not have it */
    struct platform platform; /* of an index's manifests[], as its descriptor has it; or all "" */
};

struct manifest {
    char media_type[MEDIA_TYPE_MAX]; /* as it says itself, or what its form means */
    struct manifest_child *children;
    size_t child_count;
};

/*
 * -EINVAL: no manifest (not JSON, no object, none of its members). -ENOTSUP: Docker's schema 1, whose digest is not
 * that of its bytes. -EFBIG, -ENOMEM. Descriptors of an algorithm that we do not know are left out.
 */
MUST_CHECK int manifest_parse(const void *data, size_t len, struct manifest **ret_manifest);
void manifest_destroy(struct manifest *m);

/* Of an index: for each platform the child that a node takes, the first that fits best, or NULL where none is for it.
 */
void manifest_choose(const struct manifest *m, const struct platform *wanted, size_t count,
                     const struct manifest_child **ret_best);
/* Whether these platforms (none: all that there are) need a child: as the best for one of them, or because it says no
 * platform, so that what it has tells, as an index in an index. */
bool manifest_is_needed(const struct manifest_child *child, const struct manifest_child *const *best, size_t count);
/* Whether it is for some platform; attestations are for "unknown/unknown". */
bool manifest_child_has_platform(const struct manifest_child *child);
/* Whether an index tells platforms apart: some child has one. */
bool manifest_is_by_platform(const struct manifest *m);

/* Whether a Content-Type can be that of a manifest: one media type, no text, no generic type. Bare and lower case. */
bool media_type_is_manifest(const char *content_type);

AUTO_DEFINE(struct manifest, manifest_destroy);
