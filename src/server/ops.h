/*
 * The administrator's side door, on addresses of its own (ops.listen): /metrics, /livez, /readyz, /startupz. A daemon
 * of one thread beside the server's, so that it answers while the server is busy or draining. Every connection ends
 * with its answer.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"
#include "config/config.h"

struct ops;

/* What the probes tell: /livez is 200 in every phase, /readyz while serving, /startupz from then on. */
enum ops_phase { OPS_STARTING, OPS_SERVING, OPS_STOPPING };

/* Listens, and logs event=ops for each address; *ret_ops is NULL where there are none. On failure `error` has it in
 * words, with the address. */
MUST_CHECK int ops_start(const struct config *config, struct ops **ret_ops, struct buf *error);
/* Any thread. Accepts NULL. */
void ops_enter(struct ops *o, enum ops_phase phase);
/* Cuts what is running, and frees. Accepts NULL. */
void ops_stop(struct ops *o);
