/* Printing Set-Cookie, and tokens against forged forms. */
#include "http/cookie.h"

#include "base/secret.h"
#include "http/pairs.h"

#include <string.h>
#include <strings.h>

#define COOKIE_MAX_BYTES 4096
#define MAX_AGE_MAX_SEC (400u * 24 * 60 * 60)
#define NONCE_SIZE 16

/* ---- Set-Cookie ---- */

static bool begins(const char *text, const char *prefix)
{
	return strncasecmp(text, prefix, strlen(prefix)) == 0; /* browsers take the prefixes in any case */
}

/* A path or domain: no control character, no semicolon. */
static bool attribute_allowed(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f || *text == ';')
			return false;
	return true;
}

static bool cookie_allowed(const struct cookie *cookie)
{
	const char *path = cookie->path ? cookie->path : "/";
	if (!pairs_cookie_valid(cookie->name, cookie->value ? cookie->value : ""))
		return false;
	if (path[0] != '/' || !attribute_allowed(path))
		return false;
	if (cookie->domain && (!*cookie->domain || !attribute_allowed(cookie->domain)))
		return false;
	if (cookie->insecure && (cookie->same_site == COOKIE_NONE || begins(cookie->name, "__Secure-")))
		return false;
	if (begins(cookie->name, "__Host-"))
		return !cookie->insecure && !cookie->domain && strcmp(path, "/") == 0;
	return true;
}

enum status cookie_print(const struct cookie *cookie, struct arena *arena, const char **ret_value)
{
	static const char *const sites[] = {[COOKIE_LAX] = "Lax", [COOKIE_STRICT] = "Strict", [COOKIE_NONE] = "None"};
	struct buf out = {.max = COOKIE_MAX_BYTES};
	const char *copy = NULL;
	bool fits;
	if (!cookie_allowed(cookie))
		return ST_INVALID_ARGUMENT;
	buf_printf(&out, "%s=%s; Path=%s", cookie->name, cookie->value ? cookie->value : "",
	           cookie->path ? cookie->path : "/");
	if (cookie->domain)
		buf_printf(&out, "; Domain=%s", cookie->domain);
	if (!cookie->value)
		buf_add_str(&out, "; Max-Age=0");
	else if (cookie->max_age_sec > 0)
		buf_printf(&out, "; Max-Age=%u",
		           cookie->max_age_sec < MAX_AGE_MAX_SEC ? cookie->max_age_sec : MAX_AGE_MAX_SEC);
	if (!cookie->insecure)
		buf_add_str(&out, "; Secure");
	if (!cookie->scripted)
		buf_add_str(&out, "; HttpOnly");
	buf_printf(&out, "; SameSite=%s", sites[cookie->same_site]);
	fits = buf_ok(&out);
	if (fits)
		copy = arena_strndup(arena, out.data, out.len);
	secret_wipe(out.data, out.len); /* a cookie's value signs in */
	buf_free(&out);
	if (!fits)
		return ST_INVALID_ARGUMENT;
	if (!copy)
		return ST_RESOURCE_EXHAUSTED;
	*ret_value = copy;
	return ST_OK;
}

enum status cookie_set(struct exchange *exchange, const struct cookie *cookie)
{
	const char *value;
	enum status status = cookie_print(cookie, exchange->arena, &value);
	if (status == ST_OK)
		http_header_add(exchange, "Set-Cookie", value);
	return status;
}

/* ---- forged forms ---- */

/* The HMAC over what the token is for, its nonce and the session. */
static void csrf_mac(const uint8_t key[SHA256_SIZE], const uint8_t nonce[NONCE_SIZE], const char *session,
                     uint8_t ret_mac[SHA256_SIZE])
{
	static const char purpose[] = "denizen form token 1";
	uint8_t hash[SHA256_SIZE];
	const struct secret_piece pieces[] = {
	    {purpose, sizeof(purpose)}, {nonce, NONCE_SIZE}, {session, strlen(session)}};
	secret_sha256_pieces(pieces, 3, hash);
	secret_hmac_sha256(key, SHA256_SIZE, hash, sizeof(hash), ret_mac);
}

void csrf_token(const uint8_t key[SHA256_SIZE], const char *session, char ret_token[CSRF_TOKEN_SIZE])
{
	uint8_t token[NONCE_SIZE + SHA256_SIZE];
	secret_random(token, NONCE_SIZE);
	csrf_mac(key, token, session, token + NONCE_SIZE);
	base64url_encode(token, sizeof(token), ret_token);
}

static bool csrf_token_genuine(const uint8_t key[SHA256_SIZE], const char *session, const char *text)
{
	uint8_t token[NONCE_SIZE + SHA256_SIZE], mac[SHA256_SIZE];
	size_t len = sizeof(token);
	if (!base64url_decode(text, strlen(text), token, &len) || len != sizeof(token))
		return false;
	csrf_mac(key, token, session, mac);
	return secret_equal(mac, token + NONCE_SIZE, sizeof(mac));
}

bool csrf_same_origin(const struct http_request *request, const char *origin)
{
	const char *site = http_header_find(request, "Sec-Fetch-Site");
	const char *sender = http_header_find(request, "Origin");
	if (site)
		return strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0;
	return !sender || strcmp(sender, origin) == 0;
}

enum status csrf_check(const struct http_request *request, const uint8_t key[SHA256_SIZE],
                       const struct csrf_proof *proof)
{
	if (!csrf_same_origin(request, proof->origin) || !proof->session || !proof->cookie || !proof->field)
		return ST_PERMISSION_DENIED;
	size_t len = strlen(proof->cookie);
	if (len != CSRF_TOKEN_SIZE - 1 || strlen(proof->field) != len ||
	    !secret_equal(proof->cookie, proof->field, len))
		return ST_PERMISSION_DENIED;
	return csrf_token_genuine(key, proof->session, proof->field) ? ST_OK : ST_PERMISSION_DENIED;
}
