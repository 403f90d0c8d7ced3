/* Fuzz target: the access token check, on bytes as a token, and on bytes as the payload of a rightly signed one. */
#include "base/token.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define PROJECT "prj_01h455vb4pex5vsknk084sn02q"
#define NOW 1700000000LL
#define PAYLOAD_MAX_BYTES 5000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static EVP_PKEY *pair;
static struct token_key *key;

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void make_key(void)
{
	uint8_t x[32], y[32];
	BIGNUM *number = NULL;
	pair = EVP_EC_gen("P-256");
	must(pair && EVP_PKEY_get_bn_param(pair, OSSL_PKEY_PARAM_EC_PUB_X, &number));
	BN_bn2binpad(number, x, 32);
	must(EVP_PKEY_get_bn_param(pair, OSSL_PKEY_PARAM_EC_PUB_Y, &number));
	BN_bn2binpad(number, y, 32);
	BN_free(number);
	key = token_key_new("k1", x, y);
	must(key != NULL);
}

static const struct token_key *find(void *arg, const struct id *project, const char *kid)
{
	(void)arg;
	(void)project;
	return strcmp(kid, "k1") == 0 ? key : NULL;
}

static void sign(const char *text, size_t len_bytes, uint8_t ret_raw[64])
{
	uint8_t der[128];
	const unsigned char *at = der;
	size_t der_len = sizeof(der);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	must(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pair) == 1);
	must(EVP_DigestSign(ctx, der, &der_len, (const uint8_t *)text, len_bytes) == 1);
	EVP_MD_CTX_free(ctx);
	ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long)der_len);
	BN_bn2binpad(ECDSA_SIG_get0_r(signature), ret_raw, 32);
	BN_bn2binpad(ECDSA_SIG_get0_s(signature), ret_raw + 32, 32);
	ECDSA_SIG_free(signature);
}

/* What is accepted must be complete; returns whether it was. */
static bool check(const char *token, size_t len_bytes)
{
	struct arena *arena = arena_new(65536);
	struct token_claims claims;
	struct id project;
	char kid[TOKEN_KID_SIZE];
	must(arena != NULL);
	enum status peeked = token_peek(token, len_bytes, &project, kid);
	enum status status = token_verify(token, len_bytes, "https://id.example", NOW, find, NULL, arena, &claims);
	must(status == ST_OK || status == ST_INVALID_TOKEN);
	if (status == ST_OK) {
		must(peeked == ST_OK && id_equal(&project, &claims.project) && strcmp(kid, "k1") == 0);
		must(claims.expires_at_sec >= NOW - TOKEN_SKEW_SEC && claims.issued_at_sec <= NOW + TOKEN_SKEW_SEC);
		must(claims.epoch >= 0 && claims.issuer && *claims.audience && *claims.payload == '{');
	}
	arena_free(&arena);
	return status == ST_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char header[] = "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}";
	char token[TOKEN_MAX_BYTES];
	uint8_t raw[64];
	if (!key)
		make_key();
	/* Nobody can sign with this run's key: bytes from outside are never a good token. */
	must(!check((const char *)data, size));
	if (size == 0 || size > PAYLOAD_MAX_BYTES)
		return 0;
	size_t len = base64url_encode(header, strlen(header), token);
	token[len++] = '.';
	len += base64url_encode(data, size, token + len);
	sign(token, len, raw);
	token[len++] = '.';
	len += base64url_encode(raw, sizeof(raw), token + len);
	bool good = check(token, len);
	token[len - 1] = token[len - 1] == 'A' ? 'Q' : 'A';
	must(!good || !check(token, len));
	return 0;
}
