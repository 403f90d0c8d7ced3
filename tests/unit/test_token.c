/* Access token check: what OpenSSL and libjwt sign is read; every other form is refused. */
#include "base/token.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <jwt.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW 1700000000LL
#define BASE "https://id.example"
#define HEADER "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}"

static EVP_PKEY *pair;
static struct token_key *key, *other_key;
static struct id project, user, session, jti;
static char project_text[ID_TEXT_SIZE], user_text[ID_TEXT_SIZE], session_text[ID_TEXT_SIZE], jti_text[ID_TEXT_SIZE];
static char private_pem[2048], public_pem[2048];
static struct arena *arena;

static struct token_key *public_key_of(EVP_PKEY *pkey, const char *kid)
{
	uint8_t x[32], y[32];
	BIGNUM *number = NULL;
	cr_assert(EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_X, &number));
	BN_bn2binpad(number, x, 32);
	cr_assert(EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, &number));
	BN_bn2binpad(number, y, 32);
	BN_free(number);
	struct token_key *made = token_key_new(kid, x, y);
	cr_assert_not_null(made);
	y[31] ^= 1;
	cr_assert_null(token_key_new(kid, x, y), "a point off the curve");
	return made;
}

static void pem_write(EVP_PKEY *pkey)
{
	BIO *bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
	BIO_read(bio, private_pem, sizeof(private_pem) - 1);
	PEM_write_bio_PUBKEY(bio, pkey);
	BIO_read(bio, public_pem, sizeof(public_pem) - 1);
	BIO_free(bio);
}

static void setup(void)
{
	pair = EVP_EC_gen("P-256");
	key = public_key_of(pair, "k1");
	EVP_PKEY *other = EVP_EC_gen("P-256");
	other_key = public_key_of(other, "k2");
	EVP_PKEY_free(other);
	pem_write(pair);
	project = id_new();
	user = id_new();
	session = id_new();
	jti = id_new();
	id_format("prj", &project, project_text);
	id_format("usr", &user, user_text);
	id_format("ses", &session, session_text);
	id_format(TOKEN_JTI_PREFIX, &jti, jti_text);
	arena = arena_new(1 << 20);
}

static void teardown(void)
{
	EVP_PKEY_free(pair);
	token_key_free(&key);
	token_key_free(&other_key);
	token_key_free(&other_key);
	arena_free(&arena);
}

TestSuite(token, .init = setup, .fini = teardown);

static const struct token_key *find(void *arg, const struct id *asked, const char *kid)
{
	(void)arg;
	if (!id_equal(asked, &project))
		return NULL;
	if (strcmp(kid, "wrong") == 0) /* a look-up gone wrong must not make the key good */
		return key;
	return strcmp(kid, "k1") == 0 ? key : strcmp(kid, "k2") == 0 ? other_key : NULL;
}

static enum status check_at(const char *token, int64_t now_sec, struct token_claims *ret_claims)
{
	return token_verify(token, strlen(token), BASE, now_sec, find, NULL, arena, ret_claims);
}

static enum status check(const char *token)
{
	struct token_claims claims;
	arena_reset(arena);
	return check_at(token, NOW, &claims);
}

/* r and s of an OpenSSL signature as 64 bytes. */
static void sign(const char *text, uint8_t ret_raw[64])
{
	uint8_t der[128];
	const unsigned char *at = der;
	size_t der_len = sizeof(der);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	cr_assert_eq(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pair), 1);
	cr_assert_eq(EVP_DigestSign(ctx, der, &der_len, (const uint8_t *)text, strlen(text)), 1);
	EVP_MD_CTX_free(ctx);
	ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long)der_len);
	BN_bn2binpad(ECDSA_SIG_get0_r(signature), ret_raw, 32);
	BN_bn2binpad(ECDSA_SIG_get0_s(signature), ret_raw + 32, 32);
	ECDSA_SIG_free(signature);
}

/* A correctly signed token over any header and payload; static memory, valid until the next call. */
static char *token_of(const char *header, const char *payload)
{
	static char text[40000];
	uint8_t raw[64];
	size_t len = base64url_encode(header, strlen(header), text);
	text[len++] = '.';
	len += base64url_encode(payload, strlen(payload), text + len);
	sign(text, raw);
	text[len++] = '.';
	base64url_encode(raw, sizeof(raw), text + len);
	return text;
}

/* The good payload with one member replaced by a JSON value, or removed (value NULL). Free the result. */
static char *payload_with(const char *name, const char *value)
{
	char issuer[128];
	snprintf(issuer, sizeof(issuer), BASE "/v1/projects/%s", project_text);
	json_t *payload =
	    json_pack("{ss ss ss sI sI sI ss ss sI ss}", "iss", issuer, "sub", user_text, "aud", project_text, "iat",
	              (json_int_t)NOW, "nbf", (json_int_t)NOW, "exp", (json_int_t)(NOW + 300), "jti", jti_text, "sid",
	              session_text, "tv", (json_int_t)7, "email", "a@example.com");
	cr_assert_not_null(payload);
	if (name && value)
		json_object_set_new(payload, name, json_loads(value, JSON_DECODE_ANY, NULL));
	else if (name)
		json_object_del(payload, name);
	char *text = json_dumps(payload, JSON_COMPACT);
	json_decref(payload);
	return text;
}

static char *token_with(const char *name, const char *value)
{
	char *payload = payload_with(name, value);
	char *token = token_of(HEADER, payload);
	free(payload);
	return token;
}

Test(token, good_one_is_read)
{
	struct token_claims claims;
	struct id peeked;
	char kid[TOKEN_KID_SIZE], *payload = payload_with(NULL, NULL), *token = token_of(HEADER, payload);
	cr_assert_eq(check_at(token, NOW, &claims), ST_OK);
	cr_assert(id_equal(&claims.project, &project) && id_equal(&claims.user, &user));
	cr_assert(id_equal(&claims.session, &session) && id_equal(&claims.jti, &jti));
	cr_assert_eq(claims.epoch, 7);
	cr_assert_eq(claims.issued_at_sec, NOW);
	cr_assert_eq(claims.expires_at_sec, NOW + 300);
	cr_assert_str_eq(claims.audience, project_text);
	cr_assert_str_eq(claims.issuer + strlen(BASE "/v1/projects/"), project_text);
	cr_assert_str_eq(claims.payload, payload);
	cr_assert_eq(token_peek(token, strlen(token), &peeked, kid), ST_OK);
	cr_assert(id_equal(&peeked, &project));
	cr_assert_str_eq(kid, "k1");
	free(payload);
}

/* libjwt 1.10.2 reads and writes only typ JWT, which this check must refuse. Under that typ it is the judge of the payload
 * and of the signatures that the other tests make; what it writes itself must not pass here. */
Test(token, libjwt_is_the_second_opinion)
{
	jwt_t *jwt = NULL;
	char *payload = payload_with(NULL, NULL);
	for (int i = 0; i < 20; i++) {
		char *token = token_of("{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"k1\"}", payload);
		cr_assert_eq(check(token), ST_INVALID_TOKEN);
		cr_assert_eq(jwt_decode(&jwt, token, (unsigned char *)public_pem, (int)strlen(public_pem)), 0);
		cr_assert_eq(jwt_get_alg(jwt), JWT_ALG_ES256);
		cr_assert_str_eq(jwt_get_grant(jwt, "sub"), user_text);
		cr_assert_eq(jwt_get_grant_int(jwt, "tv"), 7);
		jwt_free(jwt);
		token[strlen(token) - 40] ^= 1;
		cr_assert_neq(jwt_decode(&jwt, token, (unsigned char *)public_pem, (int)strlen(public_pem)), 0);
	}
	cr_assert_eq(jwt_new(&jwt), 0);
	jwt_add_header(jwt, "kid", "k1");
	cr_assert_eq(jwt_add_grants_json(jwt, payload), 0);
	cr_assert_eq(jwt_set_alg(jwt, JWT_ALG_ES256, (unsigned char *)private_pem, (int)strlen(private_pem)), 0);
	char *token = jwt_encode_str(jwt);
	cr_assert_not_null(token);
	cr_assert_eq(check(token), ST_INVALID_TOKEN);
	free(token);
	jwt_free(jwt);
	free(payload);
}

/* HS256 with the public key as secret, as libjwt itself would accept it; and no signature at all. */
Test(token, other_algorithms)
{
	static const jwt_alg_t algs[] = {JWT_ALG_HS256, JWT_ALG_HS384, JWT_ALG_HS512, JWT_ALG_NONE};
	char *payload = payload_with(NULL, NULL);
	for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++) {
		jwt_t *jwt = NULL;
		cr_assert_eq(jwt_new(&jwt), 0);
		jwt_add_header(jwt, "typ", "at+jwt");
		jwt_add_header(jwt, "kid", "k1");
		jwt_add_grants_json(jwt, payload);
		bool none = algs[i] == JWT_ALG_NONE;
		jwt_set_alg(jwt, algs[i], none ? NULL : (unsigned char *)public_pem,
		            none ? 0 : (int)strlen(public_pem));
		char *token = jwt_encode_str(jwt);
		cr_assert_not_null(token);
		cr_assert_eq(check(token), ST_INVALID_TOKEN, "%s", token);
		free(token);
		jwt_free(jwt);
	}
	free(payload);
}

Test(token, headers_refused)
{
	static const char *const headers[] = {
	    "{\"alg\":\"none\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
	    "{\"alg\":\"nOnE\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
	    "{\"alg\":\"es256\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
	    "{\"alg\":\"ES384\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
	    "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
	    "{\"alg\":null,\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
	    "{\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
	    "{\"alg\":\"ES256\",\"kid\":\"k1\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"k1\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"logout+jwt\",\"kid\":\"k1\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":1}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k2\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k3\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"wrong\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"../../etc/passwd\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"' OR 1=1--\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\\u0000\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"012345678901234567890123456789012345678901234567\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"crit\":[\"x\"]}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"crit\":[]}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"jku\":\"https://evil.example/\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"jwk\":{}}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"b64\":false}",
	    "{\"alg\":\"ES256\",\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\"} x",
	    "[\"ES256\"]",
	    "\"ES256\"",
	    "x",
	};
	char *payload = payload_with(NULL, NULL);
	cr_assert_eq(check(token_of(HEADER, payload)), ST_OK);
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		cr_assert_eq(check(token_of(headers[i], payload)), ST_INVALID_TOKEN, "%s", headers[i]);
	free(payload);
}

Test(token, forms_refused)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	char token[2000], changed[2100];
	snprintf(token, sizeof(token), "%s", token_with(NULL, NULL));
	size_t len = strlen(token);
	cr_assert_eq(check(token), ST_OK);
	static const char *const tails[] = {"=", "==", "\n", " ", "!!", ".", ".e30", "A", "."};
	for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		snprintf(changed, sizeof(changed), "%s%s", token, tails[i]);
		cr_assert_eq(check(changed), ST_INVALID_TOKEN, "%s", tails[i]);
		snprintf(changed, sizeof(changed), "%s%s", tails[i], token);
		cr_assert_eq(check(changed), ST_INVALID_TOKEN);
	}
	/* Every other character in every place: in the last one 16 letters decode to the same bytes, 15 of them unfaithfully. */
	for (size_t i = 0; i < len; i++)
		for (size_t k = 0; k < 65; k += i + 1 < len ? 13 : 1) {
			memcpy(changed, token, len + 1);
			changed[i] = k < 64 ? letters[k] : '+';
			if (changed[i] != token[i])
				cr_assert_eq(check(changed), ST_INVALID_TOKEN, "%zu %c", i, changed[i]);
		}
	for (size_t cut = 0; cut < len; cut++)
		cr_assert_eq(token_verify(token, cut, BASE, NOW, find, NULL, arena, &(struct token_claims){0}),
		             ST_INVALID_TOKEN);
	memcpy(changed, token, len + 1);
	changed[len] = '\0';
	cr_assert_eq(token_verify(changed, len + 1, BASE, NOW, find, NULL, arena, &(struct token_claims){0}),
	             ST_INVALID_TOKEN);
	cr_assert_eq(token_verify(NULL, 0, BASE, NOW, find, NULL, arena, &(struct token_claims){0}), ST_INVALID_TOKEN);
	cr_assert_eq(token_verify(token, len, BASE "x", NOW, find, NULL, arena, &(struct token_claims){0}),
	             ST_INVALID_TOKEN);
}

Test(token, numbers_of_the_signature)
{
	static const uint8_t fills[] = {0x00, 0x01, 0xff};
	char token[2000];
	uint8_t raw[64];
	snprintf(token, sizeof(token), "%s", token_with(NULL, NULL));
	char *signature = strrchr(token, '.') + 1;
	for (size_t i = 0; i < sizeof(fills); i++)
		for (int half = 0; half < 3; half++) {
			size_t raw_len = sizeof(raw);
			char *fresh = token_with(NULL, NULL);
			base64url_decode(strrchr(fresh, '.') + 1, 86, raw, &raw_len);
			memset(raw + (half == 1 ? 32 : 0), fills[i], half == 2 ? 64 : 32);
			base64url_encode(raw, sizeof(raw), signature);
			cr_assert_eq(check(token), ST_INVALID_TOKEN);
		}
}

Test(token, sizes)
{
	char value[7000];
	for (size_t fill = 5000; fill < 6300; fill += 1) {
		value[0] = '"';
		memset(value + 1, 'x', fill);
		memcpy(value + 1 + fill, "\"", 2);
		if (fill > 5050 && fill < 5500)
			continue;
		char *token = token_with("big", value);
		cr_assert_eq(check(token), strlen(token) <= TOKEN_MAX_BYTES ? ST_OK : ST_INVALID_TOKEN, "%zu",
		             strlen(token));
	}
	struct token_claims claims = {.epoch = 99};
	struct arena *small = arena_new(64);
	char *token = token_with(NULL, NULL);
	cr_assert_eq(token_verify(token, strlen(token), BASE, NOW, find, NULL, small, &claims), ST_INTERNAL);
	cr_assert_eq(claims.epoch, 99);
	arena_free(&small);
}

Test(token, depth)
{
	char value[200] = "";
	for (int depth = 1; depth < 60; depth++) {
		memset(value, '[', (size_t)depth);
		memset(value + depth, ']', (size_t)depth);
		value[2 * depth] = '\0';
		cr_assert_eq(check(token_with("deep", value)), depth < 32 ? ST_OK : ST_INVALID_TOKEN, "%d", depth);
	}
	cr_assert_eq(check(token_with("text", "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[[[[[\"")), ST_OK);
}

Test(token, times)
{
	static const struct {
		const char *name, *value;
		bool good;
	} cases[] = {
	    {"exp", "1699999939", false},
	    {"exp", "1699999940", false},
	    {"nbf", "1700000059", true},
	    {"nbf", "1700000060", true},
	    {"nbf", "1700000061", false},
	    {"iat", "1700000059", true},
	    {"iat", "1700000060", true},
	    {"iat", "1700000061", false},
	    {"nbf", NULL, true},
	    {"exp", NULL, false},
	    {"iat", NULL, false},
	    {"exp", "1700000300.5", false},
	    {"exp", "1700000300.0", false},
	    {"exp", "\"1700000300\"", false},
	    {"exp", "1e30", false},
	    {"exp", "-1", false},
	    {"exp", "9223372036854775807", false},
	    {"exp", "253402300799", true},
	    {"exp", "253402300800", false},
	    {"exp", "null", false},
	    {"exp", "true", false},
	    {"iat", "-1", false},
	    {"iat", "\"1\"", false},
	    {"nbf", "null", false},
	    {"nbf", "\"1\"", false},
	    {"nbf", "1.5", false},
	    {"nbf", "0", true},
	    {"exp", "1700000000", false},
	    {"exp", "1700000001", true},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(check(token_with(cases[i].name, cases[i].value)), cases[i].good ? ST_OK : ST_INVALID_TOKEN,
		             "%s %s", cases[i].name, cases[i].value);
	struct token_claims claims;
	char *token = token_with(NULL, NULL); /* iat = nbf = NOW, exp = NOW + 300 */
	cr_assert_eq(check_at(token, NOW + 300 + 60, &claims), ST_OK);
	cr_assert_eq(check_at(token, NOW + 300 + 61, &claims), ST_INVALID_TOKEN);
	cr_assert_eq(check_at(token, NOW - 60, &claims), ST_OK);
	cr_assert_eq(check_at(token, NOW - 61, &claims), ST_INVALID_TOKEN);
}

Test(token, claims_refused)
{
	static const struct {
		const char *name, *value;
	} cases[] = {
	    {"iss", NULL},
	    {"iss", "1"},
	    {"iss", "\"\""},
	    {"iss", "\"https://id.example/v1/projects/\""},
	    {"iss", "\"https://id.example/v1/projects/prj_00000000000000000000000001\""},
	    {"sub", NULL},
	    {"sub", "\"\""},
	    {"sub", "\"key_00000000000000000000000001\""},
	    {"sub", "\"usr_0000000000000000000000000I\""},
	    {"sub", "[]"},
	    {"aud", NULL},
	    {"aud", "\"\""},
	    {"aud", "1"},
	    {"aud", "[]"},
	    {"aud", "[1]"},
	    {"aud", "[\"a\",\"b\"]"},
	    {"aud", "{}"},
	    {"aud", "[\"\"]"},
	    {"sid", NULL},
	    {"sid", "\"usr_00000000000000000000000001\""},
	    {"jti", NULL},
	    {"jti", "\"x\""},
	    {"tv", NULL},
	    {"tv", "\"7\""},
	    {"tv", "7.0"},
	    {"tv", "-1"},
	    {"tv", "true"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(check(token_with(cases[i].name, cases[i].value)), ST_INVALID_TOKEN, "%s %s", cases[i].name,
		             cases[i].value);
	struct token_claims claims;
	cr_assert_eq(check_at(token_with("aud", "[\"shop\"]"), NOW, &claims), ST_OK);
	cr_assert_str_eq(claims.audience, "shop");
}

/* Who writes the setting with a slash at its end means the same installation; claims writes none. */
Test(token, slash_at_the_end_of_the_base)
{
	struct token_claims claims;
	const char *token = token_with(NULL, NULL);
	cr_assert_eq(token_verify(token, strlen(token), BASE "/", NOW, find, NULL, arena, &claims), ST_OK);
	cr_assert_eq(token_verify(token, strlen(token), BASE "/x/", NOW, find, NULL, arena, &claims), ST_INVALID_TOKEN);
}

Test(token, issuers_refused)
{
	static const char *const issuers[] = {
	    "\"https://id.example.evil/v1/projects/%s\"",
	    "\"https://evil.example/v1/projects/%s\"",
	    "\"https://id.example/x/v1/projects/%s\"",
	    "\"https://id.example/v1/projects/x/v1/projects/%s\"",
	    "\"https://id.example/v1/projects/%s/\"",
	    "\"https://id.example//v1/projects/%s\"",
	    "\"/v1/projects/%s\"",
	    "\"%s\"",
	    "\"https://id.example/v1/projects/%s \"",
	    "\"HTTPS://id.example/v1/projects/%s\"",
	};
	char value[200];
	for (size_t i = 0; i < sizeof(issuers) / sizeof(issuers[0]); i++) {
		int len = snprintf(value, sizeof(value), "%.*s%s%s", (int)(strstr(issuers[i], "%s") - issuers[i]),
		                   issuers[i], project_text, strstr(issuers[i], "%s") + 2);
		cr_assert_gt(len, 0);
		cr_assert_eq(check(token_with("iss", value)), ST_INVALID_TOKEN, "%s", value);
	}
}

Test(token, payloads_refused)
{
	char *payload = payload_with(NULL, NULL), doubled[3000];
	size_t len = strlen(payload);
	snprintf(doubled, sizeof(doubled), "%.*s,\"tv\":8}", (int)len - 1, payload);
	cr_assert_eq(check(token_of(HEADER, doubled)), ST_INVALID_TOKEN);
	snprintf(doubled, sizeof(doubled), "%.*s,\"x\":{\"a\":1,\"a\":1}}", (int)len - 1, payload);
	cr_assert_eq(check(token_of(HEADER, doubled)), ST_INVALID_TOKEN);
	snprintf(doubled, sizeof(doubled), "%.*s,\"x\":\"\\u0000\"}", (int)len - 1, payload);
	cr_assert_eq(check(token_of(HEADER, doubled)), ST_INVALID_TOKEN);
	snprintf(doubled, sizeof(doubled), "%.*s,\"x\":\"\xff\"}", (int)len - 1, payload);
	cr_assert_eq(check(token_of(HEADER, doubled)), ST_INVALID_TOKEN);
	snprintf(doubled, sizeof(doubled), "[%s]", payload);
	cr_assert_eq(check(token_of(HEADER, doubled)), ST_INVALID_TOKEN);
	snprintf(doubled, sizeof(doubled), "%s{}", payload);
	cr_assert_eq(check(token_of(HEADER, doubled)), ST_INVALID_TOKEN);
	cr_assert_eq(check(token_of(HEADER, "{}")), ST_INVALID_TOKEN);
	cr_assert_eq(check(token_of(HEADER, "x")), ST_INVALID_TOKEN);
	cr_assert_eq(check("..") + check("a.b.c") + check(""), 3 * ST_INVALID_TOKEN);
	free(payload);
}

static void *check_often(void *token)
{
	for (int i = 0; i < 200; i++) {
		struct token_claims claims;
		struct arena *own = arena_new(65536);
		if (token_verify(token, strlen(token), BASE, NOW, find, NULL, own, &claims) != ST_OK)
			abort();
		arena_free(&own);
	}
	return NULL;
}

Test(token, one_key_for_many_threads)
{
	pthread_t threads[4];
	char *token = token_with(NULL, NULL);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, check_often, token), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

Test(token, peek_refuses)
{
	struct id peeked = {{5}};
	char kid[TOKEN_KID_SIZE] = "before", *token = token_with("iss", "\"https://x/projects/y\"");
	cr_assert_eq(token_peek(token, strlen(token), &peeked, kid), ST_INVALID_TOKEN);
	cr_assert_eq(token_peek("a.b.c", 5, &peeked, kid), ST_INVALID_TOKEN);
	cr_assert_eq(token_peek(NULL, 0, &peeked, kid), ST_INVALID_TOKEN);
	cr_assert_eq(peeked.bytes[0], 5);
	cr_assert_str_eq(kid, "before");
}

Test(token, keys_refused)
{
	uint8_t zero[32] = {0}, ones[32];
	memset(ones, 0xff, sizeof(ones));
	cr_assert_null(token_key_new("k", zero, zero));
	cr_assert_null(token_key_new("k", ones, ones));
	cr_assert_null(token_key_new("", zero, zero));
}
