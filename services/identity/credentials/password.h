/* Password hashes: making (Argon2id) and checking (Argon2, bcrypt, SHA-crypt, yescrypt). Blocking and heavy: pool threads only,
 * but for password_inspect. The one door to the password libraries. */
#pragma once

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PASSWORD_HASH_SIZE 256 /* longest accepted hash text and NUL */

/* Bounds of what an import may bring: a hash must not cost more than this to check. */
#define PASSWORD_MEMORY_MAX_KIB (256 * 1024)
#define PASSWORD_PASSES_MAX 16
#define PASSWORD_WORK_MAX_KIB (1024 * 1024) /* memory times passes: about 1.5 s */
#define PASSWORD_LANES_MAX 16
#define PASSWORD_BCRYPT_COST_MAX 14
#define PASSWORD_SHA_ROUNDS_MAX 200000

struct password_params {
	uint32_t memory_kib; /* m */
	uint32_t passes;     /* t; one lane always */
};

enum password_scheme {
	PASSWORD_ARGON2ID, /* one lane, version 19: checked by libsodium */
	PASSWORD_ARGON2,   /* other Argon2: checked by libargon2 */
	PASSWORD_CRYPT,    /* crypt(3) */
};
struct password_info {
	enum password_scheme scheme;
	char variant;        /* Argon2: 'i' (argon2i), 'd' (argon2d), 'x' (argon2id) */
	uint32_t memory_kib; /* Argon2 */
	uint32_t passes;     /* Argon2 */
	bool heavy;          /* needs more than 64 MiB, or about 0.4 s, to check */
};

/* Reads a hash text without computing anything: a strict parser with the bounds above. False for all that is not allowed,
 * also NULL; *ret_info untouched then. Any thread. */
bool password_inspect(const char *hash, struct password_info *ret_info);

/* Loads the library; once at start. False when it is unusable. */
bool password_init(void);

/* Makes an Argon2id hash of password. ST_RESOURCE_EXHAUSTED without memory. */
MUST_USE enum status password_hash(const struct password_params *params, const char *password, size_t len_bytes,
                                   char ret_hash[PASSWORD_HASH_SIZE]);

/* Checks password. ST_OK when it is right, ST_INVALID_CREDENTIALS when not or when the hash is not allowed. */
MUST_USE enum status password_verify(const char *hash, const char *password, size_t len_bytes);

/* Whether a hash was made with something other than params. */
bool password_is_outdated(const char *hash, const struct password_params *params);
