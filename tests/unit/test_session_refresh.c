/* Refresh tokens: format, derivation, refusal of everything that was not issued. */
#include "../../services/session/refresh.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct refresh_keys keys;
static struct id project;

static void set_up(void)
{
	secret_init();
	refresh_derive_keys("0123456789abcdef0123456789abcdef", &keys);
	project = id_new();
}

static struct refresh_token make_token(void)
{
	struct refresh_token token;
	struct id session = id_new();
	uint8_t salt[REFRESH_SALT_SIZE];

	secret_random(salt, sizeof(salt));
	refresh_derive_first(&keys, &project, &session, salt, &token);
	return token;
}

Test(session_refresh, round_trip, .init = set_up)
{
	struct refresh_token token = make_token(), read;
	char text[REFRESH_TEXT_SIZE];

	token.generation = 0x01020304;
	refresh_format(&keys, &project, &token, text);
	cr_assert_eq(strncmp(text, "drt_", 4), 0);
	cr_assert_lt(strlen(text), REFRESH_TEXT_SIZE);
	cr_assert_eq(refresh_parse(&keys, &project, text, &read), ST_OK);
	cr_assert(id_equal(&read.session, &token.session));
	cr_assert_eq(read.generation, token.generation);
	cr_assert_eq(memcmp(read.secret, token.secret, sizeof(token.secret)), 0);
}

Test(session_refresh, refuses_any_changed_character, .init = set_up)
{
	struct refresh_token token = make_token(), read;
	char text[REFRESH_TEXT_SIZE];

	refresh_format(&keys, &project, &token, text);
	for (size_t i = 0; i < strlen(text); i++) {
		char kept = text[i];
		text[i] = kept == 'A' ? 'B' : 'A';
		cr_assert_eq(refresh_parse(&keys, &project, text, &read), ST_INVALID_TOKEN, "character %zu", i);
		text[i] = kept;
	}
	for (size_t len = strlen(text); len-- > 0;) {
		text[len] = '\0';
		cr_assert_eq(refresh_parse(&keys, &project, text, &read), ST_INVALID_TOKEN, "length %zu", len);
	}
}

Test(session_refresh, refuses_strangers, .init = set_up)
{
	struct refresh_token token = make_token(), read;
	struct refresh_keys other_keys;
	struct id other_project = id_new();
	char text[REFRESH_TEXT_SIZE], longer[REFRESH_TEXT_SIZE + 8];

	refresh_format(&keys, &project, &token, text);
	refresh_derive_keys("another secret of this installation", &other_keys);
	cr_assert_eq(refresh_parse(&other_keys, &project, text, &read), ST_INVALID_TOKEN);
	cr_assert_eq(refresh_parse(&keys, &other_project, text, &read), ST_INVALID_TOKEN);
	snprintf(longer, sizeof(longer), "%sAAAA", text);
	cr_assert_eq(refresh_parse(&keys, &project, longer, &read), ST_INVALID_TOKEN);
	cr_assert_eq(refresh_parse(&keys, &project, NULL, &read), ST_INVALID_TOKEN);
	cr_assert_eq(refresh_parse(&keys, &project, "", &read), ST_INVALID_TOKEN);
	cr_assert_eq(refresh_parse(&keys, &project, "drt_", &read), ST_INVALID_TOKEN);
}

Test(session_refresh, successors_are_repeatable_and_distinct, .init = set_up)
{
	struct refresh_token token = make_token(), a, b, c;
	uint8_t salt[REFRESH_SALT_SIZE] = {1}, other_salt[REFRESH_SALT_SIZE] = {2};
	uint8_t hash_a[SHA256_SIZE], hash_b[SHA256_SIZE];

	refresh_derive_next(&keys, &token, salt, &a);
	refresh_derive_next(&keys, &token, salt, &b);
	refresh_derive_next(&keys, &token, other_salt, &c);
	cr_assert_eq(a.generation, token.generation + 1);
	cr_assert_eq(memcmp(a.secret, b.secret, sizeof(a.secret)), 0);
	cr_assert_neq(memcmp(a.secret, c.secret, sizeof(a.secret)), 0);
	cr_assert_neq(memcmp(a.secret, token.secret, sizeof(a.secret)), 0);
	refresh_hash(&a, hash_a);
	refresh_hash(&b, hash_b);
	cr_assert_eq(memcmp(hash_a, hash_b, SHA256_SIZE), 0);
	/* In place, as a caller that walks a family does. */
	refresh_derive_next(&keys, &token, salt, &token);
	cr_assert_eq(memcmp(a.secret, token.secret, sizeof(a.secret)), 0);
}
