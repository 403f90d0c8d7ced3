/* Rate limits without locks and in bounded memory: one time stamp per caller (generic cell rate algorithm). Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct limiter;

/* Allows `rate_per_sec` on average and `burst` at once per caller. rate_per_sec 0 = everything is allowed. NULL without
 * memory. */
struct limiter *limiter_new(int64_t rate_per_sec, int64_t burst);
void limiter_free(struct limiter **limiter);

/* Takes `cost` units for the caller named by the bytes. Returns 0 when allowed, else the milliseconds to wait (at least 1);
 * nothing is taken then. cost 0 only asks for one. */
uint32_t limiter_take(struct limiter *limiter, const void *caller, size_t caller_len, int64_t cost);

/* The same for the client at an address. An address costs its owner nothing: one customer has a whole IPv6 /64, which counts as one. */
uint32_t limiter_take_address(struct limiter *limiter, const char *client, int64_t cost);
