/*
 * Lists of images: what `seed` and `audit` are given, in any of the formats that people have them in
 * (docs/seeding.md), as references. Text goes in, one file after the other; references come out, each once, with where
 * it stands. Knows no file system and no network: who calls has read the files. One thread a list.
 *
 * What is no reference is noted, with file, line and column, and does not keep the rest from being read. Everything is
 * bounded by the limits below; what is more is left out, and noted.
 */
#pragma once

#include "base/auto.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>

/* Of one file. `kubectl get pods -A -o json` of 5000 pods is about that; while it is read it takes 16 times its size.
 */
#define IMAGE_LIST_TEXT_MAX (64 * MIB)
#define IMAGE_LIST_REFERENCES_MAX 100000
#define IMAGE_LIST_NOTES_MAX 1000
#define IMAGE_LIST_PLATFORMS_MAX 32 /* of one reference */
#define IMAGE_LIST_PATTERNS_MAX 100 /* of one reference, of a kind */
#define IMAGE_LIST_PATTERN_MAX 1024 /* bytes of one */
#define IMAGE_LIST_FIELDS_MAX 100

enum image_list_format {
    IMAGE_LIST_DETECT,
    IMAGE_LIST_TEXT,       /* a reference a line */
    IMAGE_LIST_KUBERNETES, /* manifests, `helm template`, `kubectl get -o yaml` and `-o json` */
    IMAGE_LIST_COMPOSE,
    IMAGE_LIST_SKOPEO, /* skopeo sync --src yaml */
    IMAGE_LIST_REGSYNC,
    IMAGE_LIST_HAULER, /* kind: Images */
    IMAGE_LIST_ZARF,   /* kind: ZarfPackageConfig */
};

/* The name of a format, "text", for an option and for people; NULL behind the last. */
const char *image_list_format_name(enum image_list_format format);
/* false: there is none of that name. */
bool image_list_format_find(const char *name, enum image_list_format *ret_format);

struct image_list_options {
    enum image_list_format format;
    /* Fields of custom resources that name images, beside those that are known: "Kind:.spec.path[].image". */
    const char *const *fields;
    size_t field_count;
};

/* Which tags of a repository are meant, where not one is named: those of which all is true that is said here. */
struct image_pattern {
    bool is_set;
    bool is_partial;          /* a regular expression matches a part of the tag (skopeo), not the whole (regsync) */
    const char *const *allow; /* regular expressions, Go's: one of them matches; or none is given */
    size_t allow_count;
    const char *const *deny; /* none of them matches */
    size_t deny_count;
    const char *const *semver; /* ranges, ">= 3.12, < 4" or "^1.2": the tag is a version in one of them */
    size_t semver_count;
};

/* All strings are the list's, good until it is destroyed. */
struct image_reference {
    const char *written; /* as it stands there; put together where the format has its parts apart */
    const char *name; /* what it means: "docker.io/library/alpine:3.20", "quay.io/a/b@sha256:…"; with a pattern, without
                         a tag: "docker.io/library/alpine" */
    const char *registry, *repository;
    const char *tag;    /* or NULL: there is a digest alone, or a pattern */
    const char *digest; /* or NULL */
    struct image_pattern pattern;
    const char *const *platforms; /* "linux/arm64", "linux/arm/v7"; "all"; those that any of its places names */
    size_t platform_count;
    bool default_platforms; /* some place of it names no platform: those that are the default are meant as well */
    const char *file;       /* its first place */
    int line, column;       /* from 1 */
};

struct image_note {
    bool is_error; /* something that was meant is not in the list; else it is, but read on */
    const char *file;
    int line, column; /* from 1; 0: of the file as a whole */
    const char *message;
};

struct image_list;

/* -EINVAL: a field is not one; `ret_wrong` (a static string) says why. -ENOMEM. */
MUST_CHECK int image_list_create(const struct image_list_options *options, struct image_list **ret_list,
                                 const char **ret_wrong);
void image_list_destroy(struct image_list *l); /* accepts NULL */

/* Adds what is in a file; `file` is its name, for people. Whatever is wrong with the text is noted. -ENOMEM. */
MUST_CHECK int image_list_read(struct image_list *l, const char *file, const char *text, size_t len);
/* Adds one reference, as a command line has it. -EINVAL: it is none; `ret_wrong` (a static string) says why. */
MUST_CHECK int image_list_add(struct image_list *l, const char *reference, const char **ret_wrong);

/* In the order in which they were met. */
const struct image_reference *image_list_references(const struct image_list *l, size_t *ret_count);
const struct image_note *image_list_notes(const struct image_list *l, size_t *ret_count);
size_t image_list_errors(const struct image_list *l); /* notes that are errors, also those that found no room */

AUTO_DEFINE(struct image_list, image_list_destroy);
