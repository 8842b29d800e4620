/*
 * Names of images, as people and Kubernetes write them: [REGISTRY/]REPOSITORY[:TAG][@DIGEST], and what a short one
 * means
 * ("alpine" is docker.io/library/alpine:latest). The grammar is the OCI distribution-spec's; which first part is a
 * registry, and what is left out, is as Docker and containerd have it. Pure; any thread.
 */
#pragma once

#include "base/digest.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>

bool repository_is_valid(const char *path);
bool tag_is_valid(const char *tag);

struct image_name {
    char registry[LIMIT_NAME + 1];   /* lower case: "docker.io", "localhost:5000" */
    char repository[LIMIT_NAME + 1]; /* "library/alpine"; with the registry and a slash at most LIMIT_NAME */
    char tag[LIMIT_TAG + 1];         /* "" where there is a digest alone; "latest" where there is neither */
    char digest[DIGEST_TEXT_MAX];    /* or "". It decides what is pulled; a tag beside it is for people. */
};

/* "registry/repository@digest", or ":tag" where there is no digest, with a NUL. */
#define IMAGE_NAME_MAX (LIMIT_NAME + 1 + DIGEST_TEXT_MAX)

/* -EINVAL: *ret_wrong says in words what is (a static string). */
MUST_CHECK int image_name_parse(const char *text, size_t len, struct image_name *ret_name, const char **ret_wrong);
/* Whether its first part is a registry, as Docker tells it from one of a path on Docker Hub. */
bool image_name_has_registry(const char *text);
/* The one way to write what it pulls; `text` has IMAGE_NAME_MAX bytes. Returns `text`. */
const char *image_name_format(const struct image_name *name, char *text);
