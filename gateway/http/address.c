/* Addresses of clients and lists of networks. */
#include "http/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static bool address_parse(const char *text, uint8_t ret_bytes[16], unsigned *ret_bits)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	uint8_t v4[4];
	if (inet_pton(AF_INET, text, v4) == 1) {
		memcpy(ret_bytes, mapped, sizeof(mapped));
		memcpy(ret_bytes + sizeof(mapped), v4, sizeof(v4));
		*ret_bits = 32;
		return true;
	}
	*ret_bits = 128;
	return inet_pton(AF_INET6, text, ret_bytes) == 1;
}

static bool address_parse_prefix(const char *text, unsigned bits, unsigned *ret_prefix)
{
	size_t digits = strspn(text, "0123456789");
	unsigned prefix = 0;
	if (digits == 0 || digits > 3 || text[digits] != '\0')
		return false;
	for (size_t i = 0; i < digits; i++)
		prefix = prefix * 10 + (unsigned)(text[i] - '0');
	*ret_prefix = prefix + (128 - bits);
	return prefix <= bits;
}

static bool address_network_parse(const char *text, size_t len, struct address_network *ret_network)
{
	char word[ADDRESS_TEXT_SIZE + 4];
	unsigned bits = 0;
	if (len == 0 || len >= sizeof(word))
		return false;
	memcpy(word, text, len);
	word[len] = '\0';
	char *slash = strchr(word, '/');
	if (slash != NULL)
		*slash = '\0';
	if (!address_parse(word, ret_network->bytes, &bits))
		return false;
	ret_network->prefix = 128;
	return slash == NULL || address_parse_prefix(slash + 1, bits, &ret_network->prefix);
}

enum status address_list_parse(const char *text, struct address_list *ret_list)
{
	struct address_list list = {0};
	for (text += strspn(text, ", "); *text != '\0'; text += strspn(text, ", ")) {
		size_t len = strcspn(text, ", ");
		if (list.count == ADDRESS_NETWORKS_MAX || !address_network_parse(text, len, &list.networks[list.count]))
			return ST_INVALID_ARGUMENT;
		list.count++;
		text += len;
	}
	*ret_list = list;
	return ST_OK;
}

static bool address_in(const struct address_network *network, const uint8_t bytes[16])
{
	unsigned whole = network->prefix / 8;
	unsigned rest = network->prefix % 8;
	if (memcmp(network->bytes, bytes, whole) != 0)
		return false;
	return rest == 0 || ((network->bytes[whole] ^ bytes[whole]) >> (8 - rest)) == 0;
}

bool address_list_has(const struct address_list *list, const char *address)
{
	uint8_t bytes[16];
	unsigned bits = 0;
	if (list->count == 0 || !address_parse(address, bytes, &bits))
		return false;
	for (size_t i = 0; i < list->count; i++) {
		if (address_in(&list->networks[i], bytes))
			return true;
	}
	return false;
}

void address_client(const struct address_list *trusted, const char *peer, const char *forwarded_for,
                    char ret_text[ADDRESS_TEXT_SIZE])
{
	uint8_t bytes[16];
	unsigned bits = 0;
	char hop[ADDRESS_TEXT_SIZE];
	snprintf(ret_text, ADDRESS_TEXT_SIZE, "%s", peer);
	if (forwarded_for == NULL || !address_list_has(trusted, peer))
		return;
	const char *comma = strrchr(forwarded_for, ',');
	const char *last = comma != NULL ? comma + 1 : forwarded_for;
	last += strspn(last, " \t");
	size_t len = strcspn(last, " \t");
	if (len == 0 || len >= sizeof(hop))
		return;
	memcpy(hop, last, len);
	hop[len] = '\0';
	if (address_parse(hop, bytes, &bits))
		snprintf(ret_text, ADDRESS_TEXT_SIZE, "%s", hop);
}
