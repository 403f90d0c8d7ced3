/* The chunked transfer coding: what is taken, and that nothing else is. */
#include "http/chunked.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* Decodes in pieces of `step` bytes; returns the final state. */
static enum chunked_state decode(const char *text, size_t step, char ret_body[256])
{
	struct chunked chunked = {0};
	char piece[256];
	size_t len = strlen(text), used = 0;
	for (size_t at = 0; at < len; at += step) {
		size_t n = len - at < step ? len - at : step;
		memcpy(piece, text + at, n);
		size_t got = chunked_decode(&chunked, piece, n);
		cr_assert_leq(got, n);
		memcpy(ret_body + used, piece, got);
		used += got;
	}
	ret_body[used] = '\0';
	return chunked.state;
}

Test(gateway_chunked, bodies)
{
	static const struct {
		const char *text, *body;
	} rows[] = {
	    {"0\r\n\r\n", ""},
	    {"000\r\n\r\n", ""},
	    {"3\r\nabc\r\n0\r\n\r\n", "abc"},
	    {"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde"},
	    {"0000000000000a\r\n0123456789\r\n0\r\n\r\n", "0123456789"},
	    {"A\r\n0123456789\r\n0\r\n\r\n", "0123456789"},
	    {"3;name=value\r\nabc\r\n0;last\r\n\r\n", "abc"},
	    {"3 ; name = \"a;b\"\r\nabc\r\n0\r\n\r\n", "abc"},
	    {"2\r\n\r\n\r\n0\r\n\r\n", "\r\n"},
	    {"3\r\nabc\r\n0\r\nTrailer: x\r\nContent-Length: 5\r\n\r\n", "abc"},
	    {"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", "a"},
	};
	char body[256];
	for (size_t i = 0; i < COUNT(rows); i++) {
		for (size_t step = 1; step <= 64; step++) {
			cr_assert_eq(decode(rows[i].text, step, body), CHUNKED_END, "row %zu by %zu", i, step);
			cr_assert_str_eq(body, rows[i].body, "row %zu by %zu", i, step);
		}
	}
}

Test(gateway_chunked, what_is_no_chunk)
{
	static const char *const rows[] = {
	    "\r\n",
	    " 3\r\nabc\r\n",
	    "+3\r\nabc\r\n",
	    "-3\r\nabc\r\n",
	    "0x3\r\nabc\r\n",
	    "g\r\n",
	    ";\r\n",
	    "3\nabc\r\n",
	    "3\r\r\nabc\r\n",
	    "3\rabc\r\n",
	    "5\rA\r\nabcde\r\n",
	    "3 \r\nabc\r\n",
	    "3 a\r\nabc\r\n",
	    "3;a\nabc\r\n",
	    "3;a\x01\r\nabc\r\n",
	    "3\r\nabcd\r\n",
	    "3\r\nabc\n",
	    "3\r\nabc\r\r\n",
	    "3\r\nabc0\r\n",
	    "0\r\n\n",
	    "0\r\n\r\r\n",
	    "0\r\n a: b\r\n\r\n",
	    "0\r\nno colon\r\n\r\n",
	    "0\r\nblank : b\r\n\r\n",
	    "0\r\n: b\r\n\r\n",
	    "0\r\na: b\n\r\n",
	    "0\r\na: b\x7f\r\n\r\n",
	    "0000000000000003\r\nabc\r\n",
	    "ffffffffffffffff\r\n",
	    "8000000000000000\r\n",
	};
	char body[256];
	for (size_t i = 0; i < COUNT(rows); i++) {
		for (size_t step = 1; step <= 16; step++)
			cr_assert_eq(decode(rows[i], step, body), CHUNKED_BAD, "row %zu by %zu: %s", i, step, rows[i]);
	}
}

Test(gateway_chunked, cut_short_is_no_end)
{
	static const char text[] = "3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n";
	char cut[sizeof(text)], body[256];
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		memcpy(cut, text, len);
		cut[len] = '\0';
		cr_assert_lt(decode(cut, 5, body), CHUNKED_END, "%zu bytes", len);
	}
}

Test(gateway_chunked, extras_are_bounded)
{
	static char extension[CHUNKED_EXTRA_MAX_BYTES + 2];
	struct chunked chunked = {0};
	char size[] = "1;", last[] = "0\r\nName:";
	memset(extension, 'x', sizeof(extension));
	chunked_decode(&chunked, size, 2);
	chunked_decode(&chunked, extension, CHUNKED_EXTRA_MAX_BYTES);
	cr_assert_eq(chunked.state, CHUNKED_EXTENSION);
	chunked_decode(&chunked, extension, 1);
	cr_assert_eq(chunked.state, CHUNKED_BAD);
	chunked = (struct chunked){0};
	chunked_decode(&chunked, last, strlen(last));
	memset(extension, 'x', sizeof(extension));
	chunked_decode(&chunked, extension, sizeof(extension));
	cr_assert_eq(chunked.state, CHUNKED_BAD);
	/* Many chunks share one allowance. */
	chunked = (struct chunked){0};
	for (int i = 0; i < 600 && chunked.state < CHUNKED_END; i++) {
		char chunk[] = "1;12345678\r\na\r\n";
		chunked_decode(&chunked, chunk, sizeof(chunk) - 1);
	}
	cr_assert_eq(chunked.state, CHUNKED_BAD);
}
