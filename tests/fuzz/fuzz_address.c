/* Fuzz target: addresses as anybody may write them. What is understood must print as an address that reads the same, and what stands before
 * the last address that a trusted proxy wrote must have no effect on who the client is. */
#include "base/address.h"

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
	static const char nearest[] = ", for=\"[2001:db8::9]:1\";by=\"_a\", for=10.0.0.2";
	char *text = malloc(size + sizeof(nearest));
	char shown[ADDRESS_TEXT_SIZE];
	struct address address, again;
	struct address_list trusted;
	const char *lines[1] = {text};
	if (!text)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	if (address_read(text, &address)) {
		address_print(&address, shown);
		must(address_read(shown, &again) && memcmp(&address, &again, sizeof(address)) == 0);
	}
	memcpy(text + strlen(text), nearest, sizeof(nearest));
	must(address_list_parse("10.0.0.0/8", &trusted) == ST_OK);
	address_client(&trusted, "10.0.0.1", lines, 1, shown);
	must(strcmp(shown, "2001:db8::9") == 0);
	free(text);
	return 0;
}
