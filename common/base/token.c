/* Access token check: shape first, then who may have signed it, then the signature, then every claim. */
#include "base/token.h"

#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define POINT_SIZE 65
#define HALF_SIZE 32
#define SIGNATURE_SIZE 64
#define SIGNATURE_CHARS 86
#define DER_SIZE 80
#define HEADER_MAX_BYTES 256
#define DEPTH_MAX 32
#define TIME_MAX_SEC 253402300799LL /* end of the year 9999 */
#define PROJECTS_PATH "/v1/projects/"

struct token_key {
	char kid[TOKEN_KID_SIZE];
	EVP_PKEY *pkey;
	EVP_PKEY_CTX *verify; /* ready to verify; copied for each check because a context is not shareable */
};

struct segment {
	const char *text;
	size_t len;
};

/* A token taken apart; nothing in it may be believed before its signature was checked. */
struct parts {
	struct segment header, payload, signature;
	char kid[TOKEN_KID_SIZE];
};

/* ---- keys ---- */

static bool kid_valid(const char *kid)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t len = strnlen(kid, TOKEN_KID_SIZE);
	return len > 0 && len < TOKEN_KID_SIZE && strspn(kid, allowed) == len;
}

/* NULL when the point is not on the curve. */
static EVP_PKEY *public_key_new(const uint8_t x[32], const uint8_t y[32])
{
	uint8_t point[POINT_SIZE] = {POINT_CONVERSION_UNCOMPRESSED};
	char group[] = "P-256";
	EVP_PKEY *pkey = NULL;
	memcpy(point + 1, x, HALF_SIZE);
	memcpy(point + 1 + HALF_SIZE, y, HALF_SIZE);
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
	    OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
	    OSSL_PARAM_construct_end(),
	};
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	if (ctx && EVP_PKEY_fromdata_init(ctx) == 1 && EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		pkey = NULL;
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

struct token_key *token_key_new(const char *kid, const uint8_t x[32], const uint8_t y[32])
{
	if (!kid_valid(kid))
		return NULL;
	struct token_key *key = calloc(1, sizeof(*key));
	if (!key)
		return NULL;
	memcpy(key->kid, kid, strlen(kid));
	key->pkey = public_key_new(x, y);
	key->verify = key->pkey ? EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL) : NULL;
	if (!key->verify || EVP_PKEY_public_check(key->verify) != 1 || EVP_PKEY_verify_init(key->verify) != 1)
		token_key_free(&key);
	return key;
}

void token_key_free(struct token_key **key)
{
	if (!key || !*key)
		return;
	EVP_PKEY_CTX_free((*key)->verify);
	EVP_PKEY_free((*key)->pkey);
	free(*key);
	*key = NULL;
}

/* JWS carries r and s as 32 bytes each (RFC 7518 section 3.4); OpenSSL wants them as DER. Returns its length, 0 = failed. */
static size_t signature_to_der(const uint8_t raw[SIGNATURE_SIZE], uint8_t ret_der[DER_SIZE])
{
	unsigned char *to = ret_der;
	int len = 0;
	BIGNUM *r = BN_bin2bn(raw, HALF_SIZE, NULL), *s = BN_bin2bn(raw + HALF_SIZE, HALF_SIZE, NULL);
	ECDSA_SIG *signature = ECDSA_SIG_new();
	if (r && s && signature && ECDSA_SIG_set0(signature, r, s) == 1) {
		len = i2d_ECDSA_SIG(signature, &to);
	} else {
		BN_free(r);
		BN_free(s);
	}
	ECDSA_SIG_free(signature);
	return len > 0 ? (size_t)len : 0;
}

static bool signature_genuine(const struct token_key *key, const struct parts *parts)
{
	uint8_t raw[SIGNATURE_SIZE], der[DER_SIZE], hash[SHA256_SIZE];
	size_t raw_len = sizeof(raw);
	if (!base64url_decode(parts->signature.text, parts->signature.len, raw, &raw_len) || raw_len != sizeof(raw))
		return false;
	size_t der_len = signature_to_der(raw, der);
	EVP_PKEY_CTX *ctx = der_len ? EVP_PKEY_CTX_dup(key->verify) : NULL;
	if (!ctx)
		return false;
	secret_sha256(parts->header.text, (size_t)(parts->payload.text + parts->payload.len - parts->header.text),
	              hash);
	bool genuine = EVP_PKEY_verify(ctx, der, der_len, hash, sizeof(hash)) == 1;
	EVP_PKEY_CTX_free(ctx);
	return genuine;
}

/* ---- taking apart ---- */

/* jansson descends by recursion to 2048 levels; a fiber's stack does not hold that. */
static bool depth_allowed(const char *json, size_t len_bytes)
{
	size_t depth = 0;
	bool quoted = false;
	for (size_t i = 0; i < len_bytes; i++) {
		if (quoted && json[i] == '\\')
			i++;
		else if (json[i] == '"')
			quoted = !quoted;
		else if (quoted)
			continue;
		else if ((json[i] == '{' || json[i] == '[') && ++depth > DEPTH_MAX)
			return false;
		else if ((json[i] == '}' || json[i] == ']') && depth > 0)
			depth--;
	}
	return true;
}

/* The JSON object that the bytes are, NULL otherwise. Release with json_decref. */
static json_t *object_load(const char *json, size_t len_bytes)
{
	if (!depth_allowed(json, len_bytes))
		return NULL;
	json_t *object = json_loadb(json, len_bytes, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(object))
		return object;
	json_decref(object);
	return NULL;
}

/* A member that is a string without NUL, else NULL. Borrowed from the object. */
static const char *member_text(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* The three segments; exactly two dots, none empty, signature of the only possible length. */
static bool segments_split(const char *token, size_t len_bytes, struct parts *ret_parts)
{
	if (!token || len_bytes > TOKEN_MAX_BYTES)
		return false;
	const char *end = token + len_bytes, *first = memchr(token, '.', len_bytes);
	const char *second = first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
	if (!second)
		return false;
	ret_parts->header = (struct segment){token, (size_t)(first - token)};
	ret_parts->payload = (struct segment){first + 1, (size_t)(second - first - 1)};
	ret_parts->signature = (struct segment){second + 1, (size_t)(end - second - 1)};
	return ret_parts->header.len && ret_parts->payload.len && ret_parts->signature.len == SIGNATURE_CHARS;
}

/* Our issuer writes exactly alg, typ and kid: whatever else stands there (crit, jku, jwk, x5c ...) asks for something
 * that must not be done. */
static bool header_read(struct parts *parts)
{
	char json[HEADER_MAX_BYTES];
	size_t len = sizeof(json);
	if (!base64url_decode(parts->header.text, parts->header.len, json, &len))
		return false;
	json_t *header = object_load(json, len);
	if (!header)
		return false;
	const char *alg = member_text(header, "alg"), *typ = member_text(header, "typ"),
	           *kid = member_text(header, "kid");
	bool good = json_object_size(header) == 3 && alg && strcmp(alg, "ES256") == 0 && typ &&
	            strcmp(typ, "at+jwt") == 0 && kid && kid_valid(kid);
	if (good)
		memcpy(parts->kid, kid, strlen(kid) + 1);
	json_decref(header);
	return good;
}

/* The payload as object; its text goes to ret_json (room for TOKEN_MAX_BYTES), ended by NUL. */
static json_t *payload_read(const struct parts *parts, char *ret_json)
{
	size_t len = TOKEN_MAX_BYTES - 1;
	if (!base64url_decode(parts->payload.text, parts->payload.len, ret_json, &len))
		return NULL;
	ret_json[len] = '\0';
	return object_load(ret_json, len);
}

/* The project that an issuer names at its end. */
static bool issuer_project(const char *issuer, struct id *ret_project)
{
	const char *name = issuer ? strrchr(issuer, '/') : NULL;
	size_t path_len = strlen(PROJECTS_PATH);
	if (!name || (size_t)(++name - issuer) <= path_len || memcmp(name - path_len, PROJECTS_PATH, path_len) != 0)
		return false;
	return id_parse("prj", name, ret_project);
}

enum status token_peek(const char *token, size_t len_bytes, struct id *ret_project, char ret_kid[TOKEN_KID_SIZE])
{
	struct parts parts;
	char json[TOKEN_MAX_BYTES];
	if (!segments_split(token, len_bytes, &parts) || !header_read(&parts))
		return ST_INVALID_TOKEN;
	json_t *payload = payload_read(&parts, json);
	bool good = payload && issuer_project(member_text(payload, "iss"), ret_project);
	json_decref(payload);
	if (good)
		memcpy(ret_kid, parts.kid, TOKEN_KID_SIZE);
	return good ? ST_OK : ST_INVALID_TOKEN;
}

/* ---- claims ---- */

static bool claim_int(const json_t *payload, const char *name, int64_t max, int64_t *ret_value)
{
	const json_t *value = json_object_get(payload, name);
	if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > max)
		return false;
	*ret_value = json_integer_value(value);
	return true;
}

/* Times are whole seconds as our issuer writes them; each may be off by TOKEN_SKEW_SEC, not more. */
static bool times_valid(const json_t *payload, int64_t now_sec, struct token_claims *claims)
{
	int64_t not_before_sec = 0;
	if (!claim_int(payload, "exp", TIME_MAX_SEC, &claims->expires_at_sec) ||
	    !claim_int(payload, "iat", TIME_MAX_SEC, &claims->issued_at_sec))
		return false;
	if (json_object_get(payload, "nbf") && !claim_int(payload, "nbf", TIME_MAX_SEC, &not_before_sec))
		return false;
	return now_sec <= claims->expires_at_sec + TOKEN_SKEW_SEC &&
	       now_sec >= claims->issued_at_sec - TOKEN_SKEW_SEC && now_sec >= not_before_sec - TOKEN_SKEW_SEC &&
	       claims->expires_at_sec > claims->issued_at_sec;
}

/* A string, or an array of exactly one: with several, whoever compares one would overlook the others. */
static const char *claim_audience(const json_t *payload)
{
	const json_t *audience = json_object_get(payload, "aud");
	if (json_is_array(audience))
		audience = json_array_size(audience) == 1 ? json_array_get(audience, 0) : NULL;
	const char *text = json_string_value(audience);
	return text && *text ? text : NULL;
}

/* The base may end in a slash; issuers have one there in any case. */
static bool issuer_matches(const char *issuer, const char *issuer_base)
{
	size_t base_len = strlen(issuer_base);
	while (base_len > 0 && issuer_base[base_len - 1] == '/')
		base_len--;
	return strncmp(issuer, issuer_base, base_len) == 0 &&
	       strncmp(issuer + base_len, PROJECTS_PATH, strlen(PROJECTS_PATH)) == 0 &&
	       !strchr(issuer + base_len + strlen(PROJECTS_PATH), '/');
}

static bool subjects_read(const json_t *payload, struct token_claims *claims)
{
	return id_parse("usr", member_text(payload, "sub"), &claims->user) &&
	       id_parse("ses", member_text(payload, "sid"), &claims->session) &&
	       id_parse(TOKEN_JTI_PREFIX, member_text(payload, "jti"), &claims->jti) &&
	       claim_int(payload, "tv", INT64_MAX, &claims->epoch);
}

/* Copies the texts into the arena. */
static enum status texts_keep(const json_t *payload, const char *json, struct arena *arena, struct token_claims *claims)
{
	claims->issuer = arena_strdup(arena, member_text(payload, "iss"));
	claims->audience = arena_strdup(arena, claim_audience(payload));
	claims->payload = arena_strdup(arena, json);
	return claims->issuer && claims->audience && claims->payload ? ST_OK : ST_INTERNAL;
}

enum status token_verify(const char *token, size_t len_bytes, const char *issuer_base, int64_t now_sec,
                         token_key_find find, void *find_arg, struct arena *arena, struct token_claims *ret_claims)
{
	enum status status = ST_INVALID_TOKEN;
	struct token_claims claims = {0};
	struct parts parts;
	char json[TOKEN_MAX_BYTES];
	if (!segments_split(token, len_bytes, &parts) || !header_read(&parts))
		return status;
	json_t *payload = payload_read(&parts, json);
	const char *issuer = payload ? member_text(payload, "iss") : NULL;
	if (!issuer_project(issuer, &claims.project) || !issuer_matches(issuer, issuer_base))
		goto out;
	const struct token_key *key = find(find_arg, &claims.project, parts.kid);
	if (!key || strcmp(key->kid, parts.kid) != 0 || !signature_genuine(key, &parts))
		goto out;
	if (!times_valid(payload, now_sec, &claims) || !claim_audience(payload) || !subjects_read(payload, &claims))
		goto out;
	status = texts_keep(payload, json, arena, &claims);
	if (status == ST_OK)
		*ret_claims = claims;
out:
	json_decref(payload);
	return status;
}
