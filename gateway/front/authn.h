/* Who calls: management, API and client keys, cached for a short time and dropped when the ledger says they are gone. */
#pragma once

#include "front/limiter.h"
#include "http/request.h"

#define CREDENTIAL_SIZE 96
#define AUTHN_PERMISSIONS_MAX 64 /* bits */

/* What an Authorization header presents. */
struct credential {
	char secret[CREDENTIAL_SIZE];
	char key_id[ID_TEXT_SIZE]; /* HTTP Basic only: the client id that the secret must belong to; else "" */
};

/* Reads "Bearer dmk_...", "Bearer dak_..." or "Basic <id:dcs_...>". Form and checksum are checked, so a typing error costs no
 * look-up. False = not acceptable. Wipe the credential after use. */
bool authn_parse(const char *authorization, struct credential *ret_credential);

struct authn;

/* failures limits wrong keys per client address; borrowed. NULL without memory. */
struct authn *authn_new(struct limiter *failures);
void authn_free(struct authn **authn);

/* The bit of a permission such as "users:read", registered (borrowed) at its first use; "none" gives 0. False when 64 others were
 * registered before. Only before requests are served. */
bool authn_permission_bit(struct authn *authn, const char *permission, uint64_t *ret_bit);

/* Authenticates the request's Authorization header and fills exchange->principal. ST_UNAUTHENTICATED, ST_THROTTLED, or the
 * bus's failure; exchange->failure is filled. */
MUST_USE enum status authn_check(struct authn *authn, struct exchange *exchange);

/* A key was revoked, rotated or changed: forgets everything cached about it. key_id NULL = all keys. Any thread. */
void authn_forget(struct authn *authn, const char *key_id);
