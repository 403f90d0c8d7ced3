/* Public signing keys of projects, read from claims and kept for a short time. Any thread. */
#pragma once

#include "base/token.h"
#include "http/request.h"

struct keysets;
struct keyset; /* the keys of one project; immutable, counted */

struct keysets *keysets_new(void); /* NULL without memory */
void keysets_free(struct keysets **keysets);

/* The keys of the exchange's project, read again (at most every 100 ms; waits for its turn) when kid is not among them. Release with
 * keyset_release. ST_INVALID_TOKEN when the project has no such key; else the bus's failure. */
MUST_USE enum status keysets_get(struct keysets *keysets, struct exchange *exchange, const char *kid,
                                 struct keyset **ret_keys);
void keyset_release(struct keyset **keys);

/* As token_key_find; arg is a struct keyset. */
const struct token_key *keyset_find(void *arg, const struct id *project, const char *kid);

/* Reads the project's keys again at the next use; NULL = of all projects. */
void keysets_forget(struct keysets *keysets, const struct id *project);
