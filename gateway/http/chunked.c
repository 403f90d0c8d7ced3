/* The chunked transfer coding. */
#include "http/chunked.h"

#include "http/guard.h"

#include <string.h>

#define SIZE_DIGITS_MAX 15

static int chunked_hex(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

static enum chunked_state chunked_size(struct chunked *chunked, unsigned char c)
{
	int digit = chunked_hex(c);
	if (digit >= 0) {
		chunked->left = chunked->left * 16 + (uint64_t)digit;
		return ++chunked->digits <= SIZE_DIGITS_MAX ? CHUNKED_SIZE : CHUNKED_BAD;
	}
	if (chunked->digits == 0)
		return CHUNKED_BAD;
	if (c == '\r')
		return CHUNKED_SIZE_LF;
	if (c == ';')
		return CHUNKED_EXTENSION;
	return c == ' ' || c == '\t' ? CHUNKED_BLANK : CHUNKED_BAD;
}

/* What may stand in an extension or in a trailer field's value; each counts. */
static bool chunked_extra(struct chunked *chunked, unsigned char c)
{
	return (c >= 0x20 || c == '\t') && c != 0x7f && ++chunked->extra <= CHUNKED_EXTRA_MAX_BYTES;
}

/* One byte that is not of a chunk's data. */
static enum chunked_state chunked_step(struct chunked *chunked, unsigned char c)
{
	switch (chunked->state) {
	case CHUNKED_SIZE:
		return chunked_size(chunked, c);
	case CHUNKED_BLANK: /* blanks may only stand before a semicolon */
		if (c == ';')
			return CHUNKED_EXTENSION;
		return (c == ' ' || c == '\t') && chunked_extra(chunked, c) ? CHUNKED_BLANK : CHUNKED_BAD;
	case CHUNKED_EXTENSION:
		if (c == '\r')
			return CHUNKED_SIZE_LF;
		return chunked_extra(chunked, c) ? CHUNKED_EXTENSION : CHUNKED_BAD;
	case CHUNKED_SIZE_LF:
		if (c != '\n')
			return CHUNKED_BAD;
		return chunked->left > 0 ? CHUNKED_DATA : CHUNKED_TRAILER;
	case CHUNKED_DATA_CR:
		return c == '\r' ? CHUNKED_DATA_LF : CHUNKED_BAD;
	case CHUNKED_DATA_LF:
		chunked->digits = 0;
		return c == '\n' ? CHUNKED_SIZE : CHUNKED_BAD;
	case CHUNKED_TRAILER:
		if (c == '\r')
			return CHUNKED_LAST_LF;
		return guard_token_char(c) && chunked_extra(chunked, c) ? CHUNKED_TRAILER_NAME : CHUNKED_BAD;
	case CHUNKED_TRAILER_NAME:
		if (c == ':')
			return CHUNKED_TRAILER_VALUE;
		return guard_token_char(c) && chunked_extra(chunked, c) ? CHUNKED_TRAILER_NAME : CHUNKED_BAD;
	case CHUNKED_TRAILER_VALUE:
		if (c == '\r')
			return CHUNKED_TRAILER_LF;
		return chunked_extra(chunked, c) ? CHUNKED_TRAILER_VALUE : CHUNKED_BAD;
	case CHUNKED_TRAILER_LF:
		return c == '\n' ? CHUNKED_TRAILER : CHUNKED_BAD;
	case CHUNKED_LAST_LF:
		return c == '\n' ? CHUNKED_END : CHUNKED_BAD;
	default:
		return CHUNKED_BAD;
	}
}

size_t chunked_decode(struct chunked *chunked, char *data, size_t len)
{
	size_t out = 0;
	for (size_t at = 0; at < len && chunked->state < CHUNKED_END;) {
		if (chunked->state != CHUNKED_DATA) {
			chunked->state = chunked_step(chunked, (unsigned char)data[at++]);
			continue;
		}
		size_t piece = len - at < chunked->left ? len - at : (size_t)chunked->left;
		memmove(data + out, data + at, piece);
		out += piece;
		at += piece;
		chunked->left -= piece;
		if (chunked->left == 0)
			chunked->state = CHUNKED_DATA_CR;
	}
	return out;
}
