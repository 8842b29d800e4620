#include "base/plural.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/meter.h"
#include "cli/offline.h"

static void show(void *arg, uint64_t files, uint64_t bytes)
{
    (void)files;
    meter_show(arg, bytes, 0);
}

int rebuild_command(const struct command *self, int argc, char **argv)
{
    AUTO(auto_blobstore_close) struct blobstore *store = NULL;
    struct blobstore_report report;
    struct meter meter;
    struct blobstore_options options = {.rebuild = true, .progress = show, .progress_arg = &meter};
    const char *config = NULL;
    char blobs[HUMAN_TEXT], bytes[HUMAN_TEXT], discarded[HUMAN_TEXT];
    int r = offline_arguments(self, argc, argv, &config);
    if (r != STATUS_OK)
        return r;
    if (optind < argc)
        return command_misused(self, "%s: the configuration is named by --config", argv[optind]);
    meter_begin(&meter);
    r = offline_open(self, config, /* must_exist= */ true, &options, &store, &report);
    meter_end(&meter);
    if (r != STATUS_OK)
        return r;
    printf("%s %s, %s; %s %s in quarantine\n", human_count(report.blobs, blobs), plural(report.blobs, "blob", "blobs"),
           human_size(report.bytes, bytes), human_count(report.discarded, discarded),
           plural(report.discarded, "file was none, or wrong, and is", "files were none, or wrong, and are"));
    return command_printed();
}
