/*
 * Answers: which part of a body a request gets (conditions, ranges), the headers of the distribution API, error bodies
 * as the specification has them. Makes the response and queues it. Worker threads, from the access handler.
 */
#pragma once

#include "base/auto.h"

#include <microhttpd.h>

struct mirror_answer;
struct request;
struct route_refusal;

/* All of them: MHD_NO without memory; the connection is closed then. */
MUST_CHECK enum MHD_Result reply_answer(struct request *r, const struct mirror_answer *a);
MUST_CHECK enum MHD_Result reply_refusal(struct request *r, const struct route_refusal *refusal);
MUST_CHECK enum MHD_Result reply_ping(struct request *r);
