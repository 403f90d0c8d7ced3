/* Limits of what a user record may hold, and the folding of what is searched. */
#include "rules.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

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

rules_reason rules_name_check(const char *text)
{
	return rules_text_check(text, RULES_NAME_MAX_BYTES);
}

rules_reason rules_description_check(const char *text)
{
	return rules_text_check(text, RULES_DESCRIPTION_MAX_BYTES);
}

rules_reason rules_code_check(const char *code)
{
	size_t len = strspn(code, "abcdefghijklmnopqrstuvwxyz0123456789._:-");
	bool good = len >= 1 && len <= RULES_CODE_MAX_BYTES && !code[len] && !strchr("._:-", code[0]);
	return good ? NULL : "It is 1 to 64 of a-z, 0-9, . _ : and -, and begins with a letter or a digit";
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
	if (!utf8_is_ascii(text)) {
		const utf8proc_option_t fold =
		    UTF8PROC_NULLTERM | UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD;
		utf8proc_uint8_t *mapped = NULL;
		return utf8proc_map((const utf8proc_uint8_t *)text, 0, &mapped, fold) < 0 ? NULL : (char *)mapped;
	}
	char *folded = strdup(text);
	for (char *at = folded; at && *at; at++)
		*at = utf8_ascii_lower(*at);
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
		char c = utf8_ascii_lower(*at);
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
