/* Who calls: management, API and client keys, cached for a short time and dropped when the ledger says they are gone; while
 * the ledger is not followed, asked anew. */
#pragma once

#include "dialects/credential.h"
#include "front/limiter.h"

#define AUTHN_PERMISSIONS_MAX 64 /* bits */

struct authn;

/* failures limits wrong keys per client address; borrowed. NULL without memory. */
struct authn *authn_new(struct limiter *failures);
void authn_free(struct authn **authn);

/* The bit of a permission such as "users:read", registered (borrowed) at its first use; "none" gives 0. False when 64 others were
 * registered before. Only before requests are served. */
bool authn_permission_bit(struct authn *authn, const char *permission, uint64_t *ret_bit);

/* Looks the key of a secret up and fills exchange->caller but for its kind. ST_UNAUTHENTICATED (also when the key has another name than the
 * credential says), ST_THROTTLED, or the bus's failure; exchange->failure is filled. */
MUST_USE enum status authn_check(struct authn *authn, struct exchange *exchange, const struct credential *credential);

/* A key was revoked, rotated or changed: forgets everything cached about it. key_id NULL = all keys. Any thread. */
void authn_forget(struct authn *authn, const char *key_id);
