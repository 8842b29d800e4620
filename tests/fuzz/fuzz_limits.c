/* What a registry says of its limits: two header fields and the body of a 429, a line each but for the last. Whatever
 * it says, numbers stay in their bounds and waits end. */
#include "upstream/budget.h"
#include "upstream/limit429.h"

#include "base/auto.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void check_budget(const char *limit, const char *remaining)
{
    static const struct budget_policy policy = {.reserve_percent = {0, 10, 100}, .probe_after_ms = 300000};
    struct budget_fields f;
    budget_parse(limit, remaining, &f);
    must(f.limit >= -1 && f.remaining >= -1 && f.window_ms >= -1 && f.window_ms != 0);
    must(f.window_ms <= BUDGET_WINDOW_MAX_MS && f.present == (f.limit >= 0 || f.remaining >= 0));

    struct budget b;
    budget_init(&b);
    budget_observe(&b, &f, limit, 1000);
    budget_pull_refused(&b, f.remaining, 2000, UINT64_MAX);
    must(b.pull_until <= 2000 + BUDGET_WINDOW_MAX_MS);
    budget_observe(&b, &f, remaining, 3000);
    for (int class = 0; class < UPSTREAM_CLASSES; class ++) {
        int64_t wait = 1;
        (void)budget_ask(&b, (enum upstream_class) class, &policy, 4000, &wait);
        must(wait > 0 && wait <= BUDGET_WINDOW_MAX_MS);
    }
    must(budget_empty_in_ms(&b, 5000) >= -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *rest = text, *limit = strsep(&rest, "\n"), *remaining = rest ? strsep(&rest, "\n") : NULL;
    check_budget(limit, remaining ? remaining : "");
    if (!rest)
        return 0;
    for (int manifest = 0; manifest < 2; manifest++) {
        int64_t pause = 1;
        const struct limit_answer a = {manifest, rest, size - (size_t)(rest - text)};
        enum limit_kind kind = limit429_classify(&a, &pause);
        must(kind <= LIMIT_ABUSE && pause > 0 && pause <= 60000 && (manifest || kind != LIMIT_PULL));
    }
    return 0;
}
