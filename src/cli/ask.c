#include "cli/ask.h"

#include "base/limits.h"

#include <errno.h>
#include <string.h>

int ask_once(const struct command *self, const struct client_options *options, const char *method, const char *path,
             const char *name, const char *value, const char *body, json_t **ret_answer)
{
    AUTO(auto_client_close) struct client *client = NULL;
    AUTO_BUF struct buf target = BUF_INIT(64 * KIB);
    int r = client_open(self, options, &client);
    if (r != STATUS_OK)
        return r;
    if (buf_adds(&target, path) < 0 || client_param(&target, name, value) < 0)
        return client_failed(self, "%s", strerror(ENOMEM));
    return client_call(client, method, target.data, body, ret_answer);
}

int ask_and_show(const struct command *self, int argc, char **argv, const struct ask_view *view)
{
    struct client_options o = {0};
    AUTO_JSON json_t *answer = NULL;
    int r = client_read_options(self, argc, argv, &o);
    if (r != STATUS_OK)
        return r;
    if (argc - optind != (view->param ? 1 : 0))
        return command_misused(self, "%s", view->question);
    r = ask_once(self, &o, "GET", view->path, view->param, argv[optind], NULL, &answer);
    if (r != STATUS_OK)
        return r;
    return o.json ? client_print_json(answer) : view->print(answer);
}
