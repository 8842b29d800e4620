/* `entrepot hosts`: the clients' files, printed or written. */
#include "cli/command.h"
#include "cli/hosts_options.h"
#include "cli/own_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static int print_files(const struct hosts_client *c, const struct hosts_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        if (files->count > 1)
            printf("%s==> %s/%s <==\n", i > 0 ? "\n" : "", hosts_client_directory(c), files->items[i].path);
        (void)fputs(files->items[i].text, stdout);
    }
    return command_printed();
}

static int write_files(const struct command *self, const char *directory, const struct hosts_files *files)
{
    AUTO_CLOSE int fd = open(directory, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        (void)fprintf(stderr, "entrepot %s: %s: %s\n", self->name, directory, strerror(errno));
        return STATUS_FAILED;
    }
    int status = STATUS_OK;
    for (size_t i = 0; i < files->count; i++) {
        const char *path = files->items[i].path;
        int r = own_file_write(fd, path, files->items[i].text);
        if (r >= 0) {
            printf("%s/%s: %s\n", directory, path, r > 0 ? "written" : "is there already");
            continue;
        }
        (void)fprintf(stderr, "entrepot %s: %s/%s: %s\n", self->name, directory, path,
                      r == -EEXIST ? "is somebody else's, and stays as it is" : strerror(-r));
        status = STATUS_FAILED;
    }
    int printed = command_printed();
    return status == STATUS_OK ? printed : status;
}

int hosts_command(const struct command *self, int argc, char **argv)
{
    static const struct option options[] = {HOSTS_OPTIONS, {"write", required_argument, NULL, 'w'}, {NULL}};
    AUTO(hosts_options_finish) struct hosts_options o;
    hosts_options_init(&o);
    const char *directory = NULL;
    int status = STATUS_OK;
    for (int code; status == STATUS_OK && (code = command_option(argc, argv, options)) != -1;) {
        if (code == 'w')
            directory = optarg;
        else
            status = hosts_options_take(&o, self, code, argv);
    }
    if (status == STATUS_OK && optind < argc)
        return command_misused(self, "%s: everything here is said by options", argv[optind]);
    if (status == STATUS_OK)
        status = hosts_options_done(&o, self);
    if (status != STATUS_OK)
        return status;

    AUTO_HOSTS_FILES struct hosts_files files = {0};
    int r = hosts_files_make(o.client, &o.wish, &files);
    if (r < 0) {
        (void)fprintf(stderr, "entrepot %s: %s\n", self->name, strerror(-r));
        return STATUS_FAILED;
    }
    return directory ? write_files(self, directory, &files) : print_files(o.client, &files);
}
