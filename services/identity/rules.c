/* Canonical forms and limits of what a user record may hold. */
#include "rules.h"

#include <idn2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define LOCAL_PART_MAX_BYTES 64
#define DOMAIN_MAX_BYTES 253
#define LABEL_MAX_BYTES 63

static bool text_is_ascii(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text >= 0x80)
			return false;
	return true;
}

static char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

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
		char c = ascii_lower(domain[i]);
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
	if (text_is_ascii(domain) && !strcasestr(domain, "xn--"))
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
	if (text_is_ascii(text)) {
		for (size_t i = 0; i <= len; i++)
			ret_local[i] = ascii_lower(text[i]);
		return true;
	}
	char *composed = text_map(text, UTF8PROC_COMPOSE);
	bool ok = composed && strlen(composed) <= LOCAL_PART_MAX_BYTES;
	if (ok)
		memcpy(ret_local, composed, strlen(composed) + 1);
	free(composed);
	return ok;
}

rules_reason rules_email_canonical(const char *email, char ret_email[RULES_LOGIN_SIZE])
{
	static const char reason[] = "It is not an e-mail address";
	const char *at = strrchr(email, '@');
	if (!at || strlen(email) > RULES_LOGIN_MAX_BYTES)
		return reason;
	char local[LOCAL_PART_MAX_BYTES + 1], domain[DOMAIN_MAX_BYTES + 1];
	if (!local_part_canonical(email, (size_t)(at - email), local) || !domain_canonical(at + 1, domain))
		return reason;
	size_t local_len = strlen(local), domain_len = strlen(domain);
	_Static_assert(LOCAL_PART_MAX_BYTES + 1 + DOMAIN_MAX_BYTES <= RULES_LOGIN_MAX_BYTES, "fits");
	memcpy(ret_email, local, local_len);
	ret_email[local_len] = '@';
	memcpy(ret_email + local_len + 1, domain, domain_len + 1);
	return NULL;
}

rules_reason rules_login_canonical(const char *login_id, char ret_login[RULES_LOGIN_SIZE])
{
	if (!rules_email_canonical(login_id, ret_login))
		return NULL;
	size_t len = strlen(login_id);
	if (len == 0 || len > RULES_LOGIN_MAX_BYTES)
		return "A login id has 1 to 320 bytes";
	if (!text_is_visible(login_id, true))
		return "A login id must not hold control or invisible characters";
	/* Twice: folding can produce what normalising changes again. */
	const utf8proc_option_t fold = UTF8PROC_COMPAT | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE;
	char *once = text_map(login_id, fold);
	char *twice = once ? text_map(once, fold) : NULL;
	rules_reason reason = NULL;
	size_t folded_len = twice ? strlen(twice) : 0;
	if (folded_len == 0 || folded_len > RULES_LOGIN_MAX_BYTES)
		reason = "A login id has 1 to 320 bytes";
	else if (twice[0] == ' ' || twice[folded_len - 1] == ' ')
		reason = "A login id must not begin or end with a space";
	else
		memcpy(ret_login, twice, folded_len + 1);
	free(once);
	free(twice);
	return reason;
}

rules_reason rules_phone_check(const char *phone)
{
	static const char reason[] = "A phone number is + and 7 to 15 digits (E.164)";
	size_t digits = strspn(phone + (phone[0] == '+'), "0123456789");
	if (phone[0] != '+' || phone[1] == '0' || digits < 7 || digits > 15 || phone[1 + digits])
		return reason;
	return NULL;
}

rules_reason rules_text_check(const char *text, size_t max_bytes)
{
	if (!text[0])
		return "It must not be empty; use null to remove it";
	if (strlen(text) > max_bytes)
		return "It is too long";
	for (const unsigned char *at = (const unsigned char *)text; *at; at++)
		if (*at < 0x20 || *at == 0x7f)
			return "It must not hold control characters";
	return NULL;
}

rules_reason rules_picture_check(const char *picture)
{
	rules_reason reason = rules_text_check(picture, RULES_PICTURE_MAX_BYTES);
	if (!reason && strncmp(picture, "https://", 8) != 0 && strncmp(picture, "http://", 7) != 0)
		reason = "A picture is an http or https URL";
	return reason;
}

rules_reason rules_password_check(const char *password)
{
	size_t len = strlen(password);
	if (len < RULES_PASSWORD_MIN_BYTES || len > RULES_PASSWORD_MAX_BYTES)
		return "A password has 8 to 1024 bytes";
	return NULL;
}

/* Folded copy for searching, malloced; NULL when it cannot be folded. */
static char *search_fold(const char *text)
{
	if (!text_is_ascii(text))
		return text_map(text, UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD);
	char *folded = strdup(text);
	for (char *at = folded; at && *at; at++)
		*at = ascii_lower(*at);
	return folded;
}

void rules_search_add(struct buf *out, const char *text)
{
	if (!text)
		return;
	char *folded = search_fold(text);
	buf_add_str(out, folded ? folded : text);
	buf_add_char(out, '\n');
	free(folded);
}

/* The longest run of letters and digits, in characters; all characters outside ASCII are taken for letters. */
static size_t text_longest_run(const char *text)
{
	size_t run = 0, longest = 0;
	for (const char *at = text; *at; at++) {
		char c = ascii_lower(*at);
		if (((unsigned char)c & 0xc0) == 0x80)
			continue; /* inside a character */
		bool letter = (unsigned char)c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
		run = letter ? run + 1 : 0;
		longest = run > longest ? run : longest;
	}
	return longest;
}

rules_reason rules_search_pattern(const char *term, struct buf *out, size_t *ret_run)
{
	if (rules_text_check(term, RULES_SEARCH_MAX_BYTES))
		return "A search term has 1 to 200 bytes and no control characters";
	char *folded = search_fold(term);
	if (!folded)
		return "The search term is not valid text";
	buf_add_char(out, '%');
	for (const char *at = folded; *at; at++) {
		if (*at == '%' || *at == '_' || *at == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, *at);
	}
	buf_add_char(out, '%');
	*ret_run = text_longest_run(folded);
	free(folded);
	return NULL;
}

int16_t rules_shard(const uint8_t user_id[16])
{
	return user_id[15] & (RULES_SHARDS - 1);
}
