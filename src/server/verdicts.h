/*
 * What has been found out of secrets, for some minutes, without the secrets: under a hash that is keyed by chance at
 * the start, so that what is in memory says nothing of them. Bounded; what is oldest in its corner goes. Any thread.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct verdicts;

struct verdicts_key {
    uint8_t bytes[32];
};

MUST_CHECK int verdicts_create(struct verdicts **ret_verdicts);
void verdicts_destroy(struct verdicts *m); /* accepts NULL */
/* Of the texts, each with its end. */
void verdicts_key(const struct verdicts *m, const char *const *texts, size_t count, struct verdicts_key *ret_key);
/* False where nothing is known, or not any more. */
bool verdicts_recall(struct verdicts *m, const struct verdicts_key *key, int64_t now_ms, bool *ret_value);
void verdicts_note(struct verdicts *m, const struct verdicts_key *key, bool value, int64_t until_ms);

AUTO_DEFINE(struct verdicts, verdicts_destroy);
