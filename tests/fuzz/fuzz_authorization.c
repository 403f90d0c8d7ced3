/* Fuzz target: the Authorization header. What is accepted is a secret with a right checksum. */
#include "front/authn.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct credential credential;
	char *text = malloc(size + 1);
	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (authn_parse(text, &credential)) {
		bool client = credential.key_id[0] != '\0';
		bool valid =
		    client ? secret_text_valid("dcs", credential.secret)
		           : secret_text_valid("dmk", credential.secret) || secret_text_valid("dak", credential.secret);
		if (!valid)
			abort();
	}
	free(text);
	return 0;
}
