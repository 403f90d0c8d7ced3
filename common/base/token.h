/* The one strict check of access tokens: JWS compact serialisation (RFC 7515), ES256 only (RFC 7518 section 3.4), profile of
 * RFC 9068. The algorithm comes from the key, never from the token. Used by the gateway and by claims. */
#pragma once

#include "base/arena.h"
#include "base/secret.h"
#include "base/status.h"

#include <stdint.h>

#define TOKEN_MAX_BYTES 8192
#define TOKEN_SKEW_SEC 60
#define TOKEN_KID_SIZE 48
#define TOKEN_JTI_PREFIX "jti" /* id_format prefix of the claim jti */

/* A public key, parsed once. Immutable and shareable between threads. */
struct token_key;
/* From the JWK members x and y of a P-256 key (32 bytes each). NULL when the point is not on the curve. */
struct token_key *token_key_new(const char *kid, const uint8_t x[32], const uint8_t y[32]);
void token_key_free(struct token_key **key);

/* Finds the key for a kid of a project; NULL = unknown. */
typedef const struct token_key *(*token_key_find)(void *arg, const struct id *project, const char *kid);

struct token_claims {
	struct id project, user, session, jti;
	int64_t epoch; /* claim tv */
	int64_t issued_at_sec, expires_at_sec;
	const char *issuer, *audience;
	const char *payload; /* whole payload as received, compact JSON, in the arena */
};

/* Reads the unverified issuer's project id out of a token, to know whose keys to load. ST_INVALID_TOKEN when malformed.
 * The issuer is <base url>/v1/projects/<prj_...>; nothing else of the token may be believed. */
MUST_USE enum status token_peek(const char *token, size_t len_bytes, struct id *ret_project,
                                char ret_kid[TOKEN_KID_SIZE]);

/* Verifies shape (three canonical base64url segments), header (typ at+jwt, alg ES256, kid, nothing critical), signature,
 * iss = issuer_base (slashes at its end do not count) + "/v1/projects/" + project, exp, nbf, iat within TOKEN_SKEW_SEC of
 * now_sec, sub, sid, tv, jti. ST_INVALID_TOKEN otherwise. All results are in the arena. */
MUST_USE enum status token_verify(const char *token, size_t len_bytes, const char *issuer_base, int64_t now_sec,
                                  token_key_find find, void *find_arg, struct arena *arena,
                                  struct token_claims *ret_claims);
