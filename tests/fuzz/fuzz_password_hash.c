/* Fuzz: hash texts of imports. What the parser accepts keeps its bounds; what it refuses is never computed. */
#include "../../services/identity/credentials/password.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct password_info info;
	char *text = malloc(size + 1);
	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (password_inspect(text, &info)) {
		if (info.memory_kib > PASSWORD_MEMORY_MAX_KIB || info.passes > PASSWORD_PASSES_MAX ||
		    strlen(text) >= PASSWORD_HASH_SIZE)
			abort();
		/* Only cheap ones are computed: the libraries must cope with every text that is accepted. */
		bool cheap = info.scheme != PASSWORD_CRYPT && info.memory_kib <= 256 && info.passes <= 2;
		if (cheap && password_init() && password_verify(text, "x", 1) == ST_OK)
			abort();
	} else if (password_verify(text, "x", 1) == ST_OK) {
		abort();
	}
	free(text);
	return 0;
}
