/* How often somebody may ask: a budget for each key, each account and each address. Any thread. */
#pragma once

#include "dialects/dialect.h"

struct limits;

/* Requests a second on average, as many at once; 0 = no limit. */
struct limits_options {
	int64_t key, account, address;
};
struct limits *limits_new(const struct limits_options *options); /* NULL without memory */
void limits_free(struct limits **limits);

/* Takes one request from the budget of who asks, by the route's rate class; nobody is known by the address, of which IPv6 counts the /64.
 * ST_RESOURCE_EXHAUSTED (failure filled, with the time to wait) when it is spent. */
MUST_USE enum status limits_take(struct limits *limits, struct exchange *exchange);
