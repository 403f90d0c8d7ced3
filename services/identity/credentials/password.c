/* Password hashes: making (Argon2id) and checking (Argon2, bcrypt, SHA-crypt, yescrypt). */
#include "credentials/password.h"

#include <argon2.h>
#include <crypt.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define HEAVY_MEMORY_KIB (64 * 1024)
#define HEAVY_WORK_KIB (256 * 1024) /* memory times passes */
#define HEAVY_BCRYPT_COST 13
#define HEAVY_SHA_ROUNDS 100000

static const char crypt_alphabet[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* ---- small readers: each moves *at behind what it took ---- */

static bool take_text(const char **at, const char *text)
{
	size_t len = strlen(text);
	if (strncmp(*at, text, len) != 0)
		return false;
	*at += len;
	return true;
}

/* A decimal number without leading zeros within min..max. */
static bool take_number(const char **at, uint32_t min, uint32_t max, uint32_t *ret_number)
{
	uint64_t number = 0;
	size_t digits = strspn(*at, "0123456789");
	if (digits == 0 || digits > 9 || (digits > 1 && **at == '0'))
		return false;
	for (size_t i = 0; i < digits; i++)
		number = number * 10 + (uint64_t)((*at)[i] - '0');
	if (number < min || number > max)
		return false;
	*at += digits;
	*ret_number = (uint32_t)number;
	return true;
}

/* min..max characters of an alphabet. */
static bool take_span(const char **at, const char *alphabet, size_t min, size_t max)
{
	size_t len = strspn(*at, alphabet);
	if (len < min || len > max)
		return false;
	*at += len;
	return true;
}

/* ---- the accepted formats ---- */

/* $argon2id$v=19$m=19456,t=2,p=1$salt$hash: salt of 8..48 bytes, hash of 16..64, base64 without padding. */
static bool inspect_argon2(const char *at, struct password_info *ret_info)
{
	struct password_info info = {.scheme = PASSWORD_ARGON2};
	uint32_t version, lanes;
	if (take_text(&at, "$argon2id$"))
		info.variant = 'x';
	else if (take_text(&at, "$argon2i$"))
		info.variant = 'i';
	else if (take_text(&at, "$argon2d$"))
		info.variant = 'd';
	else
		return false;
	if (!take_text(&at, "v=") || !take_number(&at, 16, 19, &version) || (version != 16 && version != 19))
		return false;
	if (!take_text(&at, "$m=") || !take_number(&at, 8, PASSWORD_MEMORY_MAX_KIB, &info.memory_kib) ||
	    !take_text(&at, ",t=") || !take_number(&at, 1, PASSWORD_PASSES_MAX, &info.passes) ||
	    !take_text(&at, ",p=") || !take_number(&at, 1, PASSWORD_LANES_MAX, &lanes) || info.memory_kib < 8 * lanes)
		return false;
	uint64_t work_kib = (uint64_t)info.memory_kib * info.passes;
	if (work_kib > PASSWORD_WORK_MAX_KIB)
		return false;
	info.heavy = info.memory_kib > HEAVY_MEMORY_KIB || work_kib > HEAVY_WORK_KIB;
	if (!take_text(&at, "$") || !take_span(&at, base64_alphabet, 11, 64) || !take_text(&at, "$") ||
	    !take_span(&at, base64_alphabet, 22, 86) || *at)
		return false;
	if (info.variant == 'x' && lanes == 1 && version == 19)
		info.scheme = PASSWORD_ARGON2ID;
	*ret_info = info;
	return true;
}

/* $2b$10$ and 53 characters. */
static bool inspect_bcrypt(const char *at, bool *ret_heavy)
{
	if (!take_text(&at, "$2a$") && !take_text(&at, "$2b$") && !take_text(&at, "$2y$"))
		return false;
	if (strspn(at, "0123456789") != 2)
		return false;
	int cost = (at[0] - '0') * 10 + (at[1] - '0');
	at += 2;
	*ret_heavy = cost >= HEAVY_BCRYPT_COST;
	return cost >= 4 && cost <= PASSWORD_BCRYPT_COST_MAX && take_text(&at, "$") &&
	       take_span(&at, crypt_alphabet, 53, 53) && !*at;
}

/* $5$ or $6$, optional rounds, salt of 1..16 characters, 43 or 86 characters. */
static bool inspect_sha_crypt(const char *at, bool *ret_heavy)
{
	uint32_t rounds = 5000;
	size_t hash_len = 43;
	if (take_text(&at, "$6$"))
		hash_len = 86;
	else if (!take_text(&at, "$5$"))
		return false;
	if (take_text(&at, "rounds=") &&
	    (!take_number(&at, 1000, PASSWORD_SHA_ROUNDS_MAX, &rounds) || !take_text(&at, "$")))
		return false;
	*ret_heavy = rounds > HEAVY_SHA_ROUNDS;
	return take_span(&at, crypt_alphabet, 1, 16) && take_text(&at, "$") &&
	       take_span(&at, crypt_alphabet, hash_len, hash_len) && !*at;
}

/* $y$j9T$salt$hash: flavour j, then log2(N) - 1 and r - 1 as one character each; N * r * 128 bytes are needed. */
static bool inspect_yescrypt(const char *at, bool *ret_heavy)
{
	if (!take_text(&at, "$y$j") || strspn(at, crypt_alphabet) != 2)
		return false;
	unsigned log2_n = (unsigned)(strchr(crypt_alphabet, at[0]) - crypt_alphabet) + 1;
	unsigned r = (unsigned)(strchr(crypt_alphabet, at[1]) - crypt_alphabet) + 1;
	at += 2;
	if (log2_n < 4 || log2_n > 20 || r > 47 || ((uint64_t)r << log2_n) * 128 > PASSWORD_MEMORY_MAX_KIB * 1024ULL)
		return false;
	*ret_heavy = ((uint64_t)r << log2_n) * 128 > HEAVY_MEMORY_KIB * 1024ULL;
	return take_text(&at, "$") && take_span(&at, crypt_alphabet, 1, 86) && take_text(&at, "$") &&
	       take_span(&at, crypt_alphabet, 43, 43) && !*at;
}

bool password_inspect(const char *hash, struct password_info *ret_info)
{
	if (!hash || strnlen(hash, PASSWORD_HASH_SIZE) >= PASSWORD_HASH_SIZE)
		return false;
	if (inspect_argon2(hash, ret_info))
		return true;
	bool heavy = false;
	if (!inspect_bcrypt(hash, &heavy) && !inspect_sha_crypt(hash, &heavy) && !inspect_yescrypt(hash, &heavy))
		return false;
	*ret_info = (struct password_info){.scheme = PASSWORD_CRYPT, .heavy = heavy};
	return true;
}

bool password_init(void)
{
	return sodium_init() >= 0;
}

enum status password_hash(const struct password_params *params, const char *password, size_t len_bytes,
                          char ret_hash[PASSWORD_HASH_SIZE])
{
	_Static_assert(crypto_pwhash_STRBYTES <= PASSWORD_HASH_SIZE, "fits");
	/* For this algorithm opslimit is t itself and memlimit is m in bytes. */
	if (crypto_pwhash_str_alg(ret_hash, password, len_bytes, params->passes, (size_t)params->memory_kib * 1024,
	                          crypto_pwhash_ALG_ARGON2ID13) != 0)
		return ST_RESOURCE_EXHAUSTED;
	return ST_OK;
}

static bool verify_argon2(const struct password_info *info, const char *hash, const char *password, size_t len_bytes)
{
	argon2_type type = info->variant == 'x' ? Argon2_id : info->variant == 'i' ? Argon2_i : Argon2_d;
	return argon2_verify(hash, password, len_bytes, type) == ARGON2_OK;
}

static bool verify_crypt(const char *hash, const char *password, size_t len_bytes)
{
	/* crypt(3) ends the password at a NUL and refuses more than this. */
	if (memchr(password, '\0', len_bytes) || len_bytes >= CRYPT_MAX_PASSPHRASE_SIZE)
		return false;
	char phrase[CRYPT_MAX_PASSPHRASE_SIZE + 1];
	struct crypt_data *data = calloc(1, sizeof(*data));
	bool right = false;
	memcpy(phrase, password, len_bytes);
	phrase[len_bytes] = '\0';
	if (data) {
		const char *made = crypt_r(phrase, hash, data);
		size_t len = strlen(hash);
		right = made && strlen(made) == len && sodium_memcmp(made, hash, len) == 0;
		sodium_memzero(data, sizeof(*data));
		free(data);
	}
	sodium_memzero(phrase, sizeof(phrase));
	return right;
}

enum status password_verify(const char *hash, const char *password, size_t len_bytes)
{
	struct password_info info;
	if (!password_inspect(hash, &info))
		return ST_INVALID_CREDENTIALS;
	bool right = false;
	switch (info.scheme) {
	case PASSWORD_ARGON2ID:
		right = crypto_pwhash_str_verify(hash, password, len_bytes) == 0;
		break;
	case PASSWORD_ARGON2:
		right = verify_argon2(&info, hash, password, len_bytes);
		break;
	case PASSWORD_CRYPT:
		right = verify_crypt(hash, password, len_bytes);
		break;
	}
	return right ? ST_OK : ST_INVALID_CREDENTIALS;
}

bool password_is_outdated(const char *hash, const struct password_params *params)
{
	struct password_info info;
	return !password_inspect(hash, &info) || info.scheme != PASSWORD_ARGON2ID ||
	       info.memory_kib != params->memory_kib || info.passes != params->passes;
}
