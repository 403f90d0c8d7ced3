/* Public signing keys of projects and the answer that publishes them, read from claims and kept until the ledger tells of a change, at
 * most for a minute. Any thread. */
#pragma once

#include "base/buf.h"
#include "base/token.h"
#include "http/request.h"

#define KEYSET_TAG_SIZE 25

struct keysets;
struct keyset; /* the keys of one project; immutable, counted */

struct keysets *keysets_new(void); /* NULL without memory */
void keysets_free(struct keysets **keysets);

/* What a set of keys must hold. */
struct keysets_want {
	const char
	    *kid; /* read again (at most every 100 ms; waits for its turn) when it is not among them; NULL = any */
	bool now; /* what was changed more than a second ago must be seen: the ledger does not tell it */
};

/* The keys of the exchange's project. Release with keyset_release. ST_NOT_FOUND when claims knows no such project; else the bus's
 * failure. A kid that is not among them is no failure. */
MUST_USE enum status keysets_get(struct keysets *keysets, struct exchange *exchange, const struct keysets_want *want,
                                 struct keyset **ret_keys);
void keyset_release(struct keyset **keys);

/* Whether keysets_get would answer without any from what is held. */
bool keysets_holds(struct keysets *keysets, const struct id *project);

/* As token_key_find; arg is a struct keyset. */
const struct token_key *keyset_find(void *arg, const struct id *project, const char *kid);

/* The JWK set (RFC 7517), and its entity tag with quotes. */
const struct buf *keyset_document(const struct keyset *keys);
const char *keyset_tag(const struct keyset *keys);

/* The project's keys changed: they are read again at the next use, and what is being read is not kept. NULL = of all projects. */
void keysets_forget(struct keysets *keysets, const struct id *project);
