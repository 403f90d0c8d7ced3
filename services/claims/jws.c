/* P-256 key pairs and ES256 signatures through OpenSSL; a key is parsed once. */
#include "jws.h"

#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdlib.h>
#include <string.h>

#define SIGNATURE_SIZE (2 * JWT_COORDINATE_SIZE) /* R | S, RFC 7518 section 3.4 */
#define DER_SIGNATURE_MAX 80
#define HEADER_MAX 192

struct jwt_key {
	EVP_PKEY_CTX *sign; /* ready to sign a SHA-256 hash, any number of times */
	size_t header_len;
	char header[BASE64URL_SIZE(HEADER_MAX)]; /* base64url, the same for all tokens of the key */
};

static bool number_of(EVP_PKEY *pkey, const char *name, uint8_t ret_bytes[JWT_COORDINATE_SIZE])
{
	BIGNUM *number = NULL;
	bool ok = EVP_PKEY_get_bn_param(pkey, name, &number) == 1 &&
	          BN_bn2binpad(number, ret_bytes, JWT_COORDINATE_SIZE) == JWT_COORDINATE_SIZE;
	BN_clear_free(number);
	return ok;
}

enum status jwt_pair_generate(struct jwt_pair *ret_pair)
{
	enum status status = ST_INTERNAL;
	struct jwt_pair pair;
	EVP_PKEY *pkey = EVP_EC_gen("P-256");
	if (!pkey || !number_of(pkey, OSSL_PKEY_PARAM_EC_PUB_X, pair.x) ||
	    !number_of(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, pair.y) || !number_of(pkey, OSSL_PKEY_PARAM_PRIV_KEY, pair.d))
		goto out;
	*ret_pair = pair;
	status = ST_OK;
out:
	secret_wipe(&pair, sizeof(pair));
	EVP_PKEY_free(pkey);
	return status;
}

enum status jwt_thumbprint(const uint8_t x[JWT_COORDINATE_SIZE], const uint8_t y[JWT_COORDINATE_SIZE],
                           char ret_kid[TOKEN_KID_SIZE])
{
	char x_text[BASE64URL_SIZE(JWT_COORDINATE_SIZE)], y_text[BASE64URL_SIZE(JWT_COORDINATE_SIZE)];
	uint8_t hash[SHA256_SIZE];
	base64url_encode(x, JWT_COORDINATE_SIZE, x_text);
	base64url_encode(y, JWT_COORDINATE_SIZE, y_text);
	json_t *jwk = json_pack("{s:s, s:s, s:s, s:s}", "crv", "P-256", "kty", "EC", "x", x_text, "y", y_text);
	char *canonical = json_dumps(jwk, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(jwk);
	if (!canonical)
		return ST_INTERNAL;
	secret_sha256(canonical, strlen(canonical), hash);
	free(canonical);
	base64url_encode(hash, sizeof(hash), ret_kid);
	return ST_OK;
}

static EVP_PKEY *pkey_new(const struct jwt_pair *pair)
{
	EVP_PKEY *pkey = NULL;
	uint8_t point[1 + 2 * JWT_COORDINATE_SIZE] = {POINT_CONVERSION_UNCOMPRESSED};
	memcpy(point + 1, pair->x, JWT_COORDINATE_SIZE);
	memcpy(point + 1 + JWT_COORDINATE_SIZE, pair->y, JWT_COORDINATE_SIZE);
	BIGNUM *d = BN_secure_new();
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	if (!d || !build || !context || !BN_bin2bn(pair->d, sizeof(pair->d), d) ||
	    !OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) ||
	    !OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) ||
	    !OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, d))
		goto out;
	params = OSSL_PARAM_BLD_to_param(build);
	if (!params || EVP_PKEY_fromdata_init(context) != 1 ||
	    EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_KEYPAIR, params) != 1)
		pkey = NULL;
out:
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	EVP_PKEY_CTX_free(context);
	BN_clear_free(d);
	return pkey;
}

/* A point that does not belong to d would make signatures that nobody can verify. */
static EVP_PKEY_CTX *sign_new(const struct jwt_pair *pair)
{
	EVP_PKEY *pkey = pkey_new(pair);
	EVP_PKEY_CTX *sign = pkey ? EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL) : NULL;
	EVP_PKEY_free(pkey); /* the context holds it */
	if (sign && EVP_PKEY_pairwise_check(sign) == 1 && EVP_PKEY_sign_init(sign) == 1)
		return sign;
	EVP_PKEY_CTX_free(sign);
	return NULL;
}

static bool header_set(struct jwt_key *key, const char *kid, const char *type)
{
	json_t *header = json_pack("{s:s, s:s, s:s}", "alg", "ES256", "typ", type, "kid", kid);
	char text[HEADER_MAX];
	size_t len = json_dumpb(header, text, sizeof(text), JSON_COMPACT);
	json_decref(header);
	if (len == 0 || len > sizeof(text))
		return false;
	key->header_len = base64url_encode(text, len, key->header);
	return true;
}

struct jwt_key *jwt_key_new(const char *kid, const char *type, const struct jwt_pair *pair)
{
	struct jwt_key *key = calloc(1, sizeof(*key));
	if (!key)
		return NULL;
	key->sign = sign_new(pair);
	if (!key->sign || !header_set(key, kid, type))
		jwt_key_free(&key);
	return key;
}

void jwt_key_free(struct jwt_key **key)
{
	if (!key || !*key)
		return;
	EVP_PKEY_CTX_free((*key)->sign);
	free(*key);
	*key = NULL;
}

/* OpenSSL signs in DER; a JWS wants the two numbers side by side. */
static bool signature_raw(const uint8_t *der, size_t der_len, uint8_t ret_raw[SIGNATURE_SIZE])
{
	ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &der, (long)der_len);
	if (!signature)
		return false;
	bool ok = BN_bn2binpad(ECDSA_SIG_get0_r(signature), ret_raw, JWT_COORDINATE_SIZE) > 0 &&
	          BN_bn2binpad(ECDSA_SIG_get0_s(signature), ret_raw + JWT_COORDINATE_SIZE, JWT_COORDINATE_SIZE) > 0;
	ECDSA_SIG_free(signature);
	return ok;
}

enum status jwt_sign(const struct jwt_key *key, const char *payload, size_t len_bytes, struct arena *arena,
                     char **ret_token)
{
	char *token =
	    arena_alloc(arena, key->header_len + BASE64URL_SIZE(len_bytes) + BASE64URL_SIZE(SIGNATURE_SIZE) + 2);
	if (!token)
		return ST_INTERNAL;
	memcpy(token, key->header, key->header_len);
	size_t len = key->header_len;
	token[len++] = '.';
	len += base64url_encode(payload, len_bytes, token + len);

	uint8_t hash[SHA256_SIZE], der[DER_SIGNATURE_MAX], raw[SIGNATURE_SIZE];
	size_t der_len = sizeof(der);
	secret_sha256(token, len, hash);
	if (EVP_PKEY_sign(key->sign, der, &der_len, hash, sizeof(hash)) != 1 || !signature_raw(der, der_len, raw))
		return ST_INTERNAL;
	token[len++] = '.';
	base64url_encode(raw, sizeof(raw), token + len);
	*ret_token = token;
	return ST_OK;
}
