/* P-256 key pairs and ES256 signatures: the private half of common/base/token.h. Not thread-safe: one thread per key. */
#pragma once

#include "base/arena.h"
#include "base/status.h"
#include "base/token.h"

#include <stddef.h>
#include <stdint.h>

#define JWT_COORDINATE_SIZE 32

/* A key pair as big-endian numbers. `d` is the secret: wipe the struct after use. */
struct jwt_pair {
	uint8_t x[JWT_COORDINATE_SIZE], y[JWT_COORDINATE_SIZE]; /* public point */
	uint8_t d[JWT_COORDINATE_SIZE];                         /* private number */
};

/* A new random pair. ST_INTERNAL when OpenSSL fails. */
MUST_USE enum status jwt_pair_generate(struct jwt_pair *ret_pair);

/* Name of a public key: its JWK thumbprint (RFC 7638), 43 characters base64url. ST_INTERNAL without memory. */
MUST_USE enum status jwt_thumbprint(const uint8_t x[JWT_COORDINATE_SIZE], const uint8_t y[JWT_COORDINATE_SIZE],
                                    char ret_kid[TOKEN_KID_SIZE]);

/* A private key, parsed once and ready to sign one type of token. */
struct jwt_key;

#define JWT_TYPE_ACCESS "at+jwt" /* RFC 9068 */

/* type: the header's typ. NULL when the numbers are no key pair, or without memory. Free with jwt_key_free. */
struct jwt_key *jwt_key_new(const char *kid, const char *type, const struct jwt_pair *pair);
void jwt_key_free(struct jwt_key **key); /* NULL and *NULL are allowed */

/* Makes the JWS compact serialisation (RFC 7515) of payload: header alg ES256, typ and kid of the key; in the arena,
 * NUL-terminated. ST_INTERNAL when OpenSSL fails or the arena is full. */
MUST_USE enum status jwt_sign(const struct jwt_key *key, const char *payload, size_t len_bytes, struct arena *arena,
                              char **ret_token);
