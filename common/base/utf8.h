/* Whether bytes are text: valid UTF-8 (RFC 3629) without NUL. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Number of bytes from the start that are valid UTF-8 without NUL. */
size_t utf8_valid_prefix(const char *text, size_t len_bytes);

/* Whether all of it is. */
bool utf8_valid(const char *text, size_t len_bytes);
