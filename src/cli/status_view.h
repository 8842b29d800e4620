/*
 * The server's status as a page for people: entrepot status prints one, entrepot top one after the other. One thread.
 */
#pragma once

#include "base/auto.h"

#include <jansson.h>

/* To standard output; an exit status. */
MUST_CHECK int status_print(const json_t *status);
