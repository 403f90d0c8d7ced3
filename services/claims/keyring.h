/* Signing keys: made, sealed for the database, opened and kept parsed. A key never changes under its kid, so what the
 * keyring remembers cannot be stale; which key signs is read with every token. Loop's thread only. */
#pragma once

#include "base/secret.h"
#include "base/status.h"
#include "jws.h"

#include <stdint.h>

#define KEYRING_SEALED_SIZE (JWT_COORDINATE_SIZE + SEAL_OVERHEAD)

/* An active key as its row holds it. */
struct sealed_key {
	char kid[TOKEN_KID_SIZE];
	uint8_t x[JWT_COORDINATE_SIZE], y[JWT_COORDINATE_SIZE];
	uint8_t sealed[KEYRING_SEALED_SIZE]; /* private number under the key-encryption key, bound to project and kid */
};

struct keyring;

/* The key-encryption key is copied. NULL without memory. Free with keyring_free, which wipes. */
struct keyring *keyring_new(const uint8_t kek[SEAL_KEY_SIZE]);
void keyring_free(struct keyring **keyring); /* NULL and *NULL are allowed */

/* Reads a key-encryption key: 64 hexadecimal digits or 43 characters base64url. ST_INVALID_ARGUMENT otherwise. */
MUST_USE enum status keyring_parse_kek(const char *text, uint8_t ret_kek[SEAL_KEY_SIZE]);

/* Makes a new key for a project, ready to be stored. ST_INTERNAL when OpenSSL fails. */
MUST_USE enum status keyring_generate(const struct keyring *keyring, const struct id *project,
                                      struct sealed_key *ret_key);

/* Opens a stored key, or finds it parsed already. *ret_key is owned by the keyring and valid until the caller suspends or
 * calls again. ST_INTERNAL when it was sealed under another key-encryption key or for another row. */
MUST_USE enum status keyring_open(struct keyring *keyring, const struct id *project, const struct sealed_key *sealed,
                                  const struct jwt_key **ret_key);

/* Seals the private number of `key` (its kid and sealed part are read) for `to` instead of `from`. ST_ALREADY_EXISTS when `to` opens it as
 * it is; ST_INTERNAL when neither does. */
MUST_USE enum status keyring_reseal(const struct keyring *from, const struct keyring *to, const struct id *project,
                                    struct sealed_key *key);
