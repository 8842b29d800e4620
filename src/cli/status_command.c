/* entrepot status, and entrepot top, which is one status after the other until it is left. */
#include "base/clock.h"
#include "cli/ask.h"
#include "cli/client.h"
#include "cli/status_view.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>

#define STATUS_PATH "/v1/status"

int status_command(const struct command *self, int argc, char **argv)
{
    const struct ask_view view = {.path = STATUS_PATH, .question = "there are no arguments", .print = status_print};
    return ask_and_show(self, argc, argv, &view);
}

/* ------------------------------------------------------------------ top */

#define ALTERNATE_SCREEN "\033[?1049h\033[?25l"
#define NORMAL_SCREEN "\033[?25h\033[?1049l"
#define HOME_AND_CLEAR "\033[H\033[J"

/* The terminal as it was found. */
struct screen {
    bool is_ours;
    int signals; /* SIGINT and SIGTERM come here; -1: not set up */
    struct termios before;
};

static int screen_enter(struct screen *s)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || (s->signals = signalfd(-1, &set, SFD_CLOEXEC)) < 0)
        return -errno;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return 0;
    if (tcgetattr(STDIN_FILENO, &s->before) < 0)
        return -errno;
    struct termios raw = s->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
        return -errno;
    s->is_ours = true;
    (void)fputs(ALTERNATE_SCREEN, stdout);
    return 0;
}

static void screen_leave(struct screen *s)
{
    if (s->is_ours) {
        (void)fputs(NORMAL_SCREEN, stdout);
        (void)fflush(stdout);
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
    }
    if (s->signals >= 0)
        (void)close(s->signals);
}

/* Waits for the next turn; true: it is to be left. */
static bool is_left(const struct screen *s, int64_t ms)
{
    struct pollfd fds[] = {{.fd = s->signals, .events = POLLIN}, {.fd = s->is_ours ? 0 : -1, .events = POLLIN}};
    char key;
    if (poll(fds, ARRAY_SIZE(fds), (int)ms) <= 0)
        return false;
    return fds[0].revents || read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q' || key == '\033';
}

static int watch(struct client *client, struct screen *screen, int64_t interval_ms)
{
    do {
        AUTO_JSON json_t *status = NULL;
        int r = client_call(client, "GET", STATUS_PATH, NULL, &status);
        if (r != STATUS_OK)
            return r;
        if (screen->is_ours)
            (void)fputs(HOME_AND_CLEAR, stdout);
        r = status_print(status);
        if (r == STATUS_OK && screen->is_ours)
            printf("\nq leaves\n");
        else if (r == STATUS_OK)
            putchar('\n');
        if (r == STATUS_OK)
            r = command_printed();
        if (r != STATUS_OK)
            return r;
    } while (!is_left(screen, interval_ms));
    return STATUS_OK;
}

int top_command(const struct command *self, int argc, char **argv)
{
    static const struct option options[] = {{"interval", required_argument, NULL, 'i'}, CLIENT_OPTIONS, {0}};
    struct client_options client_options = {0};
    AUTO(auto_client_close) struct client *client = NULL;
    struct screen screen = {.signals = -1};
    double seconds = 2;
    for (int o; (o = command_option(argc, argv, options)) != -1;) {
        char *end = NULL;
        if (client_take_option(&client_options, o, optarg))
            continue;
        if (o != 'i')
            return command_bad_option(self, o, argv);
        seconds = strtod(optarg, &end);
        if (end == optarg || strcmp(end, *end == 's' ? "s" : "") != 0 || !(seconds >= 0.1 && seconds <= 3600))
            return command_misused(self, "%s: an interval is from 0.1 to 3600 seconds", optarg);
    }
    if (optind < argc)
        return command_misused(self, "there are no arguments");
    if (client_options.json)
        return command_misused(self, "for programs there is entrepot status --json");
    int r = client_open(self, &client_options, &client);
    if (r != STATUS_OK)
        return r;
    int e = screen_enter(&screen);
    if (e == 0)
        r = watch(client, &screen, (int64_t)(seconds * CLOCK_SECOND));
    screen_leave(&screen);
    return e < 0 ? client_failed(self, "the terminal: %s", strerror(-e)) : r;
}
