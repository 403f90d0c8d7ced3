/* Growing byte buffer. A buffer whose growth failed stays in the failed state: check buf_ok once at the end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *data;      /* owned; not NUL-terminated */
	size_t len;      /* bytes used */
	size_t capacity; /* bytes allocated */
	size_t max;      /* never grows beyond this; 0 = 64 MiB */
	bool failed;     /* some append did not fit */
};

void buf_free(struct buf *buf);  /* releases and zeroes the struct; a zeroed struct buf is a valid empty buffer */
void buf_reset(struct buf *buf); /* empties, keeps the memory, clears `failed` */
bool buf_ok(const struct buf *buf);
void buf_add(struct buf *buf, const void *data, size_t len_bytes);
void buf_add_str(struct buf *buf, const char *text);
void buf_add_char(struct buf *buf, char c);
void buf_add_int(struct buf *buf, int64_t value);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends text as a JSON string with quotes and escapes (RFC 8259 section 7). The input must be valid UTF-8. */
void buf_add_json_string(struct buf *buf, const char *text, size_t len_bytes);

/* Reserves room for len_bytes more and returns where they go (NULL on failure); the caller then adds to buf->len. */
char *buf_reserve(struct buf *buf, size_t len_bytes);
