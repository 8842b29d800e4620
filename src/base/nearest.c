#include "base/nearest.h"

#include <stddef.h>
#include <string.h>

#define NEAREST_MAX 64 /* longer words are not compared */

static unsigned min2(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Insertions, deletions, substitutions and swaps of neighbours that make `a` of `b` (optimal string alignment). */
static unsigned edits(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned rows[3][NEAREST_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_len; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned *oldest = before;
        before = above;
        above = row;
        row = oldest;
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned best = min2(above[j], row[j - 1]) + 1;
            best = min2(best, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = min2(best, before[j - 2] + 1);
            row[j] = best;
        }
    }
    return row[b_len];
}

void nearest_begin(struct nearest *n, const char *word)
{
    /* About a quarter of the letters may be wrong, and one of a short word. */
    size_t len = strnlen(word, NEAREST_MAX);
    *n = (struct nearest){.word = word, .distance = len < 4 ? 2 : (unsigned)(len / 4) + 2};
}

void nearest_offer(struct nearest *n, const char *name)
{
    size_t a = strlen(n->word), b = strlen(name);
    if (a > NEAREST_MAX || b > NEAREST_MAX)
        return;
    unsigned d = edits(n->word, a, name, b);
    if (d < n->distance && d < a) {
        n->distance = d;
        n->name = name;
    }
}
