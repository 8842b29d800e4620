/* X-Forwarded-For and X-Forwarded-Proto, a line each: whoever is found is an address, written as we would. */
#include "server/forwarded.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *items[] = {(char[]){"10.0.0.0/8"}, (char[]){"fd00::/8"}, NULL};
    const struct config_list proxies = {.items = items, .count = 2};
    char *text = calloc(1, size + 1), *proto = text;
    if (!text)
        return 0;
    memcpy(text, data, size);
    char *list = strsep(&proto, "\n");
    struct forwarded f, again;
    unsigned char bytes[16];
    forwarded_read(&proxies, "10.0.0.1", list, proto, &f);
    assert(f.trusted);
    assert(inet_pton(AF_INET, f.address, bytes) == 1 || inet_pton(AF_INET6, f.address, bytes) == 1);
    forwarded_read(&proxies, "10.0.0.1", f.address, NULL, &again);
    assert(strcmp(f.address, again.address) == 0);
    forwarded_read(&proxies, "192.0.2.1", list, proto, &f);
    assert(!f.trusted && !f.secure && strcmp(f.address, "192.0.2.1") == 0);
    free(text);
    return 0;
}
