/* What the ledger took away within one token lifetime: users whose epoch moved and sessions that ended. Bounded memory; a
 * restart rebuilds it from the ledger. Any thread. */
#pragma once

#include "base/secret.h"

#include <stdbool.h>
#include <stdint.h>

struct revocation;

/* How long a revocation has to be remembered when access tokens live so long: a token may be made after it, by a call that read
 * the old epoch before, and is believed for TOKEN_SKEW_SEC beyond its end. */
int64_t revocation_keep_sec(int64_t token_lifetime_sec);

/* Entries are forgotten keep_us after they were noted. NULL without memory. */
struct revocation *revocation_new(int64_t keep_us);
void revocation_free(struct revocation **revocation);

/* Tokens of the user with an epoch below min_epoch are refused. */
void revocation_note_user(struct revocation *revocation, const struct id *user, int64_t min_epoch);
void revocation_note_session(struct revocation *revocation, const struct id *session);

/* Whether a token of this user, session and epoch was taken back. */
bool revocation_hit(struct revocation *revocation, const struct id *user, const struct id *session, int64_t epoch);

/* False for one keep time after an entry had to be dropped for want of room: then ask the session service. */
bool revocation_complete(const struct revocation *revocation);

/* Entries held now, for metrics. */
int64_t revocation_count(const struct revocation *revocation);
