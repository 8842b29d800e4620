#include "cli/client.h"
#include "cli/human.h"

#include <inttypes.h>

static int64_t number(const json_t *of, const char *key)
{
    return json_integer_value(json_object_get(of, key));
}

static void print_store(const json_t *store)
{
    char used[HUMAN_TEXT], max[HUMAN_TEXT], blobs[HUMAN_TEXT], available[HUMAN_TEXT];
    printf("store     %s of %s in %s blobs, %s of the disk left\n", human_size((uint64_t)number(store, "bytes"), used),
           human_size((uint64_t)number(store, "max_bytes"), max), human_count((uint64_t)number(store, "blobs"), blobs),
           human_size((uint64_t)number(store, "disk_available"), available));
}

static int print_status(const json_t *status)
{
    char up[HUMAN_TEXT];
    printf("entrepot  %s, up %s\n", json_string_value(json_object_get(status, "version")),
           human_duration(number(status, "now") - number(status, "started_at"), up));
    print_store(json_object_get(status, "store"));
    return command_printed();
}

int status_command(const struct command *self, int argc, char **argv)
{
    static const struct option options[] = {CLIENT_OPTIONS, {0}};
    struct client_options client_options = {0};
    AUTO(auto_client_close) struct client *client = NULL;
    AUTO(auto_json_decref) json_t *status = NULL;
    for (int o; (o = command_option(argc, argv, options)) != -1;)
        if (!client_take_option(&client_options, o, optarg))
            return command_bad_option(self, o, argv);
    if (optind < argc)
        return command_misused(self, "there are no arguments");
    int r = client_open(self, &client_options, &client);
    if (r == STATUS_OK)
        r = client_call(client, "GET", "/v1/status", NULL, &status);
    if (r != STATUS_OK)
        return r;
    return client_options.json ? client_print_json(status) : print_status(status);
}
