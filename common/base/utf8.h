/* Whether bytes are text: valid UTF-8 (RFC 3629) without NUL; and what is needed of text without a library. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Number of bytes from the start that are valid UTF-8 without NUL. */
size_t utf8_valid_prefix(const char *text, size_t len_bytes);

/* Whether all of it is. */
bool utf8_valid(const char *text, size_t len_bytes);

/* Bytes of the valid text that may be kept when it may have max_bytes: all of it, or less so that no character is cut in two. */
size_t utf8_cut(const char *text, size_t max_bytes);

/* Whether the text is all ASCII. */
bool utf8_is_ascii(const char *text);

/* An ASCII letter in lower case; every other byte as it is. Unlike tolower the same in every locale. */
static inline char utf8_ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}
