/* Signing keys: sealing, opening, and a bounded memory of parsed ones. */
#include "keyring.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

#define KEYRING_SLOTS 1024 /* one parsed key of a few KiB each; a newcomer takes the place of the old one */
#define AAD_SIZE (ID_SIZE + TOKEN_KID_SIZE)

struct slot {
	struct id project;
	char kid[TOKEN_KID_SIZE];
	struct jwt_key *key; /* owned; NULL = empty */
};

struct keyring {
	uint8_t kek[SEAL_KEY_SIZE];
	struct slot slots[KEYRING_SLOTS];
};

struct keyring *keyring_new(const uint8_t kek[SEAL_KEY_SIZE])
{
	struct keyring *keyring = calloc(1, sizeof(*keyring));
	if (keyring)
		memcpy(keyring->kek, kek, SEAL_KEY_SIZE);
	return keyring;
}

void keyring_free(struct keyring **keyring)
{
	if (!keyring || !*keyring)
		return;
	for (size_t i = 0; i < KEYRING_SLOTS; i++)
		jwt_key_free(&(*keyring)->slots[i].key);
	secret_wipe((*keyring)->kek, SEAL_KEY_SIZE);
	free(*keyring);
	*keyring = NULL;
}

enum status keyring_parse_kek(const char *text, uint8_t ret_kek[SEAL_KEY_SIZE])
{
	uint8_t kek[SEAL_KEY_SIZE];
	size_t len = sizeof(kek);
	size_t chars = strlen(text);
	bool ok = chars == (size_t)2 * SEAL_KEY_SIZE ? hex_decode(text, chars, kek)
	                                             : base64url_decode(text, chars, kek, &len) && len == sizeof(kek);
	if (ok)
		memcpy(ret_kek, kek, sizeof(kek));
	secret_wipe(kek, sizeof(kek));
	return ok ? ST_OK : ST_INVALID_ARGUMENT;
}

/* The sealed number opens only in the row that it was made for. */
static size_t aad_write(const struct id *project, const char *kid, uint8_t ret_aad[AAD_SIZE])
{
	size_t kid_len = strnlen(kid, TOKEN_KID_SIZE);
	memcpy(ret_aad, project->bytes, ID_SIZE);
	memcpy(ret_aad + ID_SIZE, kid, kid_len);
	return ID_SIZE + kid_len;
}

enum status keyring_generate(const struct keyring *keyring, const struct id *project, struct sealed_key *ret_key)
{
	struct jwt_pair pair;
	struct sealed_key key;
	uint8_t aad[AAD_SIZE];
	enum status status = jwt_pair_generate(&pair);
	if (status != ST_OK)
		return status;
	status = jwt_thumbprint(pair.x, pair.y, key.kid);
	if (status != ST_OK)
		goto out;
	memcpy(key.x, pair.x, sizeof(key.x));
	memcpy(key.y, pair.y, sizeof(key.y));
	struct secret_piece plain = {pair.d, sizeof(pair.d)};
	secret_seal(keyring->kek, aad, aad_write(project, key.kid, aad), &plain, key.sealed);
	*ret_key = key;
out:
	secret_wipe(&pair, sizeof(pair));
	return status;
}

static struct jwt_key *key_open(const struct keyring *keyring, const struct id *project,
                                const struct sealed_key *sealed)
{
	struct jwt_pair pair;
	uint8_t aad[AAD_SIZE];
	struct secret_piece piece = {sealed->sealed, sizeof(sealed->sealed)};
	struct jwt_key *key = NULL;
	memcpy(pair.x, sealed->x, sizeof(pair.x));
	memcpy(pair.y, sealed->y, sizeof(pair.y));
	if (secret_open(keyring->kek, aad, aad_write(project, sealed->kid, aad), &piece, pair.d) == ST_OK)
		key = jwt_key_new(sealed->kid, JWT_TYPE_ACCESS, &pair);
	secret_wipe(&pair, sizeof(pair));
	return key;
}

static struct slot *slot_of(struct keyring *keyring, const struct id *project, const char *kid)
{
	uint8_t aad[AAD_SIZE];
	size_t len = aad_write(project, kid, aad);
	return &keyring->slots[hash_bytes(HASH_START, aad, len) % KEYRING_SLOTS];
}

enum status keyring_open(struct keyring *keyring, const struct id *project, const struct sealed_key *sealed,
                         const struct jwt_key **ret_key)
{
	struct slot *slot = slot_of(keyring, project, sealed->kid);
	if (!slot->key || !id_equal(&slot->project, project) || strcmp(slot->kid, sealed->kid) != 0) {
		struct jwt_key *key = key_open(keyring, project, sealed);
		if (!key)
			return ST_INTERNAL;
		jwt_key_free(&slot->key);
		slot->project = *project;
		memcpy(slot->kid, sealed->kid, sizeof(slot->kid));
		slot->key = key;
	}
	*ret_key = slot->key;
	return ST_OK;
}

enum status keyring_reseal(const struct keyring *from, const struct keyring *to, const struct id *project,
                           struct sealed_key *key)
{
	uint8_t d[JWT_COORDINATE_SIZE], aad[AAD_SIZE];
	size_t aad_len = aad_write(project, key->kid, aad);
	struct secret_piece sealed = {key->sealed, sizeof(key->sealed)}, plain = {d, sizeof(d)};
	enum status status = ST_ALREADY_EXISTS;
	if (secret_open(to->kek, aad, aad_len, &sealed, d) == ST_OK)
		goto out;
	status = ST_INTERNAL;
	if (secret_open(from->kek, aad, aad_len, &sealed, d) != ST_OK)
		goto out;
	secret_seal(to->kek, aad, aad_len, &plain, key->sealed);
	status = ST_OK;
out:
	secret_wipe(d, sizeof(d));
	return status;
}
