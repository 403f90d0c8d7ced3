/* UTF-8 validity (RFC 3629): no surrogates, no overlong forms, nothing above U+10FFFF, no NUL. */
#include "base/utf8.h"

#include <stdint.h>

#include <string.h>

#define HIGH_BITS 0x8080808080808080ULL
#define LOW_BITS 0x0101010101010101ULL

/* Eight bytes at a time: all below 0x80 and none zero. */
static bool ascii_word(const unsigned char *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return !(word & HIGH_BITS) && !((word - LOW_BITS) & HIGH_BITS);
}

/* Length of the well-formed sequence at `at` that begins with a byte above 0x7f, 0 when there is none (RFC 3629 section 4). */
static size_t sequence_length(const unsigned char *at, size_t left)
{
	unsigned char lead = at[0], low = 0x80, high = 0xbf;
	size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;

	if (lead < 0xc2 || lead > 0xf4 || left < length)
		return 0;
	if (lead == 0xe0)
		low = 0xa0;
	else if (lead == 0xed)
		high = 0x9f;
	else if (lead == 0xf0)
		low = 0x90;
	else if (lead == 0xf4)
		high = 0x8f;
	if (at[1] < low || at[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	return length;
}

size_t utf8_valid_prefix(const char *text, size_t len_bytes)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t at = 0;

	while (at < len_bytes) {
		size_t length = 1;

		if (len_bytes - at >= 8 && ascii_word(bytes + at)) {
			at += 8;
			continue;
		}
		if (bytes[at] == 0)
			break;
		if (bytes[at] >= 0x80)
			length = sequence_length(bytes + at, len_bytes - at);
		if (length == 0)
			break;
		at += length;
	}
	return at;
}

bool utf8_valid(const char *text, size_t len_bytes)
{
	return utf8_valid_prefix(text, len_bytes) == len_bytes;
}

size_t utf8_cut(const char *text, size_t max_bytes)
{
	size_t len = strnlen(text, max_bytes + 1);

	if (len <= max_bytes)
		return len;
	for (len = max_bytes; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80; len--)
		;
	return len;
}

bool utf8_is_ascii(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text >= 0x80)
			return false;
	return true;
}
