/* What a shell is told of the commands and their options: `entrepot completion SHELL`. Pure. */
#pragma once

#include "base/buf.h"
#include "cli/command.h"

/* "bash", "zsh" or "fish"; -EINVAL: another. */
MUST_CHECK int completion_write(const struct command *commands, const char *shell, struct buf *script);
