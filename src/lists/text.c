/*
 * Plain text: a reference a line, and behind it, if wanted, platforms. A # at the start of a word begins a comment.
 *
 *     docker.io/library/alpine:3.20
 *     quay.io/prometheus/prometheus:v2.53.1   linux/amd64 linux/arm64   # both kinds of nodes
 */
#include "lists/reading.h"

#include <errno.h>
#include <string.h>

#define LINE_MAX_LEN 4096

static const char blank[] = " \t\r\f\v";

/* Cuts the next word off `*rest`; NULL: there is none, or a comment begins. */
static char *next_word(char **rest)
{
    char *word = *rest + strspn(*rest, blank);
    if (!*word || *word == '#')
        return NULL;
    size_t len = strcspn(word, blank);
    *rest = word + len + (word[len] ? 1 : 0);
    word[len] = '\0';
    return word;
}

/* What skopeo and Docker's older tools put before a reference; and the dash of a list. */
static char *skip_prefix(char *word, char **rest)
{
    static const char *const prefixes[] = {"docker://", "docker-pullable://"};
    if (strcmp(word, "-") == 0) {
        char *next = next_word(rest);
        word = next ? next : word;
    }
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (strncmp(word, prefixes[i], strlen(prefixes[i])) == 0)
            return word + strlen(prefixes[i]);
    return word;
}

static void read_line(struct reading *r, int number, char *line)
{
    struct reading_extra extra = {0};
    char *rest = line, *word = next_word(&rest), *reference;
    if (!word)
        return;
    const struct reading_place place = {.line = number, .column = (int)(word - line) + 1};
    reference = skip_prefix(word, &rest);
    while ((word = next_word(&rest)))
        reading_add_platform(r, (struct reading_place){.line = number, .column = (int)(word - line) + 1}, word, &extra);
    reading_add(r, place, reference, &extra);
}

void read_text(struct reading *r, const char *text, size_t len)
{
    char line[LINE_MAX_LEN + 1];
    const char *end = text + len;
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    for (int number = 1; text < end && !r->failed; number++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((newline ? newline : end) - text);
        if (n > LINE_MAX_LEN) {
            reading_error(r, (struct reading_place){.line = number, .column = 1}, "this line is longer than %d bytes",
                          LINE_MAX_LEN);
        } else if (memchr(text, '\0', n)) {
            reading_error(r, (struct reading_place){.line = number, .column = 1}, "there is a NUL byte in this line");
        } else {
            memcpy(line, text, n);
            line[n] = '\0';
            read_line(r, number, line);
        }
        text += n + (newline ? 1 : 0);
    }
}
