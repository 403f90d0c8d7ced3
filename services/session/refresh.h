/* Refresh tokens: "drt_" + base64url(session id 16 | generation 4 big-endian | secret 32 | mac 16).
 *
 * The mac shows that this installation issued the token, so guesses never reach the database. A successor's secret is
 * derived from its predecessor and a random salt in the session's row: whoever presents the predecessor gets the same
 * successor, and no secret is stored. Pure functions, any thread. */
#pragma once

#include "base/arena.h"
#include "base/secret.h"
#include "base/status.h"

#define REFRESH_SECRET_SIZE 32
#define REFRESH_SALT_SIZE 16
#define REFRESH_MAC_SIZE 16
#define REFRESH_TEXT_SIZE 96 /* prefix, 91 characters, NUL */

/* Keys derived from DENIZEN_SESSION_SECRET, one per purpose. */
struct refresh_keys {
	uint8_t mac[SHA256_SIZE];
	uint8_t first[SHA256_SIZE];
	uint8_t next[SHA256_SIZE];
	uint8_t request[SHA256_SIZE];  /* request_mac of a session's row */
	uint8_t throttle[SHA256_SIZE]; /* throttle.h */
};
void refresh_derive_keys(const char *session_secret, struct refresh_keys *ret_keys);

/* One token in the clear. Wipe after use. */
struct refresh_token {
	struct id session;
	uint32_t generation;
	uint8_t secret[REFRESH_SECRET_SIZE];
};

/* Writes the text form; the project is bound by the mac. ret_text is NUL-terminated. */
void refresh_format(const struct refresh_keys *keys, const struct id *project, const struct refresh_token *token,
                    char ret_text[REFRESH_TEXT_SIZE]);
/* ST_INVALID_TOKEN unless text (may be NULL) was made by refresh_format with these keys for this project. */
MUST_USE enum status refresh_parse(const struct refresh_keys *keys, const struct id *project, const char *text,
                                   struct refresh_token *ret_token);

/* The first token of a session: the same again for the same project, session and salt. */
void refresh_derive_first(const struct refresh_keys *keys, const struct id *project, const struct id *session,
                          const uint8_t salt[REFRESH_SALT_SIZE], struct refresh_token *ret_token);
/* The token after `token`: the same again for the same salt. */
void refresh_derive_next(const struct refresh_keys *keys, const struct refresh_token *token,
                         const uint8_t salt[REFRESH_SALT_SIZE], struct refresh_token *ret_next);

/* What the row stores instead of the secret. */
void refresh_hash(const struct refresh_token *token, uint8_t ret_hash[SHA256_SIZE]);
