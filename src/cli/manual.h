/* entrepot(1), from the table of commands: what `entrepot reference man` prints. Pure. */
#pragma once

#include "base/buf.h"
#include "cli/command.h"

MUST_CHECK int manual_write(const struct command *commands, struct buf *roff);
