/*
 * What `seed` and `audit` are given on their command lines: options and files, directories and standard input, read
 * into one list of images. What is wrong with them is said on standard error. One thread.
 */
#pragma once

#include "cli/command.h"
#include "lists/lists.h"

#include <getopt.h>
#include <jansson.h>

#define INPUTS_FILES_MAX 10000 /* of all directories together */
#define INPUTS_DEPTH_MAX 16    /* directories in directories */
#define INPUTS_IMAGES_MAX 100  /* --image */
#define INPUTS_PLATFORMS_MAX 32

enum { INPUTS_FORMAT = 0x200, INPUTS_FIELD, INPUTS_PLATFORM, INPUTS_IMAGE };

/* Rows for the command's own table of options, and what its help says of them. */
#define INPUTS_OPTIONS                                                                                                 \
    {"format", required_argument, NULL, INPUTS_FORMAT}, {"field", required_argument, NULL, INPUTS_FIELD},              \
        {"platform", required_argument, NULL, INPUTS_PLATFORM},                                                        \
    {                                                                                                                  \
        "image", required_argument, NULL, INPUTS_IMAGE                                                                 \
    }
#define INPUTS_HELP                                                                                                    \
    "FILE                 a list of images; - is standard input; of a directory, its files *.txt, *.list, *.yaml,\n"   \
    "                     *.yml and *.json, and those of its directories. Plain text has a reference a line; else\n"   \
    "                     what kubectl, helm template, compose, skopeo sync, regsync, Hauler and Zarf have is\n"       \
    "                     known (docs/seeding.md)\n"                                                                   \
    "  --image IMAGE      an image, without a file; may be said again\n"                                               \
    "  --format FORMAT    text, kubernetes, compose, skopeo, regsync, hauler or zarf; else it is found out\n"          \
    "  --field KIND:PATH  a field of a custom resource that names an image, as in Widget:.spec.images[].name; may "    \
    "be\n"                                                                                                             \
    "                     said again\n"                                                                                \
    "  --platform P       linux/arm64, or all: for what names none itself, instead of seeding.platforms; may be "      \
    "said\n"                                                                                                           \
    "                     again\n"

/* Zeroed by the caller; inputs_finish() in any case. */
struct inputs {
    struct image_list *list;                     /* after inputs_read() */
    const char *platforms[INPUTS_PLATFORMS_MAX]; /* --platform; none: the server's */
    size_t platform_count;

    /* inner */
    enum image_list_format format;
    const char *fields[IMAGE_LIST_FIELDS_MAX];
    size_t field_count;
    const char *images[INPUTS_IMAGES_MAX];
    size_t image_count;
    size_t file_count;
};

/* Takes an option of getopt_long() that is one of the above. STATUS_OK, or STATUS_USAGE: its value is wrong, as has
 * been said. */
MUST_CHECK int inputs_take_option(struct inputs *in, const struct command *self, int option, const char *value);
static inline bool inputs_is_option(int option)
{
    return option >= INPUTS_FORMAT && option <= INPUTS_IMAGE;
}
/*
 * Reads `files`, and what --image said, into in->list. STATUS_OK: also where something in them is wrong, as has been
 * said (image_list_errors() tells). STATUS_USAGE: nothing was named. STATUS_FAILED: a file cannot be read, or there is
 * no image in any.
 */
MUST_CHECK int inputs_read(struct inputs *in, const struct command *self, char **files, size_t count);
void inputs_finish(struct inputs *in);

/*
 * An image for the server: {"image": name, "written": …, "platforms": […], "origin": "file:line", "pattern":
 * {"partial": bool, "allow": […], "deny": […], "semver": […]}}. Of "platforms" the word "default" stands for those
 * that inputs_platforms() says. "pattern" stands where there is one. NULL: no memory.
 */
json_t *inputs_image(const struct image_reference *reference);
/* ["linux/arm64", …], or [] for the server's own. NULL: no memory. */
json_t *inputs_platforms(const struct inputs *in);

static inline void auto_inputs_finish(struct inputs *in)
{
    inputs_finish(in);
}
