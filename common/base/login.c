/* Login ids: their one form. */
#include "base/login.h"

#include "base/utf8.h"

#include <idn2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define LOCAL_PART_MAX_BYTES 64
#define DOMAIN_MAX_BYTES 253
#define LABEL_MAX_BYTES 63

/* Characters that people cannot see or that change how text is laid out would make two different values look the same. */
static bool codepoint_is_visible(utf8proc_int32_t codepoint)
{
	switch (utf8proc_category(codepoint)) {
	case UTF8PROC_CATEGORY_CN:
	case UTF8PROC_CATEGORY_CC:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_CS:
	case UTF8PROC_CATEGORY_CO:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP:
		return false;
	default:
		return !utf8proc_get_property(codepoint)->ignorable;
	}
}

/* Whether all characters are visible; with spaces_allowed false also none is a space. */
static bool text_is_visible(const char *text, bool spaces_allowed)
{
	const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
	utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(text);
	while (left > 0) {
		utf8proc_int32_t codepoint;
		utf8proc_ssize_t step = utf8proc_iterate(at, left, &codepoint);
		if (step <= 0 || !codepoint_is_visible(codepoint))
			return false;
		if (!spaces_allowed && utf8proc_category(codepoint) == UTF8PROC_CATEGORY_ZS)
			return false;
		at += step;
		left -= step;
	}
	return true;
}

static bool codepoint_is_white(utf8proc_int32_t codepoint)
{
	switch (utf8proc_category(codepoint)) {
	case UTF8PROC_CATEGORY_ZS:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP:
		return true;
	default:
		return (codepoint >= '\t' && codepoint <= '\r') || codepoint == 0x85;
	}
}

/* Where the text begins behind the white space before it; *ret_len: its bytes up to the white space after it. */
static const char *text_trim(const char *text, size_t *ret_len)
{
	const char *first = text, *end = text, *at = text;
	utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(text);
	while (left > 0) {
		utf8proc_int32_t codepoint;
		utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)at, left, &codepoint);
		bool white = step > 0 && codepoint_is_white(codepoint);
		step = step > 0 ? step : 1;
		if (white && first == at)
			first = end = at + step;
		if (!white)
			end = at + step;
		at += step;
		left -= step;
	}
	*ret_len = (size_t)(end - first);
	return first;
}

static bool text_has_outer_space(const char *text)
{
	size_t len;
	text_trim(text, &len);
	return len != strlen(text);
}

/* Applies utf8proc's mapping; the result is malloced, NULL when the text cannot be mapped. */
static char *text_map(const char *text, utf8proc_option_t options)
{
	utf8proc_uint8_t *mapped = NULL;
	if (utf8proc_map((const utf8proc_uint8_t *)text, 0, &mapped, UTF8PROC_NULLTERM | UTF8PROC_STABLE | options) < 0)
		return NULL;
	return (char *)mapped;
}

/* Lower-cases letters, digits and hyphens in labels of 1..63 characters, as RFC 1123 section 2.1 has it. */
static bool domain_canonical_ascii(const char *domain, char ret_domain[DOMAIN_MAX_BYTES + 1])
{
	size_t label = 0, i = 0;
	for (; domain[i] && i < DOMAIN_MAX_BYTES; i++) {
		char c = utf8_ascii_lower(domain[i]);
		if (c == '.') {
			if (label == 0 || domain[i - 1] == '-')
				return false;
			label = 0;
		} else {
			bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
			if (!letter && !(c == '-' && label > 0))
				return false;
			if (++label > LABEL_MAX_BYTES)
				return false;
		}
		ret_domain[i] = c;
	}
	if (domain[i] || label == 0 || domain[i - 1] == '-')
		return false;
	ret_domain[i] = '\0';
	return true;
}

static bool domain_canonical(const char *domain, char ret_domain[DOMAIN_MAX_BYTES + 1])
{
	if (utf8_is_ascii(domain) && !strcasestr(domain, "xn--"))
		return domain_canonical_ascii(domain, ret_domain);
	if (strlen(domain) > 4 * DOMAIN_MAX_BYTES)
		return false;
	/* Also for A-labels: the library checks that they stand for a valid name. */
	uint8_t *mapped = NULL;
	int rc = idn2_lookup_u8((const uint8_t *)domain, &mapped, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	bool ok = rc == IDN2_OK && domain_canonical_ascii((const char *)mapped, ret_domain);
	idn2_free(mapped);
	return ok;
}

/* dot-atom of RFC 5322 section 3.2.3, with the characters of RFC 6531 beside the ASCII ones. */
static bool local_part_valid(const char *local)
{
	static const char atext[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~";
	char before = '.';
	for (const char *at = local; *at; at++) {
		bool dot = *at == '.';
		if (dot ? before == '.' : (unsigned char)*at < 0x80 && !strchr(atext, *at))
			return false;
		before = *at;
	}
	return before != '.' && text_is_visible(local, false);
}

static bool local_part_canonical(const char *local, size_t len, char ret_local[LOCAL_PART_MAX_BYTES + 1])
{
	char text[LOCAL_PART_MAX_BYTES + 1];
	if (len == 0 || len > LOCAL_PART_MAX_BYTES)
		return false;
	memcpy(text, local, len);
	text[len] = '\0';
	if (!local_part_valid(text))
		return false;
	if (utf8_is_ascii(text)) {
		for (size_t i = 0; i <= len; i++)
			ret_local[i] = utf8_ascii_lower(text[i]);
		return true;
	}
	char *composed = text_map(text, UTF8PROC_COMPOSE);
	bool ok = composed && strlen(composed) <= LOCAL_PART_MAX_BYTES;
	if (ok)
		memcpy(ret_local, composed, strlen(composed) + 1);
	free(composed);
	return ok;
}

login_reason login_email(const char *email, char ret_email[LOGIN_SIZE])
{
	static const char reason[] = "It is not an e-mail address";
	const char *at = strrchr(email, '@');
	if (!at || strlen(email) > LOGIN_MAX_BYTES)
		return reason;
	char local[LOCAL_PART_MAX_BYTES + 1], domain[DOMAIN_MAX_BYTES + 1];
	if (!local_part_canonical(email, (size_t)(at - email), local) || !domain_canonical(at + 1, domain))
		return reason;
	size_t local_len = strlen(local), domain_len = strlen(domain);
	_Static_assert(LOCAL_PART_MAX_BYTES + 1 + DOMAIN_MAX_BYTES <= LOGIN_MAX_BYTES, "fits");
	memcpy(ret_email, local, local_len);
	ret_email[local_len] = '@';
	memcpy(ret_email + local_len + 1, domain, domain_len + 1);
	return NULL;
}

/* The compatibility form and then the folded one, malloced; NULL when there is none. Letters of another width spell an address,
 * too: then *ret_email is set, and ret_login is the address in its form. */
static char *login_fold(const char *login_id, bool *ret_email, char ret_login[LOGIN_SIZE])
{
	/* Folding twice: it can produce what normalising changes again. */
	const utf8proc_option_t compat = UTF8PROC_COMPAT | UTF8PROC_COMPOSE | UTF8PROC_IGNORE;
	const utf8proc_option_t steps[] = {compat, compat | UTF8PROC_CASEFOLD, compat | UTF8PROC_CASEFOLD};
	char *form = strdup(login_id);
	for (size_t i = 0; form && !*ret_email && i < sizeof(steps) / sizeof(steps[0]); i++) {
		char *next = text_map(form, steps[i]);
		free(form);
		form = next;
		*ret_email = form && !login_email(form, ret_login);
	}
	return form;
}

login_reason login_canonical(const char *login_id, char ret_login[LOGIN_SIZE])
{
	static const char length[] = "A login id has 1 to 320 bytes";
	bool email = false;
	if (!login_email(login_id, ret_login))
		return NULL;
	if (!login_id[0] || strlen(login_id) > LOGIN_MAX_BYTES)
		return length;
	if (!text_is_visible(login_id, true))
		return "A login id must not hold control or invisible characters";
	char *folded = login_fold(login_id, &email, ret_login);
	size_t len = folded ? strlen(folded) : 0;
	login_reason reason = NULL;
	if (len == 0 || len > LOGIN_MAX_BYTES)
		reason = length;
	else if (!email && text_has_outer_space(folded))
		reason = "A login id must not begin or end with a space";
	else if (!email)
		memcpy(ret_login, folded, len + 1);
	free(folded);
	return reason;
}

login_reason login_typed(const char *typed, char ret_login[LOGIN_SIZE])
{
	char text[LOGIN_SIZE];
	size_t len;
	const char *first = text_trim(typed, &len);
	if (len == 0 || len > LOGIN_MAX_BYTES)
		return "A login id has 1 to 320 bytes";
	memcpy(text, first, len);
	text[len] = '\0';
	return login_canonical(text, ret_login);
}
