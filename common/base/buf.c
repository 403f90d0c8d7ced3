/* Growing byte buffer with a sticky failure. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_MAX_BYTES (64u * 1024 * 1024)
#define FIRST_BYTES 256u

void buf_free(struct buf *buf)
{
	free(buf->data);
	memset(buf, 0, sizeof(*buf));
}

void buf_reset(struct buf *buf)
{
	buf->len = 0;
	buf->failed = false;
}

bool buf_ok(const struct buf *buf)
{
	return !buf->failed;
}

char *buf_reserve(struct buf *buf, size_t len_bytes)
{
	size_t max = buf->max ? buf->max : DEFAULT_MAX_BYTES;
	if (buf->failed)
		return NULL;
	if (buf->data && len_bytes <= buf->capacity - buf->len)
		return buf->data + buf->len;
	if (buf->len > max || len_bytes > max - buf->len) {
		buf->failed = true;
		return NULL;
	}
	size_t need = buf->len + len_bytes;
	size_t capacity = buf->capacity ? buf->capacity : FIRST_BYTES;
	while (capacity < need)
		capacity *= 2;
	if (capacity > max)
		capacity = max;
	char *data = realloc(buf->data, capacity ? capacity : 1);
	if (!data) {
		buf->failed = true;
		return NULL;
	}
	buf->data = data;
	buf->capacity = capacity;
	return data + buf->len;
}

void buf_add(struct buf *buf, const void *data, size_t len_bytes)
{
	if (!len_bytes)
		return;
	char *to = buf_reserve(buf, len_bytes);
	if (!to)
		return;
	memcpy(to, data, len_bytes);
	buf->len += len_bytes;
}

void buf_add_str(struct buf *buf, const char *text)
{
	buf_add(buf, text, strlen(text));
}

void buf_add_char(struct buf *buf, char c)
{
	buf_add(buf, &c, 1);
}

void buf_add_int(struct buf *buf, int64_t value)
{
	char digits[24];
	char *at = digits + sizeof(digits);
	uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	do
		*--at = (char)('0' + rest % 10);
	while (rest /= 10);
	if (value < 0)
		*--at = '-';
	buf_add(buf, at, (size_t)(digits + sizeof(digits) - at));
}

void buf_printf(struct buf *buf, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	size_t room = buf->data && !buf->failed ? buf->capacity - buf->len : 0;
	int len = vsnprintf(room ? buf->data + buf->len : NULL, room, format, args);
	if (len < 0) {
		buf->failed = true;
	} else if ((size_t)len < room) {
		buf->len += (size_t)len;
	} else {
		/* vsnprintf also writes a NUL, which is not kept: print beside the buffer when only that does not fit. */
		char *text = malloc((size_t)len + 1);
		if (text && vsnprintf(text, (size_t)len + 1, format, again) == len)
			buf_add(buf, text, (size_t)len);
		else
			buf->failed = true;
		free(text);
	}
	va_end(again);
	va_end(args);
}

/* What stands for a byte in a JSON string: 0 = itself, 'u' = \u00XX, else the letter after the backslash. */
static const char json_escape[256] = {
    ['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't',
    [0x00] = 'u', [0x01] = 'u',  [0x02] = 'u', [0x03] = 'u', [0x04] = 'u', [0x05] = 'u', [0x06] = 'u',
    [0x07] = 'u', [0x0b] = 'u',  [0x0e] = 'u', [0x0f] = 'u', [0x10] = 'u', [0x11] = 'u', [0x12] = 'u',
    [0x13] = 'u', [0x14] = 'u',  [0x15] = 'u', [0x16] = 'u', [0x17] = 'u', [0x18] = 'u', [0x19] = 'u',
    [0x1a] = 'u', [0x1b] = 'u',  [0x1c] = 'u', [0x1d] = 'u', [0x1e] = 'u', [0x1f] = 'u',
};

void buf_add_json_string(struct buf *buf, const char *text, size_t len_bytes)
{
	static const char hex[] = "0123456789abcdef";
	size_t plain = 0;

	buf_add_char(buf, '"');
	for (size_t i = 0; i < len_bytes; i++) {
		unsigned char c = (unsigned char)text[i];
		char how = json_escape[c];
		if (!how)
			continue;
		buf_add(buf, text + plain, i - plain);
		plain = i + 1;
		char escaped[6] = {'\\', how, '0', '0', hex[c >> 4], hex[c & 15]};
		buf_add(buf, escaped, how == 'u' ? 6 : 2);
	}
	buf_add(buf, text + plain, len_bytes - plain);
	buf_add_char(buf, '"');
}
