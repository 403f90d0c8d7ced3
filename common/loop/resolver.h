/* Names to addresses, in a thread of its own: getaddrinfo takes as long as the name servers are silent, and the loop must not.
 * One asker per resolver, so that nobody waits behind the names of others. */
#pragma once

#include "loop/loop.h"

#define RESOLVER_NAMES_MAX 32     /* of one question */
#define RESOLVER_ADDRESSES_MAX 64 /* of one answer */
#define RESOLVER_ADDRESS_SIZE 64

struct resolver;

struct resolved {
	bool whole;     /* every name was answered for */
	unsigned count; /* of addresses; 0 when no name was answered for */
	struct resolved_address {
		unsigned name; /* place of its name in the question */
		bool v6;
		char text[RESOLVER_ADDRESS_SIZE]; /* numeric, without brackets */
	} found[RESOLVER_ADDRESSES_MAX];          /* those of a name stand in the order in which they should be tried */
};
typedef void (*resolver_fn)(void *arg, const struct resolved *resolved);

/* Its thread starts with the first question. Aborts without memory. */
struct resolver *resolver_new(struct loop *loop);
/* After loop_run has returned. Does not wait for a question that is in work; nothing is called any more. NULL and *NULL are allowed. */
void resolver_free(struct resolver **resolver);

/* Asks for the addresses of all names, which are copied; a numeric address is its own. fn runs once, on the loop's thread, when all
 * names were looked up. Loop's thread, or before the loop runs. False, and fn does not run, with too many names or without a thread
 * or memory. */
MUST_USE bool resolver_ask(struct resolver *resolver, const char *const *names, unsigned count, resolver_fn fn,
                           void *arg);
