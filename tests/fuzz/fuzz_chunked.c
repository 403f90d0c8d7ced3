/* Fuzz target: the chunked coding. However the bytes are cut into pieces, body and outcome are the same, and never longer than what came. */
#include "http/chunked.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct chunked whole = {0}, cut = {0};
	char *all = malloc(size + 1), *pieces = malloc(size + 1);
	size_t len = 0;
	must(all && pieces);
	if (size > 0)
		memcpy(all, data, size);
	size_t all_len = chunked_decode(&whole, all, size);
	for (size_t at = 0, step = size > 0 ? data[0] % 7 + 1 : 1; at < size; at += step) {
		size_t piece = size - at < step ? size - at : step;
		memcpy(pieces + len, data + at, piece);
		len += chunked_decode(&cut, pieces + len, piece);
	}
	must(all_len <= size && len == all_len && memcmp(all, pieces, len) == 0);
	must(whole.state == cut.state && whole.left == cut.left && whole.extra == cut.extra);
	must(whole.extra <= CHUNKED_EXTRA_MAX_BYTES + 1);
	free(all);
	free(pieces);
	return 0;
}
