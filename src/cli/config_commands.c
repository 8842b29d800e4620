/* The commands that need the program alone: what it thinks of a configuration, what may stand in one, what it counts,
 * what it is. */
#include "base/buf.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "base/plural.h"
#include "cli/command.h"
#include "config/config.h"

#include <string.h>

int check_config_command(const struct command *self, int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--") == 0) {
        argc--;
        argv++;
    } else if (argc > 1 && argv[1][0] == '-' && argv[1][1] != '\0') {
        return command_misused(self, "there is no option %s", argv[1]);
    }
    if (argc > 2)
        return command_misused(self, "one file at a time");
    const char *file = argc < 2 || strcmp(argv[1], "-") == 0 ? "/dev/stdin" : argv[1];

    AUTO(auto_config_destroy) struct config *config = NULL;
    AUTO_BUF struct buf errors = BUF_INIT(MIB);
    int r = config_load(file, &config, &errors);
    if (r == 0) {
        printf("%s: good, %zu %s\n", file, config->registry_count,
               plural(config->registry_count, "registry", "registries"));
        return command_printed();
    }
    if (errors.len > 0)
        (void)fputs(errors.data, stderr);
    else
        (void)fprintf(stderr, "%s: %s\n", file, strerror(-r));
    return STATUS_FAILED;
}

int reference_command(const struct command *self, int argc, char **argv)
{
    bool metrics = argc == 2 && strcmp(argv[1], "metrics") == 0;
    if (argc > 1 && !metrics)
        return command_misused(self, "there is nothing but metrics");
    AUTO_BUF struct buf markdown = BUF_INIT(MIB);
    int r = metrics ? metrics_reference(&markdown) : config_reference(&markdown);
    if (r < 0) {
        (void)fprintf(stderr, "entrepot %s: %s\n", self->name, strerror(-r));
        return STATUS_FAILED;
    }
    (void)fputs(markdown.data, stdout);
    return command_printed();
}

int version_command(const struct command *self, int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return command_misused(self, "there are no arguments");
    (void)puts("entrepot " ENTREPOT_VERSION);
    return command_printed();
}
