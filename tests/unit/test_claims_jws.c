/* Tokens that claims signs, judged by libjwt (independent) and by common/base/token.c. */
#include "../../services/claims/jws.h"

#include <criterion/criterion.h>
#include <jwt.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_SEC 1800000000
#define ISSUER "https://id.example.test"

struct fixture {
	struct arena *arena;
	struct jwt_pair pair;
	char kid[TOKEN_KID_SIZE];
	struct jwt_key *key;
	struct token_key *verify_key;
	char *payload;
	char *token;
};

static char *payload_new(struct arena *arena)
{
	struct id ids[4] = {id_new(), id_new(), id_new(), id_new()};
	char project[ID_TEXT_SIZE], user[ID_TEXT_SIZE], session[ID_TEXT_SIZE], jti[ID_TEXT_SIZE];
	id_format("prj", &ids[0], project);
	id_format("usr", &ids[1], user);
	id_format("ses", &ids[2], session);
	id_format(TOKEN_JTI_PREFIX, &ids[3], jti);
	return arena_printf(arena,
	                    "{\"iss\":\"" ISSUER "/v1/projects/%s\",\"sub\":\"%s\",\"aud\":\"%s\",\"iat\":%d,"
	                    "\"exp\":%d,\"jti\":\"%s\",\"sid\":\"%s\",\"tv\":3,\"plan\":\"pro\"}",
	                    project, user, project, NOW_SEC, NOW_SEC + 300, jti, session);
}

static struct fixture fixture_new(void)
{
	struct fixture f = {.arena = arena_new(1 << 20)};
	secret_init();
	cr_assert_eq(jwt_pair_generate(&f.pair), ST_OK);
	cr_assert_eq(jwt_thumbprint(f.pair.x, f.pair.y, f.kid), ST_OK);
	f.key = jwt_key_new(f.kid, JWT_TYPE_ACCESS, &f.pair);
	f.verify_key = token_key_new(f.kid, f.pair.x, f.pair.y);
	cr_assert(f.key != NULL && f.verify_key != NULL);
	f.payload = payload_new(f.arena);
	cr_assert_eq(jwt_sign(f.key, f.payload, strlen(f.payload), f.arena, &f.token), ST_OK);
	return f;
}

static void fixture_free(struct fixture *f)
{
	jwt_key_free(&f->key);
	token_key_free(&f->verify_key);
	arena_free(&f->arena);
}

static const struct token_key *find_key(void *arg, const struct id *project, const char *kid)
{
	const struct fixture *f = arg;
	return strcmp(kid, f->kid) == 0 ? f->verify_key : NULL;
}

static enum status verify(struct fixture *f, const char *token)
{
	struct token_claims claims;
	return token_verify(token, strlen(token), ISSUER, NOW_SEC + 1, find_key, f, f->arena, &claims);
}

/* The public key as PEM, as any other implementation would take it. */
static char *public_pem(const struct jwt_pair *pair, size_t *ret_len)
{
	uint8_t point[65] = {4};
	char group[] = "P-256", *data, *copy;
	EVP_PKEY *pkey = NULL;
	memcpy(point + 1, pair->x, 32);
	memcpy(point + 33, pair->y, 32);
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
	    OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
	    OSSL_PARAM_construct_end(),
	};
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	cr_assert_eq(EVP_PKEY_fromdata_init(context), 1);
	cr_assert_eq(EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, params), 1);
	BIO *bio = BIO_new(BIO_s_mem());
	cr_assert_eq(PEM_write_bio_PUBKEY(bio, pkey), 1);
	long len = BIO_get_mem_data(bio, &data);
	copy = strndup(data, (size_t)len);
	*ret_len = (size_t)len;
	BIO_free(bio);
	EVP_PKEY_free(pkey);
	EVP_PKEY_CTX_free(context);
	return copy;
}

/* libjwt 1.10 knows no other type than JWT; the signature is made in the same way for all. */
Test(claims_jwt, libjwt_agrees)
{
	for (int i = 0; i < 50; i++) { /* the numbers of a signature have leading zeros now and then */
		struct fixture f = fixture_new();
		size_t pem_len;
		char *pem = public_pem(&f.pair, &pem_len);
		jwt_t *jwt = NULL;
		jwt_key_free(&f.key);
		f.key = jwt_key_new(f.kid, "JWT", &f.pair);
		cr_assert_eq(jwt_sign(f.key, f.payload, strlen(f.payload), f.arena, &f.token), ST_OK);
		cr_assert_eq(jwt_decode(&jwt, f.token, (const unsigned char *)pem, (int)pem_len), 0);
		cr_assert_eq(jwt_get_alg(jwt), JWT_ALG_ES256);
		cr_assert_str_eq(jwt_get_header(jwt, "typ"), "JWT");
		cr_assert_str_eq(jwt_get_header(jwt, "kid"), f.kid);
		cr_assert_str_eq(jwt_get_grant(jwt, "plan"), "pro");
		cr_assert_eq(jwt_get_grant_int(jwt, "tv"), 3);
		jwt_free(jwt);
		jwt = NULL;
		f.token[strlen(f.token) - 40] ^= 1;
		cr_assert_neq(jwt_decode(&jwt, f.token, (const unsigned char *)pem, (int)pem_len), 0);
		free(pem);
		fixture_free(&f);
	}
}

Test(claims_jwt, own_check_agrees)
{
	struct fixture f = fixture_new();
	cr_assert_eq(verify(&f, f.token), ST_OK);
	fixture_free(&f);
}

Test(claims_jwt, one_flipped_bit_is_refused)
{
	struct fixture f = fixture_new();
	size_t len = strlen(f.token);
	for (size_t i = 0; i < len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			f.token[i] = (char)(f.token[i] ^ (1 << bit));
			cr_assert_neq(verify(&f, f.token), ST_OK, "byte %zu bit %d", i, bit);
			f.token[i] = (char)(f.token[i] ^ (1 << bit));
		}
	}
	cr_assert_eq(verify(&f, f.token), ST_OK);
	fixture_free(&f);
}

Test(claims_jwt, another_key_is_refused)
{
	struct fixture f = fixture_new(), other = fixture_new();
	struct token_key *wrong = token_key_new(f.kid, other.pair.x, other.pair.y);
	token_key_free(&f.verify_key);
	f.verify_key = wrong;
	cr_assert_eq(verify(&f, f.token), ST_INVALID_TOKEN);
	fixture_free(&other);
	fixture_free(&f);
}

Test(claims_jwt, a_pair_that_does_not_match_is_no_key)
{
	struct fixture f = fixture_new(), other = fixture_new();
	struct jwt_pair mixed = f.pair;
	memcpy(mixed.d, other.pair.d, sizeof(mixed.d));
	cr_assert_null(jwt_key_new(f.kid, JWT_TYPE_ACCESS, &mixed));
	memset(mixed.d, 0, sizeof(mixed.d));
	cr_assert_null(jwt_key_new(f.kid, JWT_TYPE_ACCESS, &mixed));
	fixture_free(&other);
	fixture_free(&f);
}

/* RFC 7638 defines the thumbprint of EC keys over crv, kty, x, y in this order. */
Test(claims_jwt, kid_is_the_thumbprint)
{
	struct fixture f = fixture_new();
	char x[64], y[64], text[256], expected[64];
	uint8_t hash[SHA256_SIZE];
	base64url_encode(f.pair.x, 32, x);
	base64url_encode(f.pair.y, 32, y);
	int len = snprintf(text, sizeof(text), "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", x, y);
	secret_sha256(text, (size_t)len, hash);
	base64url_encode(hash, sizeof(hash), expected);
	cr_assert_str_eq(f.kid, expected);
	cr_assert_eq(strlen(f.kid), 43);
	fixture_free(&f);
}

Test(claims_jwt, largest_payload_fits)
{
	struct fixture f = fixture_new();
	char payload[4096 + 900];
	char *token;
	memset(payload, 'x', sizeof(payload));
	cr_assert_eq(jwt_sign(f.key, payload, sizeof(payload), f.arena, &token), ST_OK);
	cr_assert_lt(strlen(token), TOKEN_MAX_BYTES);
	struct arena *small = arena_new(1024);
	char *untouched = f.token;
	cr_assert_eq(jwt_sign(f.key, payload, sizeof(payload), small, &untouched), ST_INTERNAL);
	cr_assert_eq(untouched, f.token);
	arena_free(&small);
	fixture_free(&f);
}
