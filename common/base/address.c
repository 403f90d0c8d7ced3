/* Addresses of clients, lists of networks, headers of proxies. */
#include "base/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BLANKS " \t"

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* Networks whose addresses say nothing outside the site: private, shared, loopback, link-local, unique local, unspecified. */
static const struct address_network inner[] = {
    {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10}}, 104},
    {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 100, 64}}, 106},
    {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127}}, 104},
    {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 169, 254}}, 112},
    {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 172, 16}}, 108},
    {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 168}}, 112},
    {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0}}, 104},
    {{{0}}, 127},
    {{{0xfe, 0x80}}, 10},
    {{{0xfc}}, 7},
};

static bool address_parse(const char *text, struct address *ret_address)
{
	struct address address;
	memcpy(address.bytes, mapped, sizeof(mapped));
	if (inet_pton(AF_INET, text, address.bytes + sizeof(mapped)) != 1 &&
	    inet_pton(AF_INET6, text, address.bytes) != 1)
		return false;
	*ret_address = address;
	return true;
}

static void address_trim(const char **text, size_t *len)
{
	while (*len > 0 && strchr(BLANKS, **text)) {
		(*text)++;
		(*len)--;
	}
	while (*len > 0 && strchr(BLANKS, (*text)[*len - 1]))
		(*len)--;
}

/* One node: the address without quotes, brackets, port, zone. */
static bool address_read_node(const char *text, size_t len, struct address *ret_address)
{
	char word[ADDRESS_TEXT_SIZE * 2];
	address_trim(&text, &len);
	if (len >= 2 && text[0] == '"' && text[len - 1] == '"') {
		text++;
		len -= 2;
		address_trim(&text, &len);
	}
	const char *end = len > 0 && text[0] == '[' ? memchr(text, ']', len) : NULL;
	if (end) {
		text++;
		len = (size_t)(end - text);
	}
	if (len == 0 || len >= sizeof(word))
		return false;
	memcpy(word, text, len);
	word[len] = '\0';
	char *zone = strchr(word, '%');
	if (zone)
		*zone = '\0';
	if (address_parse(word, ret_address))
		return true;
	/* Not an address as a whole: its last part may be a port. */
	char *colon = strrchr(word, ':');
	if (!colon)
		return false;
	*colon = '\0';
	return address_parse(word, ret_address);
}

/* Where the last part behind `separator` begins. Searched from the end, because the end was written by those nearest, whatever stands open
 * before it. */
static size_t address_last(const char *text, size_t len, char separator)
{
	bool quoted = false;
	for (size_t i = len; i > 0; i--) {
		if (text[i - 1] == '"' && !(i > 1 && text[i - 2] == '\\'))
			quoted = !quoted;
		else if (text[i - 1] == separator && !quoted)
			return i;
	}
	return 0;
}

/* One element of a list: a node, or pairs of which "for" names one. */
static bool address_read_element(const char *text, size_t len, struct address *ret_address)
{
	if (!memchr(text, '=', len))
		return address_read_node(text, len, ret_address);
	for (;;) {
		size_t start = address_last(text, len, ';');
		const char *pair = text + start;
		size_t pair_len = len - start;
		address_trim(&pair, &pair_len);
		if (pair_len > 4 && strncasecmp(pair, "for=", 4) == 0)
			return address_read_node(pair + 4, pair_len - 4, ret_address);
		if (start == 0)
			return false;
		len = start - 1;
	}
}

/* Cuts the last element off a list of *len bytes; empty ones are none. False when nothing is left; else *ret_found says whether it holds
 * an address. */
static bool address_pop(const char *text, size_t *len, struct address *ret_address, bool *ret_found)
{
	while (*len > 0 && strchr(BLANKS ",", text[*len - 1]))
		(*len)--;
	if (*len == 0)
		return false;
	size_t start = address_last(text, *len, ',');
	*ret_found = address_read_element(text + start, *len - start, ret_address);
	*len = start > 0 ? start - 1 : 0;
	return true;
}

static bool address_in(const struct address_network *network, const struct address *address)
{
	unsigned whole = network->prefix / 8;
	unsigned rest = network->prefix % 8;
	const uint8_t *bytes = address->bytes;
	if (memcmp(network->address.bytes, bytes, whole) != 0)
		return false;
	return rest == 0 || ((network->address.bytes[whole] ^ bytes[whole]) >> (8 - rest)) == 0;
}

static bool address_is_public(const struct address *address)
{
	for (size_t i = 0; i < sizeof(inner) / sizeof(inner[0]); i++) {
		if (address_in(&inner[i], address))
			return false;
	}
	return true;
}

bool address_read(const char *text, struct address *ret_address)
{
	struct address address, last;
	bool known = false, found = false;
	size_t len = strlen(text);
	while (address_pop(text, &len, &address, &found)) {
		if (!found)
			continue;
		if (!known)
			last = address;
		known = true;
		if (address_is_public(&address)) {
			last = address;
			break;
		}
	}
	if (known)
		*ret_address = last;
	return known;
}

bool address_is_v4(const struct address *address)
{
	return memcmp(address->bytes, mapped, sizeof(mapped)) == 0;
}

void address_print(const struct address *address, char ret_text[ADDRESS_TEXT_SIZE])
{
	if (address_is_v4(address))
		inet_ntop(AF_INET, address->bytes + sizeof(mapped), ret_text, ADDRESS_TEXT_SIZE);
	else
		inet_ntop(AF_INET6, address->bytes, ret_text, ADDRESS_TEXT_SIZE);
}

void address_mask(struct address *address, unsigned v4_bits, unsigned v6_bits)
{
	unsigned keep = address_is_v4(address) ? v4_bits + 96 : v6_bits;
	for (unsigned i = 0; i < sizeof(address->bytes); i++) {
		unsigned kept = keep > i * 8 ? keep - i * 8 : 0;
		if (kept < 8)
			address->bytes[i] &= (uint8_t)(0xff00 >> kept);
	}
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
	if (len == 0 || len >= sizeof(word))
		return false;
	memcpy(word, text, len);
	word[len] = '\0';
	char *slash = strchr(word, '/');
	if (slash)
		*slash = '\0';
	if (!address_parse(word, &ret_network->address))
		return false;
	ret_network->prefix = 128;
	unsigned bits = strchr(word, ':') ? 128 : 32;
	return !slash || address_parse_prefix(slash + 1, bits, &ret_network->prefix);
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

bool address_list_has(const struct address_list *list, const struct address *address)
{
	for (size_t i = 0; i < list->count; i++) {
		if (address_in(&list->networks[i], address))
			return true;
	}
	return false;
}

/* One line, from its end; false when the walk ended in it. */
static bool address_walk(const struct address_list *trusted, const char *line, struct address *client)
{
	struct address hop;
	bool found = false;
	size_t len = strlen(line);
	while (address_pop(line, &len, &hop, &found)) {
		if (!found)
			return false;
		*client = hop;
		if (!address_list_has(trusted, &hop))
			return false;
	}
	return true;
}

void address_client(const struct address_list *trusted, const char *peer, const char *const lines[], size_t line_count,
                    char ret_text[ADDRESS_TEXT_SIZE])
{
	struct address client;
	if (!address_parse(peer, &client)) {
		snprintf(ret_text, ADDRESS_TEXT_SIZE, "%s", peer);
		return;
	}
	bool on = address_list_has(trusted, &client);
	while (on && line_count-- > 0)
		on = address_walk(trusted, lines[line_count], &client);
	address_print(&client, ret_text);
}
