/* Where credentials stand in a request. */
#include "dialects/credential.h"

#include "http/pairs.h"
#include "json/jvalue.h"

#include <string.h>
#include <strings.h>

#define SECRET_MAX 95 /* of keys; tokens are longer */
#define BASIC_MAX 240

enum credential_kind credential_classify(const char *text)
{
	if (strncmp(text, "eyJ", 3) == 0)
		return CREDENTIAL_ACCESS;
	if (strncmp(text, "drt_", 4) == 0)
		return CREDENTIAL_REFRESH;
	if (strnlen(text, SECRET_MAX + 1) > SECRET_MAX)
		return CREDENTIAL_NONE;
	if (secret_text_valid("dmk", text) || secret_text_valid("dak", text))
		return CREDENTIAL_KEY;
	return secret_text_valid("dcs", text) ? CREDENTIAL_CLIENT : CREDENTIAL_NONE;
}

/* What follows the scheme and its blanks in Authorization; NULL = another scheme. */
static const char *credential_scheme(const struct exchange *exchange, const char *scheme)
{
	const char *header = http_header_find(&exchange->request, "Authorization");
	size_t len = strlen(scheme);
	if (!header || strncasecmp(header, scheme, len) != 0 || header[len] != ' ')
		return NULL;
	return header + len + strspn(header + len, " ");
}

const char *credential_bearer(const struct exchange *exchange)
{
	return credential_scheme(exchange, "Bearer");
}

bool credential_split(struct exchange *exchange, const char *bearer, struct credential *ret_credential)
{
	const char *colon = strchr(bearer, ':');
	if (!colon)
		return false;
	const char *end = strchr(colon + 1, ':');
	const char *project = arena_strndup(exchange->arena, bearer, (size_t)(colon - bearer));
	const char *text = end ? arena_strndup(exchange->arena, colon + 1, (size_t)(end - colon - 1)) : colon + 1;
	if (!project || !text)
		return false;
	*ret_credential = (struct credential){.kind = credential_classify(text), .text = text, .project = project};
	return true;
}

/* RFC 4648 section 4 with padding, as HTTP Basic uses it. Returns the length or -1. */
static int credential_base64(const char *text, char *ret_data, size_t size)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = strlen(text);
	size_t used = 0;
	uint32_t word = 0;
	if (len == 0 || len % 4 != 0 || len / 4 * 3 > size)
		return -1;
	size_t pad = text[len - 1] == '=' ? (text[len - 2] == '=' ? 2 : 1) : 0;
	for (size_t i = 0; i < len; i++) {
		const char *at = i < len - pad ? strchr(alphabet, text[i]) : alphabet;
		if (!at)
			return -1;
		word = word << 6 | (uint32_t)(at - alphabet);
		if (i % 4 != 3)
			continue;
		for (int shift = 16; shift >= 0; shift -= 8)
			ret_data[used++] = (char)(word >> shift & 0xff);
		word = 0;
	}
	return (int)(used - pad);
}

bool credential_basic(struct exchange *exchange, const char **ret_name, const char **ret_password)
{
	const char *text = credential_scheme(exchange, "Basic");
	char *pair = text && strlen(text) < BASIC_MAX ? arena_alloc(exchange->arena, BASIC_MAX) : NULL;
	int len = pair ? credential_base64(text, pair, BASIC_MAX - 1) : -1;
	if (len <= 0 || memchr(pair, '\0', (size_t)len))
		return false;
	pair[len] = '\0';
	char *colon = strchr(pair, ':');
	if (!colon || colon == pair || colon[1] == '\0')
		return false;
	*colon = '\0';
	*ret_name = pair;
	*ret_password = colon + 1;
	return true;
}

static const char *credential_pair(const struct pairs *pairs, const char *name)
{
	const char *text = NULL;
	return pairs_find(pairs, name, &text) == ST_OK ? text : NULL;
}

const char *credential_cookie(struct exchange *exchange, const char *name)
{
	struct pbjson_error error = {0};
	struct pairs pairs;
	if (pairs_read_cookies(&exchange->request, exchange->arena, &pairs, &error) != ST_OK)
		return NULL;
	return credential_pair(&pairs, name);
}

static const char *credential_form(struct exchange *exchange, const char *form, size_t len, const char *name)
{
	struct pbjson_error error = {0};
	struct pairs pairs;
	if (pairs_read(form, len, exchange->arena, &pairs, &error) != ST_OK)
		return NULL;
	return credential_pair(&pairs, name);
}

const char *credential_query(struct exchange *exchange, const char *name)
{
	const char *query = exchange->request.query;
	return query ? credential_form(exchange, query, strlen(query), name) : NULL;
}

const char *credential_body(struct exchange *exchange, const char *name)
{
	const struct buf *body = &exchange->body;
	const char *type = http_header_find(&exchange->request, "Content-Type");
	const struct jvalue *root = NULL;
	struct pbjson_error error = {0};
	if (body->len == 0)
		return NULL;
	if (pairs_type_is(type, "application/x-www-form-urlencoded"))
		return credential_form(exchange, body->data, body->len, name);
	if (jvalue_read(body->data, body->len, exchange->arena, &root, &error) != ST_OK)
		return NULL;
	const struct jvalue *member = jvalue_get(root, name);
	return member && member->kind == JVALUE_STRING ? member->text : NULL;
}
