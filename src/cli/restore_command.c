/* entrepot restore and entrepot verify: backups that are read, into a store or not. */
#include "backup/backup.h"
#include "base/limits.h"
#include "base/plural.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/meter.h"
#include "cli/offline.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static void show(void *arg, const struct backup_progress *p)
{
    meter_show(arg, p->bytes, p->all_bytes);
}

static const char *when(int64_t ms, char *text)
{
    time_t t = ms / 1000;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || strftime(text, HUMAN_TEXT, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        (void)snprintf(text, HUMAN_TEXT, "?");
    return text;
}

static void print_count(uint64_t n, const char *one, const char *many)
{
    char text[HUMAN_TEXT];
    if (n > 0)
        printf("  %s %s\n", human_count(n, text), plural(n, one, many));
}

/* 3: not all of it is good. */
static int print_report(const struct backup_report *r, const char *done)
{
    char date[HUMAN_TEXT], blobs[HUMAN_TEXT], bytes[HUMAN_TEXT], records[HUMAN_TEXT];
    printf("%s: backup %s of %s%s\n", done, r->header.id, when(r->header.created_at, date),
           r->header.is_metadata ? ", metadata only" : "");
    printf("  %s %s, %s, and %s %s\n", human_count(r->blobs, blobs), plural(r->blobs, "blob", "blobs"),
           human_size(r->bytes, bytes), human_count(r->records, records), plural(r->records, "record", "records"));
    print_count(r->there, "of them was there already", "of them were there already");
    print_count(r->elsewhere, "more blob is in its base, which was not named",
                "more blobs are in its base, which was not named");
    print_count(r->missing, "more blob left the store while the backup was made",
                "more blobs left the store while the backup was made");
    print_count(r->wrong, "content is wrong and of no use", "contents are wrong and of no use");
    int status = command_printed();
    return status == STATUS_OK && r->wrong > 0 ? STATUS_WANTING : status;
}

static int say_failed(const struct command *self, int error, const struct buf *problems)
{
    switch (error) {
    case -ENOTEMPTY:
        return client_failed(self, "the store is not empty: a backup is restored into an empty one");
    case -EEXIST:
        return client_failed(self, "the restore of another backup has begun in this store: finish that, or empty it");
    case -ENOSPC:
        return client_failed(self, "the disk is too small for what is in the backup");
    default:
        return problems->len > 0 ? STATUS_FAILED : client_failed(self, "%s", strerror(-error));
    }
}

/* STATUS_OK, and the rest of the arguments as a chain. */
static int take_files(const struct command *self, int argc, char **argv, struct backup_chain *chain)
{
    if (optind == argc)
        return command_misused(self, "the file of a backup is missing");
    if (argc - optind > BACKUP_FILES_MAX)
        return command_misused(self, "too many files");
    chain->files = (const char *const *)argv + optind;
    chain->count = (size_t)(argc - optind);
    return STATUS_OK;
}

int verify_command(const struct command *self, int argc, char **argv)
{
    static const struct option options[] = {{0}};
    AUTO_BUF struct buf problems = BUF_INIT(MIB);
    struct backup_report report;
    struct meter meter;
    struct backup_chain chain = {.progress = show, .arg = &meter};
    for (int o; (o = command_option(argc, argv, options)) != -1;)
        return command_bad_option(self, o, argv);
    int r = take_files(self, argc, argv, &chain);
    if (r != STATUS_OK)
        return r;
    meter_begin(&meter);
    r = backup_verify(&chain, &report, &problems);
    meter_end(&meter);
    client_problems(self, &problems);
    if (r < 0) {
        int status = say_failed(self, r, &problems);
        return r == -EBADMSG ? STATUS_WANTING : status;
    }
    return print_report(&report, report.wrong > 0 ? "damaged" : "good");
}

int restore_command(const struct command *self, int argc, char **argv)
{
    AUTO_BUF struct buf problems = BUF_INIT(MIB);
    AUTO(auto_blobstore_close) struct blobstore *store = NULL;
    struct blobstore_options options = {0};
    struct blobstore_report opened;
    struct backup_report report;
    struct meter meter;
    struct backup_chain chain = {.progress = show, .arg = &meter};
    const char *config = NULL;
    int r = offline_arguments(self, argc, argv, &config);
    if (r == STATUS_OK)
        r = take_files(self, argc, argv, &chain);
    if (r == STATUS_OK)
        r = offline_open(self, config, /* must_exist= */ false, &options, &store, &opened);
    if (r != STATUS_OK)
        return r;
    meter_begin(&meter);
    r = backup_restore(&chain, store, &report, &problems);
    meter_end(&meter);
    client_problems(self, &problems);
    return r < 0 ? say_failed(self, r, &problems) : print_report(&report, "restored");
}
