/*
 * Base64 (RFC 4648 §4) and base64url (§5) into bytes, with or without its padding. Pure; any thread.
 */
#pragma once

#include "base/auto.h"

#include <stddef.h>

enum base64_alphabet { BASE64, BASE64_URL };

/* `bytes` has room for BASE64_ROOM(len). -EINVAL: a character that does not belong there, or a length that cannot be.
 */
#define BASE64_ROOM(len) ((len) / 4 * 3 + 3)
MUST_CHECK int base64_decode(enum base64_alphabet alphabet, const char *text, size_t len, void *bytes, size_t *ret_len);
