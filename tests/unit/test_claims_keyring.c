/* Signing keys at rest: what opens them and what does not. */
#include "../../services/claims/keyring.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t kek[SEAL_KEY_SIZE] = {1, 2, 3};
static const uint8_t other_kek[SEAL_KEY_SIZE] = {3, 2, 1};

static struct keyring *ring_new(const uint8_t key[SEAL_KEY_SIZE])
{
	secret_init();
	struct keyring *ring = keyring_new(key);
	cr_assert_not_null(ring);
	return ring;
}

Test(claims_keyring, opens_what_it_made)
{
	struct keyring *ring = ring_new(kek), *replica = ring_new(kek);
	struct id project = id_new();
	struct sealed_key sealed;
	const struct jwt_key *key, *again;
	cr_assert_eq(keyring_generate(ring, &project, &sealed), ST_OK);
	cr_assert_eq(keyring_open(ring, &project, &sealed, &key), ST_OK);
	cr_assert_eq(keyring_open(ring, &project, &sealed, &again), ST_OK);
	cr_assert_eq(key, again, "a key is parsed once");
	cr_assert_eq(keyring_open(replica, &project, &sealed, &key), ST_OK);
	keyring_free(&ring);
	keyring_free(&replica);
	cr_assert_null(ring);
}

Test(claims_keyring, refuses_another_kek_row_or_bit)
{
	struct keyring *ring = ring_new(kek), *stranger = ring_new(other_kek);
	struct id project = id_new(), other_project = id_new();
	struct sealed_key sealed, second, changed;
	const struct jwt_key *key = NULL;
	cr_assert_eq(keyring_generate(ring, &project, &sealed), ST_OK);
	cr_assert_eq(keyring_generate(ring, &project, &second), ST_OK);
	cr_assert_eq(keyring_open(stranger, &project, &sealed, &key), ST_INTERNAL);
	cr_assert_eq(keyring_open(ring, &other_project, &sealed, &key), ST_INTERNAL);
	changed = sealed;
	memcpy(changed.kid, second.kid, sizeof(changed.kid));
	cr_assert_eq(keyring_open(ring, &project, &changed, &key), ST_INTERNAL);
	for (size_t i = 0; i < sizeof(sealed.sealed); i++) {
		changed = sealed;
		changed.sealed[i] ^= 1;
		cr_assert_eq(keyring_open(ring, &project, &changed, &key), ST_INTERNAL, "byte %zu", i);
	}
	changed = sealed; /* a public key put beside somebody's private one */
	memcpy(changed.x, second.x, sizeof(changed.x));
	memcpy(changed.y, second.y, sizeof(changed.y));
	cr_assert_eq(keyring_open(ring, &project, &changed, &key), ST_INTERNAL);
	cr_assert_null(key);
	keyring_free(&ring);
	keyring_free(&stranger);
}

Test(claims_keyring, remembers_a_bounded_number)
{
	struct keyring *ring = ring_new(kek);
	const struct jwt_key *key;
	for (int i = 0; i < 300; i++) {
		struct id project = id_new();
		struct sealed_key sealed;
		cr_assert_eq(keyring_generate(ring, &project, &sealed), ST_OK);
		cr_assert_eq(keyring_open(ring, &project, &sealed, &key), ST_OK);
	}
	keyring_free(&ring);
}

static const struct kek_case {
	const char *text;
	enum status status;
} kek_cases[] = {
    {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", ST_OK},
    {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", ST_OK},
    {"", ST_INVALID_ARGUMENT},
    {"secret", ST_INVALID_ARGUMENT},
    {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1g", ST_INVALID_ARGUMENT},
    {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e", ST_INVALID_ARGUMENT},
    {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", ST_INVALID_ARGUMENT},
};

Test(claims_keyring, reads_the_kek)
{
	uint8_t expected[SEAL_KEY_SIZE];
	for (size_t i = 0; i < sizeof(expected); i++)
		expected[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(kek_cases) / sizeof(kek_cases[0]); i++) {
		uint8_t read[SEAL_KEY_SIZE] = {0xff};
		cr_assert_eq(keyring_parse_kek(kek_cases[i].text, read), kek_cases[i].status, "%s", kek_cases[i].text);
		if (kek_cases[i].status == ST_OK)
			cr_assert_eq(memcmp(read, expected, sizeof(read)), 0);
		else
			cr_assert_eq(read[0], 0xff);
	}
}
