#include "cli/client.h"

#include "base/limits.h"
#include "base/unix_address.h"
#include "config/config.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define CONNECT_MS 5000
/* Nothing comes for so long: a handler waits for LIMIT_ADMIN_WAIT_MS at the most. */
#define SILENCE_S (LIMIT_ADMIN_IDLE_MS / 1000)
#define SYSTEM_SOCKET "/var/lib/entrepot/admin.sock"

struct client {
    const struct command *command;
    CURL *curl;
    struct curl_slist *headers;
    char *address;                           /* as it was said, for messages */
    char *origin;                            /* "http://entrepot", "http://127.0.0.1:5002" */
    const char *user;                        /* or NULL */
    const char *ca_file, *certificate, *key; /* of TLS, or NULL */
    char password[LIMIT_ADMIN_TOKEN];
    struct unix_address socket;
    char problem[CURL_ERROR_SIZE];

    /* of the call that is running */
    long status;
    struct buf answer;
    bool (*take)(void *arg, const void *data, size_t len);
    void *take_arg;
    int failed; /* -EFBIG, -ENOMEM: of what came; -ECANCELED: `take` had enough */
};

bool client_take_option(struct client_options *o, int option, const char *value)
{
    switch (option) {
    case CLIENT_ADMIN:
        o->admin = value;
        return true;
    case CLIENT_CONFIG:
        o->config = value;
        return true;
    case CLIENT_TOKEN_FILE:
        o->token_file = value;
        return true;
    case CLIENT_USER:
        o->user = value;
        return true;
    case CLIENT_PASSWORD_FILE:
        o->password_file = value;
        return true;
    case CLIENT_CA_FILE:
        o->ca_file = value;
        return true;
    case CLIENT_CERTIFICATE:
        o->certificate = value;
        return true;
    case CLIENT_KEY:
        o->key = value;
        return true;
    case CLIENT_JSON:
        o->json = true;
        return true;
    default:
        return false;
    }
}

int client_read_options(const struct command *self, int argc, char **argv, struct client_options *o)
{
    static const struct option options[] = {CLIENT_OPTIONS, {0}};
    for (int i; (i = command_option(argc, argv, options)) != -1;)
        if (!client_take_option(o, i, optarg))
            return command_bad_option(self, i, argv);
    return STATUS_OK;
}

int client_failed(const struct command *self, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "entrepot %s: ", self->name);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    return STATUS_FAILED;
}

void client_problems(const struct command *self, struct buf *lines)
{
    char *rest = lines->data;
    for (char *line; rest && (line = strsep(&rest, "\n"));)
        if (*line)
            (void)client_failed(self, "%s", line);
}

/* ------------------------------------------------------------------ where the server is */

static const char *first_address(const struct config *config)
{
    return config->admin.listen.count > 0 ? config->admin.listen.items[0] : NULL;
}

/* Of the configuration that is named, or of the one that everything has by default. */
static int ask_config(struct client *c, const char *file, char **ret_address, char **ret_token_file)
{
    AUTO(auto_config_destroy) struct config *config = NULL;
    AUTO_BUF struct buf errors = BUF_INIT(MIB);
    int r = file ? config_load(file, &config, &errors) : config_default(&config);
    if (r < 0)
        return client_failed(c->command, "%s", errors.len ? errors.data : strerror(-r));
    const char *address = first_address(config);
    if (!address)
        return client_failed(c->command, "%s: admin.listen is empty: the server has no admin API", config->file);
    const char *path = address + strlen(CONFIG_UNIX);
    if (!file && access(path, F_OK) < 0 && access(SYSTEM_SOCKET, F_OK) == 0)
        address = SYSTEM_SOCKET;
    bool tls = config->admin.tls && strncmp(address, CONFIG_UNIX, strlen(CONFIG_UNIX)) != 0;
    AUTO_BUF struct buf whole = BUF_INIT(4 * KIB);
    *ret_address = buf_addf(&whole, "%s%s", tls ? "https://" : "", address) == 0 ? buf_take(&whole) : NULL;
    *ret_token_file = config->admin.token_file ? strdup(config->admin.token_file) : NULL;
    return *ret_address ? STATUS_OK : client_failed(c->command, "%s", strerror(ENOMEM));
}

static int add_header(struct client *c, const char *header)
{
    struct curl_slist *headers = curl_slist_append(c->headers, header);
    if (!headers)
        return -ENOMEM;
    c->headers = headers;
    return 0;
}

/* What stands in the first line of a file, which is to be a `what`, before any of `end`. */
static int read_secret(const struct client *c, const char *file, const char *what, const char *end,
                       char secret[LIMIT_ADMIN_TOKEN])
{
    AUTO_FCLOSE FILE *f = fopen(file, "re");
    *secret = '\0';
    if (!f)
        return client_failed(c->command, "%s: %s", file, strerror(errno));
    if (!fgets(secret, LIMIT_ADMIN_TOKEN, f))
        return client_failed(c->command, "%s: there is no %s in it", file, what);
    secret[strcspn(secret, end)] = '\0';
    return STATUS_OK;
}

static int add_token(struct client *c, const char *file)
{
    char token[LIMIT_ADMIN_TOKEN];
    int status = read_secret(c, file, "token", " \t\r\n", token);
    if (status != STATUS_OK)
        return status;
    AUTO_BUF struct buf header = BUF_INIT(sizeof(token) + 64);
    if (buf_addf(&header, "Authorization: Bearer %s", token) < 0 || add_header(c, header.data) < 0)
        return client_failed(c->command, "%s", strerror(ENOMEM));
    return STATUS_OK;
}

/* The path of a Unix socket, with or without its "unix:"; NULL: it is another address. */
static const char *socket_path(const char *address)
{
    if (strncmp(address, CONFIG_UNIX, strlen(CONFIG_UNIX)) == 0)
        return address + strlen(CONFIG_UNIX);
    return strchr(address, '/') && !strstr(address, "://") ? address : NULL;
}

/* Who asks is known by one of both; a user comes first, since somebody has said him. */
static int set_login(struct client *c, const char *address, const char *token_file, const char *password_file)
{
    if (c->user)
        return password_file ? read_secret(c, password_file, "password", "\r\n", c->password)
                             : client_failed(c->command, "%s has a password: --password-file", c->user);
    if (token_file)
        return add_token(c, token_file);
    return c->certificate
               ? STATUS_OK
               : client_failed(c->command, "%s asks for a token or a login: --token-file, or --user", address);
}

static int set_address(struct client *c, const char *address, const char *token_file, const char *password_file)
{
    const char *path = socket_path(address);
    AUTO_BUF struct buf origin = BUF_INIT(4 * KIB);
    int r = buf_addf(&origin, "%s%s", strstr(address, "://") ? "" : "http://", path ? "entrepot" : address);
    c->address = strdup(address);
    c->origin = r == 0 ? buf_take(&origin) : NULL;
    if (!c->address || !c->origin)
        return client_failed(c->command, "%s", strerror(ENOMEM));
    if (!path)
        return set_login(c, address, token_file, password_file);
    r = unix_address_init(path, &c->socket);
    if (r < 0)
        return client_failed(c->command, "%s: %s", path, strerror(-r));
    return STATUS_OK;
}

static const char *or_environment(const char *option, const char *name)
{
    return option ? option : getenv(name);
}

static int find_server(struct client *c, const struct client_options *o)
{
    AUTO_FREE char *of_config = NULL, *token_of_config = NULL;
    const char *address = o->admin, *token_file = or_environment(o->token_file, "ENTREPOT_TOKEN_FILE");
    const char *password_file = or_environment(o->password_file, "ENTREPOT_PASSWORD_FILE");
    if (!address && !o->config)
        address = getenv("ENTREPOT_ADMIN");
    c->ca_file = or_environment(o->ca_file, "ENTREPOT_CA_FILE");
    c->certificate = or_environment(o->certificate, "ENTREPOT_CERTIFICATE");
    c->key = or_environment(o->key, "ENTREPOT_KEY");
    c->user = o->user ? o->user : o->token_file ? NULL : getenv("ENTREPOT_USER");
    if (!address || o->config) {
        int status = ask_config(c, o->config, &of_config, &token_of_config);
        if (status != STATUS_OK)
            return status;
    }
    if (!address)
        address = of_config;
    assert(address); /* ask_config() has found one */
    return set_address(c, address, token_file ? token_file : token_of_config, password_file);
}

/* ------------------------------------------------------------------ opening */

static size_t receive(char *data, size_t size, size_t count, void *arg)
{
    struct client *c = arg;
    size_t len = size * count;
    (void)curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &c->status);
    if (c->take && c->status < 400)
        c->failed = c->take(c->take_arg, data, len) ? 0 : -ECANCELED;
    else
        c->failed = buf_add(&c->answer, data, len);
    return c->failed < 0 ? 0 : len;
}

static bool set_text(struct client *c, CURLoption option, const char *text)
{
    return !text || curl_easy_setopt(c->curl, option, text) == CURLE_OK;
}

/* At a Unix socket nobody logs in. */
static bool set_up_login(struct client *c)
{
    return set_text(c, CURLOPT_USERNAME, c->user) && set_text(c, CURLOPT_PASSWORD, c->user ? c->password : NULL) &&
           set_text(c, CURLOPT_CAINFO, c->ca_file) && set_text(c, CURLOPT_SSLCERT, c->certificate) &&
           set_text(c, CURLOPT_SSLKEY, c->key);
}

static int set_up(struct client *c)
{
    c->curl = curl_easy_init();
    if (!c->curl || add_header(c, "Content-Type: application/json") < 0 || add_header(c, "Expect:") < 0 ||
        curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, c->headers) != CURLE_OK ||
        (*c->socket.address.sun_path &&
         curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, c->socket.address.sun_path) != CURLE_OK))
        return client_failed(c->command, "%s", strerror(ENOMEM));
    if (!*c->socket.address.sun_path && !set_up_login(c))
        return client_failed(c->command, "%s", strerror(ENOMEM));
    (void)curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->problem);
    (void)curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c->curl, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    (void)curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_S);
    (void)curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, receive);
    (void)curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
    return STATUS_OK;
}

int client_open(const struct command *self, const struct client_options *options, struct client **ret_client)
{
    AUTO(auto_client_close) struct client *c = calloc(1, sizeof(*c));
    if (!c || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return client_failed(self, "%s", strerror(ENOMEM));
    c->command = self;
    c->socket.directory = -1;
    c->answer = BUF_INIT(LIMIT_ADMIN_ANSWER);
    int status = find_server(c, options);
    if (status == STATUS_OK)
        status = set_up(c);
    if (status == STATUS_OK)
        *ret_client = TAKE_PTR(c);
    return status;
}

void client_close(struct client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->curl);
    curl_slist_free_all(c->headers);
    unix_address_finish(&c->socket);
    buf_finish(&c->answer);
    free(c->address);
    free(c->origin);
    explicit_bzero(c->password, sizeof(c->password));
    free(c);
}

/* ------------------------------------------------------------------ a call */

static int say_unreachable(const struct client *c)
{
    long error = 0;
    (void)curl_easy_getinfo(c->curl, CURLINFO_OS_ERRNO, &error);
    (void)client_failed(c->command,
                        "no server answers at %s: %s\n"
                        "Is it running (entrepot serve)? --admin or --config says where it is.",
                        c->address, error ? strerror((int)error) : c->problem);
    return STATUS_UNREACHABLE;
}

static int say_broken(const struct client *c, CURLcode code)
{
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
        return say_unreachable(c);
    if (c->failed == -ECANCELED)
        return STATUS_FAILED; /* who ended it has said why */
    return client_failed(c->command, "%s: the answer broke off: %s", c->address,
                         c->failed < 0 ? strerror(-c->failed)
                         : *c->problem ? c->problem
                                       : curl_easy_strerror(code));
}

/* What the server says of its refusal. */
static int say_refused(const struct client *c)
{
    AUTO_JSON json_t *answer = NULL;
    const char *message = NULL;
    if (json_text_read(c->answer.data, c->answer.len, 0, &answer, NULL) == 0)
        message = json_string_value(json_object_get(json_object_get(answer, "error"), "message"));
    if (message)
        return client_failed(c->command, "%s", message);
    return client_failed(c->command, "%s answers with status %ld", c->address, c->status);
}

static int call(struct client *c, const char *method, const char *target, const char *body)
{
    AUTO_BUF struct buf url = BUF_INIT(64 * KIB);
    buf_reset(&c->answer);
    c->problem[0] = '\0';
    c->status = 0;
    c->failed = 0;
    if (buf_addf(&url, "%s%s", c->origin, target) < 0 || curl_easy_setopt(c->curl, CURLOPT_URL, url.data) != CURLE_OK ||
        curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method) != CURLE_OK ||
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body) != CURLE_OK)
        return client_failed(c->command, "%s", strerror(ENOMEM));
    if (body)
        (void)curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    else
        (void)curl_easy_setopt(c->curl, CURLOPT_HTTPGET, 1L);
    (void)curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method); /* HTTPGET has put its own there */
    CURLcode code = curl_easy_perform(c->curl);
    (void)curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &c->status);
    if (code != CURLE_OK)
        return say_broken(c, code);
    return c->status >= 400 ? say_refused(c) : STATUS_OK;
}

int client_call(struct client *c, const char *method, const char *target, const char *body, json_t **ret_answer)
{
    json_error_t error;
    c->take = NULL;
    int status = call(c, method, target, body);
    if (status != STATUS_OK)
        return status;
    int r = json_text_read(c->answer.data, c->answer.len, 0, ret_answer, &error);
    if (r == -ENOMEM)
        return client_failed(c->command, "%s", strerror(ENOMEM));
    if (r < 0)
        return client_failed(c->command, "%s: the answer is not JSON: %s", c->address, error.text);
    return STATUS_OK;
}

int client_stream(struct client *c, const char *method, const char *target, const char *body,
                  bool (*take)(void *arg, const void *data, size_t len), void *arg)
{
    c->take = take;
    c->take_arg = arg;
    return call(c, method, target, body);
}

int client_param(struct buf *target, const char *name, const char *value)
{
    if (!value || !*value)
        return 0;
    int r = buf_addf(target, "%c%s=", strchr(target->data, '?') ? '&' : '?', name);
    return r == 0 ? buf_add_urlencoded(target, value) : r;
}

long client_status(const struct client *c)
{
    return c->status;
}

int client_print_json(const json_t *answer)
{
    (void)json_dumpf(answer, stdout, JSON_INDENT(2));
    (void)putchar('\n');
    return command_printed();
}
