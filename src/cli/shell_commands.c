/* The commands that know all commands: the manual, what shells complete. */
#include "base/buf.h"
#include "base/limits.h"
#include "cli/command.h"
#include "cli/completion.h"
#include "cli/manual.h"

#include <errno.h>
#include <string.h>

static int print(const struct command *self, int result, const struct buf *text)
{
    if (result < 0) {
        (void)fprintf(stderr, "entrepot %s: %s\n", self->name, strerror(-result));
        return STATUS_FAILED;
    }
    (void)fputs(text->data, stdout);
    return command_printed();
}

int completion_command(const struct command *self, int argc, char **argv)
{
    AUTO_BUF struct buf script = BUF_INIT(MIB);
    if (argc != 2)
        return command_misused(self, "one shell: bash, zsh or fish");
    int r = completion_write(self->all, argv[1], &script);
    if (r == -EINVAL)
        return command_misused(self, "%s: there are bash, zsh and fish", argv[1]);
    return print(self, r, &script);
}

int manual_command(const struct command *self, int argc, char **argv)
{
    AUTO_BUF struct buf roff = BUF_INIT(MIB);
    (void)argv;
    if (argc > 1)
        return command_misused(self, "there are no arguments");
    return print(self, manual_write(self->all, &roff), &roff);
}
