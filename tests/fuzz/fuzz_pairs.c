/* Fuzzes the reader of queries, forms and cookies: what is accepted is valid text in bounds, and printed again it reads the same. */
#include "base/utf8.h"
#include "http/pairs.h"
#include "identity.pb-c.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
	if (!truth)
		abort();
}

static void check(const struct pairs *pairs)
{
	require(pairs->count <= PAIRS_MAX);
	for (size_t i = 0; i < pairs->count; i++) {
		const struct pbjson_text *pair = &pairs->list[i];
		require(*pair->name && strlen(pair->name) <= PAIRS_NAME_MAX_BYTES);
		require(strlen(pair->text) <= PAIRS_VALUE_MAX_BYTES);
		require(utf8_valid(pair->name, strlen(pair->name)) && utf8_valid(pair->text, strlen(pair->text)));
	}
}

static void print_encoded(struct buf *out, const char *text)
{
	for (; *text; text++)
		buf_printf(out, "%%%02x", (unsigned char)*text);
}

static void try_query(const char *text, size_t len, struct arena *arena)
{
	Identity__ListUsersRequest request = IDENTITY__LIST_USERS_REQUEST__INIT;
	struct pairs pairs = {0}, again = {0};
	struct pbjson_error error = {NULL, NULL};
	struct buf out = {0};

	if (pairs_read(text, len, arena, &pairs, &error) != ST_OK) {
		require(pairs.count == 0 && error.field && error.reason);
		return;
	}
	check(&pairs);
	for (size_t i = 0; i < pairs.count; i++) {
		print_encoded(&out, pairs.list[i].name);
		buf_add_char(&out, '=');
		print_encoded(&out, pairs.list[i].text);
		buf_add_char(&out, '&');
	}
	require(buf_ok(&out));
	if (out.len < PAIRS_NAME_MAX_BYTES) { /* longer names may be too long once each byte is encoded */
		require(pairs_read(out.data, out.len, arena, &again, &error) == ST_OK && again.count == pairs.count);
		for (size_t i = 0; i < pairs.count; i++)
			require(!strcmp(pairs.list[i].name, again.list[i].name) &&
			        !strcmp(pairs.list[i].text, again.list[i].text));
	}
	buf_free(&out);
	if (pairs_to_message(&pairs, NULL, &request.base, arena, &error) != ST_OK)
		require(error.field && error.reason);
}

static void try_cookies(const char *text, struct arena *arena)
{
	struct http_request request = {.headers = {{"cookie", text}}, .header_count = 1};
	struct pairs pairs = {0};
	struct pbjson_error error = {NULL, NULL};

	if (pairs_read_cookies(&request, arena, &pairs, &error) != ST_OK) {
		require(pairs.count == 0 && error.reason);
		return;
	}
	check(&pairs);
	for (size_t i = 0; i < pairs.count; i++)
		require(!strpbrk(pairs.list[i].name, "=; \t\"") && !strpbrk(pairs.list[i].text, "; \t\",\\"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena = arena_new(8 << 20);
	char *text = malloc(size + 1);

	require(arena && text);
	if (size)
		memcpy(text, data, size);
	text[size] = 0;
	try_query(text, size, arena);
	try_cookies(text, arena);
	free(text);
	arena_free(&arena);
	return 0;
}
