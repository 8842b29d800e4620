#include "cli/inputs.h"

#include "base/buf.h"
#include "base/platform.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_TEXT_MAX 4096

/* ------------------------------------------------------------------ options */

static int add_word(const struct command *self, const char **words, size_t *count, size_t max, const char *word,
                    const char *option)
{
    if (*count == max)
        return command_misused(self, "%s is said more than %zu times", option, max);
    words[(*count)++] = word;
    return STATUS_OK;
}

int inputs_take_option(struct inputs *in, const struct command *self, int option, const char *value)
{
    struct platform platform;
    switch (option) {
    case INPUTS_FORMAT:
        return image_list_format_find(value, &in->format) ? STATUS_OK
                                                          : command_misused(self, "there is no format %s", value);
    case INPUTS_FIELD:
        return add_word(self, in->fields, &in->field_count, ARRAY_SIZE(in->fields), value, "--field");
    case INPUTS_IMAGE:
        return add_word(self, in->images, &in->image_count, ARRAY_SIZE(in->images), value, "--image");
    default:
        if (strcmp(value, "all") != 0 && platform_parse(value, &platform) < 0)
            return command_misused(self, "%s is no platform such as linux/amd64", value);
        return add_word(self, in->platforms, &in->platform_count, ARRAY_SIZE(in->platforms), value, "--platform");
    }
}

/* ------------------------------------------------------------------ files */

static int failed(const struct command *self, const char *what, int error)
{
    (void)fprintf(stderr, "entrepot %s: %s: %s\n", self->name, what, strerror(error));
    return STATUS_FAILED;
}

/* A byte more than the list takes, which then says so. */
static int read_file(struct inputs *in, const struct command *self, int fd, const char *name)
{
    AUTO_BUF struct buf text = BUF_INIT(IMAGE_LIST_TEXT_MAX + 1);
    int r = buf_read(&text, fd);
    if (r == 0 || r == -EFBIG)
        r = image_list_read(in->list, name, text.data ? text.data : "", text.len);
    return r < 0 ? failed(self, name, -r) : STATUS_OK;
}

static bool is_list(const char *name)
{
    static const char *const endings[] = {".txt", ".list", ".yaml", ".yml", ".json"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < ARRAY_SIZE(endings); i++)
        if (strcmp(dot, endings[i]) == 0)
            return true;
    return false;
}

static int read_path(struct inputs *in, const struct command *self, const char *path, bool is_named, unsigned depth);

/* What is hidden is passed over, and links to directories, which might lead round. */
static int read_directory(struct inputs *in, const struct command *self, const char *path, unsigned depth)
{
    struct dirent **entries;
    char inner[PATH_TEXT_MAX];
    int r = STATUS_OK, count = scandir(path, &entries, NULL, alphasort);
    if (count < 0)
        return failed(self, path, errno);
    if (depth == INPUTS_DEPTH_MAX)
        r = failed(self, path, ELOOP);
    for (int i = 0; i < count; i++) {
        if (r == STATUS_OK && entries[i]->d_name[0] != '.') {
            int n = snprintf(inner, sizeof(inner), "%s/%s", path, entries[i]->d_name);
            r = n < (int)sizeof(inner) ? read_path(in, self, inner, /* is_named= */ false, depth + 1)
                                       : failed(self, path, ENAMETOOLONG);
        }
        free(entries[i]);
    }
    free(entries);
    return r;
}

static int read_path(struct inputs *in, const struct command *self, const char *path, bool is_named, unsigned depth)
{
    struct stat st, link;
    if (stat(path, &st) < 0 || lstat(path, &link) < 0)
        return failed(self, path, errno);
    if (S_ISDIR(st.st_mode))
        return is_named || S_ISDIR(link.st_mode) ? read_directory(in, self, path, depth) : STATUS_OK;
    if (!is_named && (!S_ISREG(st.st_mode) || !is_list(path)))
        return STATUS_OK;
    if (++in->file_count > INPUTS_FILES_MAX)
        return failed(self, path, EMFILE);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? failed(self, path, errno) : read_file(in, self, fd, path);
}

/* ------------------------------------------------------------------ all of it */

static void print_notes(const struct image_list *list)
{
    size_t count;
    const struct image_note *notes = image_list_notes(list, &count);
    for (size_t i = 0; i < count; i++) {
        const struct image_note *n = &notes[i];
        (void)fprintf(stderr, "%s:", n->file);
        if (n->line > 0)
            (void)fprintf(stderr, "%d:%d:", n->line, n->column);
        (void)fprintf(stderr, " %s: %s\n", n->is_error ? "error" : "warning", n->message);
    }
}

static int create_list(struct inputs *in, const struct command *self)
{
    const struct image_list_options options = {
        .format = in->format, .fields = in->fields, .field_count = in->field_count};
    const char *wrong;
    int r = image_list_create(&options, &in->list, &wrong);
    if (r == -EINVAL)
        return command_misused(self, "--field: %s", wrong);
    return r < 0 ? failed(self, "the list", -r) : STATUS_OK;
}

int inputs_read(struct inputs *in, const struct command *self, char **files, size_t count)
{
    const char *wrong;
    size_t found;
    if (count == 0 && in->image_count == 0)
        return command_misused(self, "name a file of images, - for standard input, or --image");
    int r = create_list(in, self);
    for (size_t i = 0; r == STATUS_OK && i < in->image_count; i++) {
        int e = image_list_add(in->list, in->images[i], &wrong);
        if (e == -EINVAL)
            r = command_misused(self, "%s is no image reference: %s", in->images[i], wrong);
        else if (e < 0)
            r = failed(self, in->images[i], -e);
    }
    for (size_t i = 0; r == STATUS_OK && i < count; i++)
        r = strcmp(files[i], "-") == 0 ? read_file(in, self, STDIN_FILENO, "-")
                                       : read_path(in, self, files[i], /* is_named= */ true, 0);
    if (r != STATUS_OK)
        return r;
    print_notes(in->list);
    (void)image_list_references(in->list, &found);
    if (found == 0)
        (void)fprintf(stderr, "entrepot %s: there is no image in what was named\n", self->name);
    return found > 0 ? STATUS_OK : STATUS_FAILED;
}

void inputs_finish(struct inputs *in)
{
    image_list_destroy(in->list);
    in->list = NULL;
}

/* ------------------------------------------------------------------ for the server */

static json_t *texts(const char *const *items, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(array, json_string(items[i]));
    if (json_array_size(array) == count)
        return array;
    json_decref(array);
    return NULL;
}

static json_t *pattern_of(const struct image_reference *reference)
{
    const struct image_pattern *p = &reference->pattern;
    return json_pack("{s:b, s:o, s:o, s:o}", "partial", p->is_partial, "allow", texts(p->allow, p->allow_count), "deny",
                     texts(p->deny, p->deny_count), "semver", texts(p->semver, p->semver_count));
}

static json_t *platforms_of(const struct image_reference *reference)
{
    json_t *platforms = texts(reference->platforms, reference->platform_count);
    if (reference->default_platforms && json_array_append_new(platforms, json_string("default")) < 0) {
        json_decref(platforms);
        return NULL;
    }
    return platforms;
}

json_t *inputs_image(const struct image_reference *reference)
{
    char origin[PATH_TEXT_MAX];
    if (reference->line > 0)
        (void)snprintf(origin, sizeof(origin), "%s:%d", reference->file, reference->line);
    else
        (void)snprintf(origin, sizeof(origin), "%s", *reference->file ? reference->file : "--image");
    json_t *image = json_pack("{s:s, s:s, s:o, s:s}", "image", reference->name, "written", reference->written,
                              "platforms", platforms_of(reference), "origin", origin);
    if (image && reference->pattern.is_set && json_object_set_new(image, "pattern", pattern_of(reference)) < 0) {
        json_decref(image);
        return NULL;
    }
    return image;
}

json_t *inputs_platforms(const struct inputs *in)
{
    return texts(in->platforms, in->platform_count);
}
