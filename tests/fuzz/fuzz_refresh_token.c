/* Fuzzes what refresh reads: refresh_parse accepts only what refresh_format makes. */
#include "../../services/session/refresh.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct refresh_keys keys;
	static bool ready;
	static const struct id project = {{1}};
	struct refresh_token token;
	char text[REFRESH_TEXT_SIZE];
	char *input = malloc(size + 1);

	if (!input)
		return 0;
	if (!ready) {
		secret_init();
		refresh_derive_keys("fuzz secret of thirty-two letters", &keys);
		ready = true;
	}
	memcpy(input, data, size);
	input[size] = '\0';
	if (refresh_parse(&keys, &project, input, &token) == ST_OK) {
		refresh_format(&keys, &project, &token, text);
		if (strcmp(text, input) != 0)
			abort();
	}
	free(input);
	return 0;
}
