#include "cli/offline.h"

#include "base/limits.h"
#include "cli/client.h"
#include "config/config.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int offline_arguments(const struct command *self, int argc, char **argv, const char **ret_config)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'}, {0}};
    for (int o; (o = command_option(argc, argv, options)) != -1;) {
        if (o != 'c')
            return command_bad_option(self, o, argv);
        *ret_config = optarg;
    }
    return STATUS_OK;
}

static int open_store(const struct command *self, const char *path, bool must_exist, struct blobstore_options *options,
                      struct blobstore **ret_store, struct blobstore_report *ret_report)
{
    struct stat st;
    bool exists = stat(path, &st) == 0;
    if (must_exist && !exists)
        return client_failed(self, "%s: %s", path, strerror(errno));
    if (exists && st.st_uid != geteuid()) /* what is made now is to be the server's later */
        return client_failed(self, "%s: this store belongs to user %u; run this as that user", path,
                             (unsigned)st.st_uid);
    AUTO_BUF struct buf errors = BUF_INIT(16 * KIB);
    options->root = path;
    options->errors = &errors;
    int r = blobstore_open(options, ret_store, ret_report);
    options->errors = NULL;
    if (r == -EBUSY)
        return client_failed(self, "%s: another process has this store; stop the server first", path);
    return r < 0 ? client_failed(self, "%s: %s", path, errors.len ? errors.data : strerror(-r)) : STATUS_OK;
}

int offline_open(const struct command *self, const char *file, bool must_exist, struct blobstore_options *options,
                 struct blobstore **ret_store, struct blobstore_report *ret_report)
{
    AUTO(auto_config_destroy) struct config *config = NULL;
    AUTO_BUF struct buf errors = BUF_INIT(MIB);
    int r = file ? config_load(file, &config, &errors) : config_default(&config);
    if (r < 0)
        return client_failed(self, "%s", errors.len ? errors.data : strerror(-r));
    return open_store(self, config->store.path, must_exist, options, ret_store, ret_report);
}
