/* Fuzz target: ids, pasted secrets, base64url, hex and RFC 3339: what is read is written back as the same text. */
#include "base/clock.h"
#include "base/secret.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_id(const char *text)
{
	struct id id;
	char again[ID_TEXT_SIZE];
	if (!id_parse("usr", text, &id))
		return;
	id_format("usr", &id, again);
	must(strcmp(text, again) == 0);
}

static void check_base64url(const char *text, size_t len_chars)
{
	size_t len = len_chars;
	uint8_t *bytes = malloc(len_chars + 1);
	char *again = malloc(len_chars + 8);
	must(bytes && again);
	if (base64url_decode(text, len_chars, bytes, &len))
		must(base64url_encode(bytes, len, again) == len_chars && memcmp(text, again, len_chars) == 0);
	free(bytes);
	free(again);
}

static void check_hex(const char *text, size_t len_chars)
{
	uint8_t *bytes = malloc(len_chars / 2 + 1);
	char *again = malloc(len_chars + 1);
	must(bytes && again);
	if (hex_decode(text, len_chars, bytes)) {
		hex_encode(bytes, len_chars / 2, again);
		must(strlen(again) == len_chars);
	}
	free(bytes);
	free(again);
}

static void check_time(const char *text, size_t len_chars)
{
	int64_t us, again_us;
	char again[CLOCK_RFC3339_SIZE];
	if (!clock_parse_rfc3339(text, len_chars, &us))
		return;
	clock_format_rfc3339(us, again);
	must(clock_parse_rfc3339(again, strlen(again), &again_us));
	/* An offset may lead out of the years that have a text; inside them only the fraction is shortened. */
	must(strncmp(again, "0000-01-01", 10) == 0 || strncmp(again, "9999-12-31", 10) == 0 ||
	     (us - again_us >= 0 && us - again_us < US_PER_MS));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	must(text != NULL);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	check_id(text);
	if (secret_text_valid("dmk", text))
		must(strlen(text) == strlen("dmk_") + 43 + 6);
	check_base64url(text, size);
	check_hex(text, size);
	check_time(text, size);
	free(text);
	return 0;
}
