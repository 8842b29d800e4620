/* Where at a source something is, and the check of names that come from clients. Pure functions; any thread. */
#pragma once

#include "base/auto.h"
#include "upstream/attempt.h"
#include "upstream/source.h"
#include "upstream/url.h"

/* 0, or -EINVAL: one of them cannot be part of a URL. `reference` and `query` may be NULL. */
MUST_CHECK int path_check(const char *repository, const char *reference, const char *query);
/* Of names that were checked; `repository` as the source has it, with its prefix. -EINVAL: too long. -ENOMEM. */
MUST_CHECK int path_url(const struct attempt_request *request, const struct source *s, const char *repository,
                        struct url *ret_url);
