/* Fuzz target: the Authorization header. What is accepted is a secret with a right checksum. */
#include "dialects/dialect.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct exchange exchange;
	struct credential credential = {0};
	char *text = malloc(size + 1);
	if (!exchange.arena)
		exchange.arena = arena_new(1 << 22);
	if (!text || !exchange.arena)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	arena_reset(exchange.arena);
	exchange.request.headers[0] = (struct http_header){"Authorization", text};
	exchange.request.header_count = 1;
	if (native_dialect.credential(&exchange, &credential)) {
		bool valid = credential.name ? secret_text_valid("dcs", credential.text)
		                             : secret_text_valid("dmk", credential.text) ||
		                                   secret_text_valid("dak", credential.text);
		if (!valid)
			abort();
	}
	if (credential_split(&exchange, text, &credential) && strchr(credential.project, ':'))
		abort();
	free(text);
	return 0;
}
