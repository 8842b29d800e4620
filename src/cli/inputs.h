/*
 * What `seed` and `audit` are given on their command lines: options and files, directories and standard input, read
 * into one list of images. What is wrong with them is said on standard error. One thread.
 */
#pragma once

#include "cli/command.h"
#include "lists/lists.h"

#include <jansson.h>

#define INPUTS_FILES_MAX 10000 /* of all directories together */
#define INPUTS_DEPTH_MAX 16    /* directories in directories */
#define INPUTS_PLATFORMS_MAX 32

/* For a command's help: its options and what they mean. */
#define INPUTS_ARGUMENTS                                                                                               \
    "[--format FORMAT] [--field KIND:PATH]... [--platform PLATFORM]... [--image IMAGE]... [FILE|DIRECTORY|-]..."
extern const char inputs_help[];

struct inputs {
    struct image_list *list;
    const char *platforms[INPUTS_PLATFORMS_MAX]; /* --platform, for what names none itself; none: the server's */
    size_t platform_count;

    /* inner */
    struct image_list_options options;
    const char *fields[IMAGE_LIST_FIELDS_MAX];
    const char *images[INPUTS_FILES_MAX];
    size_t image_count;
    const char *files[INPUTS_FILES_MAX];
    size_t file_count;
};

/*
 * Takes the argument argv[*at], and its value, if it is one of INPUTS_ARGUMENTS, and moves *at to the last that was
 * taken. 1: taken. 0: it is another option, the command's own. STATUS_USAGE: it is wrong, as has been said.
 */
MUST_CHECK int inputs_take(struct inputs *in, const struct command *self, int argc, char **argv, int *at);
/*
 * Reads everything into in->list. STATUS_OK: also where references were left out that are wrong, as has been said
 * (image_list_errors() tells). STATUS_USAGE: nothing was named. STATUS_FAILED: a file cannot be read, or no image is in
 * any of them.
 */
MUST_CHECK int inputs_read(struct inputs *in, const struct command *self);
void inputs_finish(struct inputs *in);

/*
 * For the server: {"images": [{"image": name, "written": …, "platforms": […], "origin": "file:line"}, …],
 * "platforms": […]}. "platforms" of an image are left out where it is to have the default, which stands beside others
 * as "default"; "pattern": {"partial": bool, "allow": […], "deny": […], "semver": […]} stands where there is one. NULL:
 * no memory.
 */
json_t *inputs_json(const struct inputs *in);
