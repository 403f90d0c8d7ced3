/* One place of the bus as settings name it: "host:port", "[::1]:port", "*:port", or "ipc:///path" (a Unix socket). */
#pragma once

#include "base/status.h"

#include <stdbool.h>

#define ENDPOINT_ADDRESS_SIZE 288

struct endpoint {
	bool local;     /* a Unix socket */
	char host[256]; /* name or address without brackets; of a Unix socket its path */
	unsigned port;  /* 1..64535; 0 when local */
};

/* ST_INVALID_ARGUMENT when text is none of the above. */
MUST_USE enum status endpoint_parse(const char *text, struct endpoint *ret_endpoint);
/* The first endpoint of a list with commas; *list moves behind it, to NULL after the last. *list must not be NULL. */
MUST_USE enum status endpoint_next(const char **list, struct endpoint *ret_endpoint);
/* ZeroMQ's address: of the calls, or of the PUB socket beside it (port + 1000, or path.pub). */
void endpoint_address(const struct endpoint *endpoint, bool is_pub, char ret_address[ENDPOINT_ADDRESS_SIZE]);
