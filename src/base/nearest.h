/*
 * The nearest of some names to a word that is none of them, by edit distance: for "did you mean". Any thread.
 */
#pragma once

struct nearest {
    const char *word;
    const char *name;  /* the nearest so far; NULL where none is near enough to be meant */
    unsigned distance; /* its edits; names must be below this */
};

void nearest_begin(struct nearest *n, const char *word);
void nearest_offer(struct nearest *n, const char *name);
