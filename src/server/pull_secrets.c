#include "server/pull_secrets.h"

#include "base/clock.h"
#include "server/authorization.h"
#include "server/patience.h"
#include "server/verdicts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define REFUSED_FOR_MS (10 * CLOCK_MINUTE)

struct pull_secrets {
    bool plain; /* without TLS, too */
    struct verdicts *verdicts;
    struct patience *patience;
};

int pull_secrets_create(const struct config *config, struct pull_secrets **ret_secrets)
{
    const unsigned failures = config->server.auth.failures;
    *ret_secrets = NULL;
    if (config->server.auth.pull_secrets == CONFIG_PULL_SECRETS_OFF || config_has_logins(config))
        return 0;
    struct pull_secrets *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->plain = config->server.auth.pull_secrets == CONFIG_PULL_SECRETS_ALWAYS;
    int r = verdicts_create(&s->verdicts);
    if (r == 0)
        r = patience_create(failures, CLOCK_MINUTE, failures, &s->patience);
    if (r < 0)
        pull_secrets_destroy(s);
    else
        *ret_secrets = s;
    return r;
}

void pull_secrets_destroy(struct pull_secrets *s)
{
    if (!s)
        return;
    verdicts_destroy(s->verdicts);
    patience_destroy(s->patience);
    free(s);
}

void pull_secrets_take(struct pull_secrets *s, const char *authorization, const char *address, bool secure,
                       struct pull_secret *ret_secret)
{
    AUTO(authorization_finish) struct authorization given = {.kind = AUTHORIZATION_NONE};
    struct verdicts_key key;
    *ret_secret = (struct pull_secret){.offered = secure || s->plain};
    if (!ret_secret->offered || authorization_parse(authorization, &given) < 0)
        return;
    if (given.kind != AUTHORIZATION_BASIC || !*given.user)
        return;
    int64_t wait_ms = patience_ask(s->patience, address, clock_monotonic_ms(), /* take= */ false);
    ret_secret->retry_after_s = (int)((wait_ms + CLOCK_SECOND - 1) / CLOCK_SECOND);
    ret_secret->login = authorization;
    verdicts_key(s->verdicts, (const char *const[]){given.user, given.password}, 2, &key);
    for (size_t i = 0; i < sizeof(key.bytes); i++)
        (void)snprintf(ret_secret->key + 2 * i, 3, "%02x", key.bytes[i]);
}

void pull_secrets_note_refusal(struct pull_secrets *s, const struct pull_secret *secret, const char *address)
{
    const int64_t now = clock_monotonic_ms();
    struct verdicts_key key;
    bool value;
    verdicts_key(s->verdicts, (const char *const[]){"refused", secret->key, address}, 3, &key);
    if (verdicts_recall(s->verdicts, &key, now, &value))
        return;
    verdicts_note(s->verdicts, &key, false, now + REFUSED_FOR_MS);
    patience_charge(s->patience, address, now);
}
