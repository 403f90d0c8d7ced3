/* Addresses of clients: lists of networks, and who the client is behind a trusted proxy. Pure functions. */
#pragma once

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADDRESS_NETWORKS_MAX 32
#define ADDRESS_TEXT_SIZE 48

struct address_network {
	uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
	unsigned prefix;   /* bits, of 128 */
};
struct address_list {
	struct address_network networks[ADDRESS_NETWORKS_MAX];
	size_t count;
};

/* Parses "10.0.0.0/8, ::1, 192.168.1.7"; "" gives an empty list. ST_INVALID_ARGUMENT otherwise. */
MUST_USE enum status address_list_parse(const char *text, struct address_list *ret_list);
bool address_list_has(const struct address_list *list, const char *address);

/* The client's address: the last hop of forwarded_for (X-Forwarded-For; may be NULL) when the peer is trusted and that hop
 * is an address, else the peer. Written to ret_text. */
void address_client(const struct address_list *trusted, const char *peer, const char *forwarded_for,
                    char ret_text[ADDRESS_TEXT_SIZE]);
