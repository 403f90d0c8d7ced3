/* Addresses of clients as proxies and callers write them, lists of networks, and who the client is behind trusted proxies. Pure
 * functions, any thread.
 *
 * What an end user's device or a proxy sends is information, never a reason to refuse: what cannot be understood is "not told". */
#pragma once

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADDRESS_NETWORKS_MAX 32
#define ADDRESS_TEXT_SIZE 48 /* of any address, with the NUL */

struct address {
	uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
};

struct address_network {
	struct address address;
	unsigned prefix; /* bits, of 128 */
};
struct address_list {
	struct address_network networks[ADDRESS_NETWORKS_MAX];
	size_t count;
};

/* Reads what somebody says about a client: an address with or without port, brackets, quotes, blanks or zone, IPv4 in IPv6, a list as
 * X-Forwarded-For has it, elements of Forwarded (RFC 7239). Of a list it is the last public address (those behind it are proxies inside;
 * those before it anybody may have written), else the last address. False: there is none, ret_address is untouched. */
bool address_read(const char *text, struct address *ret_address);

/* The one way an address is written: IPv4 dotted, IPv6 after RFC 5952, no zone. */
void address_print(const struct address *address, char ret_text[ADDRESS_TEXT_SIZE]);

/* Keeps the first v4_bits (of 32) or v6_bits (of 128) and clears the rest: addresses that are counted as one become equal. */
void address_mask(struct address *address, unsigned v4_bits, unsigned v6_bits);
bool address_is_v4(const struct address *address);

/* Parses "10.0.0.0/8, ::1, 192.168.1.7"; "" gives an empty list. ST_INVALID_ARGUMENT otherwise. */
MUST_USE enum status address_list_parse(const char *text, struct address_list *ret_list);
bool address_list_has(const struct address_list *list, const struct address *address);

/* The client of a request: walks from the peer outwards through the lines of X-Forwarded-For or Forwarded (in the order received) as long
 * as the hop is trusted, and ends at the first that is not, or before the first that cannot be understood. Hops further out were
 * written by nobody trusted and have no effect. A peer that is no address is copied, cut. */
void address_client(const struct address_list *trusted, const char *peer, const char *const lines[], size_t line_count,
                    char ret_text[ADDRESS_TEXT_SIZE]);
