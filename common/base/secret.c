/* Ids, random secrets, hashes, encryption at rest, over OpenSSL's libcrypto with algorithms fetched once. */
#include "base/secret.h"

#include "base/clock.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define NONCE_SIZE 12
#define TAG_SIZE 16
#define ID_CHARS 26
#define RANDOM_BYTES 32
#define RANDOM_CHARS 43
#define CHECK_CHARS 6

/* Read-only after start, therefore shared by all threads. */
static EVP_MD *sha256;
static EVP_CIPHER *aes_gcm;
static EVP_MAC_CTX *hmac_template;
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

/* A library that fails here has no memory or no entropy: going on would mean predictable secrets. */
static void must(bool ok)
{
	if (ok)
		return;
	fputs("fatal: libcrypto failed\n", stderr);
	abort();
}

static void fetch_algorithms(void)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0), OSSL_PARAM_construct_end()};
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	aes_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	must(sha256 && aes_gcm && hmac);
	hmac_template = EVP_MAC_CTX_new(hmac);
	must(hmac_template && EVP_MAC_CTX_set_params(hmac_template, params) == 1);
	EVP_MAC_free(hmac);
}

void secret_init(void)
{
	pthread_once(&fetched, fetch_algorithms);
}

void secret_shield_process(void)
{
	struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* the sanitizers look into their own process */
	prctl(PR_SET_DUMPABLE, 0);
#endif
}

void secret_random(void *ret_bytes, size_t len_bytes)
{
	unsigned char *to = ret_bytes;
	while (len_bytes) {
		int piece = len_bytes > 65536 ? 65536 : (int)len_bytes;
		must(RAND_bytes(to, piece) == 1);
		to += piece;
		len_bytes -= (size_t)piece;
	}
}

void secret_wipe(void *bytes, size_t len_bytes)
{
	if (len_bytes)
		OPENSSL_cleanse(bytes, len_bytes);
}

bool secret_equal(const void *a, const void *b, size_t len_bytes)
{
	return CRYPTO_memcmp(a, b, len_bytes) == 0;
}

void secret_sha256(const void *data, size_t len_bytes, uint8_t ret_hash[SHA256_SIZE])
{
	secret_init();
	must(EVP_Digest(data, len_bytes, ret_hash, NULL, sha256, NULL) == 1);
}

void secret_sha256_pieces(const struct secret_piece *pieces, size_t count, uint8_t ret_hash[SHA256_SIZE])
{
	secret_init();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	must(ctx && EVP_DigestInit_ex2(ctx, sha256, NULL) == 1);
	for (size_t i = 0; i < count; i++)
		must(EVP_DigestUpdate(ctx, pieces[i].data, pieces[i].len) == 1);
	must(EVP_DigestFinal_ex(ctx, ret_hash, NULL) == 1);
	EVP_MD_CTX_free(ctx);
}

void secret_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len_bytes,
                        uint8_t ret_mac[SHA256_SIZE])
{
	secret_init();
	size_t len = 0;
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(hmac_template);
	must(ctx && EVP_MAC_init(ctx, key_len ? key : (const void *)"", key_len, NULL) == 1);
	must(EVP_MAC_update(ctx, data, len_bytes) == 1);
	must(EVP_MAC_final(ctx, ret_mac, &len, SHA256_SIZE) == 1 && len == SHA256_SIZE);
	EVP_MAC_CTX_free(ctx);
}

/* ---- ids ---- */

/* 48 bits of milliseconds and 12 bits of their fraction (RFC 9562 section 6.2, method 3); strictly rising. */
static uint64_t next_id_time(void)
{
	static atomic_uint_fast64_t last;
	int64_t wall_us = clock_wall_us();
	uint64_t now = (uint64_t)(wall_us / 1000) << 12 | (uint64_t)(wall_us % 1000) * 4096 / 1000;
	uint_fast64_t before = atomic_load_explicit(&last, memory_order_relaxed);
	uint64_t mine;
	do
		mine = now > before ? now : before + 1;
	while (
	    !atomic_compare_exchange_weak_explicit(&last, &before, mine, memory_order_relaxed, memory_order_relaxed));
	return mine;
}

struct id id_new(void)
{
	struct id id;
	uint64_t time = next_id_time();
	for (int i = 0; i < 6; i++)
		id.bytes[i] = (uint8_t)(time >> (52 - 8 * i));
	id.bytes[6] = (uint8_t)(0x70 | (time >> 8 & 0x0f));
	id.bytes[7] = (uint8_t)time;
	secret_random(id.bytes + 8, 8);
	id.bytes[8] = (uint8_t)(0x80 | (id.bytes[8] & 0x3f));
	return id;
}

bool id_is_zero(const struct id *id)
{
	static const struct id zero;
	return memcmp(id, &zero, sizeof(zero)) == 0;
}

bool id_equal(const struct id *a, const struct id *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static const char base32[] = "0123456789abcdefghjkmnpqrstvwxyz";

void id_format(const char *prefix, const struct id *id, char ret_text[ID_TEXT_SIZE])
{
	size_t prefix_len = strlen(prefix);
	assert(prefix_len + 1 + ID_CHARS < ID_TEXT_SIZE);
	memcpy(ret_text, prefix, prefix_len);
	ret_text[prefix_len] = '_';
	char *to = ret_text + prefix_len + 1;
	unsigned bits = 2, window = 0; /* 26 characters hold 130 bits: two zero bits stand in front */
	const uint8_t *from = id->bytes;
	for (int i = 0; i < ID_CHARS; i++) {
		if (bits < 5) {
			window = window << 8 | *from++;
			bits += 8;
		}
		bits -= 5;
		to[i] = base32[window >> bits & 31];
	}
	to[ID_CHARS] = '\0';
}

/* Value of a base32 character, -1 for others. Upper case and look-alikes are not canonical. */
static int base32_value(char c)
{
	static const int8_t letters[26] = {10, 11, 12, 13, 14, 15, 16, 17, -1, 18, 19, -1, 20,
	                                   21, -1, 22, 23, 24, 25, 26, -1, 27, 28, 29, 30, 31};
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'z' ? letters[c - 'a'] : -1;
}

bool id_parse(const char *prefix, const char *text, struct id *ret_id)
{
	struct id id;
	size_t prefix_len = strlen(prefix);
	if (!text || strncmp(text, prefix, prefix_len) != 0 || text[prefix_len] != '_')
		return false;
	const char *from = text + prefix_len + 1;
	if (strnlen(from, ID_CHARS + 1) != ID_CHARS || from[0] > '7')
		return false;
	unsigned bits = 0, window = 0;
	uint8_t *to = id.bytes;
	for (int i = 0; i < ID_CHARS; i++) {
		int value = base32_value(from[i]);
		if (value < 0)
			return false;
		window = window << 5 | (unsigned)value;
		bits += i == 0 ? 3 : 5;
		if (bits >= 8) {
			bits -= 8;
			*to++ = (uint8_t)(window >> bits);
		}
	}
	*ret_id = id;
	return true;
}

struct id id_derive(const struct id *from, const char *label)
{
	struct id id;
	uint8_t hash[SHA256_SIZE];
	const struct secret_piece pieces[] = {{from->bytes, ID_SIZE}, {label, strlen(label)}};
	secret_sha256_pieces(pieces, 2, hash);
	memcpy(id.bytes, hash, ID_SIZE);
	return id;
}

/* ---- pasted secrets ---- */

/* Characters 0..5 of base64url(SHA-256(everything before them)). */
static void secret_checksum(const char *text, size_t len_chars, char ret_check[CHECK_CHARS])
{
	uint8_t hash[SHA256_SIZE];
	char encoded[BASE64URL_SIZE(SHA256_SIZE)];
	secret_sha256(text, len_chars, hash);
	base64url_encode(hash, sizeof(hash), encoded);
	memcpy(ret_check, encoded, CHECK_CHARS);
}

void secret_new_text(const char *prefix, char ret_text[SECRET_TEXT_SIZE])
{
	uint8_t bytes[RANDOM_BYTES];
	size_t prefix_len = strlen(prefix);
	assert(prefix_len + 1 + RANDOM_CHARS + CHECK_CHARS < SECRET_TEXT_SIZE);
	memcpy(ret_text, prefix, prefix_len);
	ret_text[prefix_len] = '_';
	secret_random(bytes, sizeof(bytes));
	base64url_encode(bytes, sizeof(bytes), ret_text + prefix_len + 1);
	secret_wipe(bytes, sizeof(bytes));
	size_t len = prefix_len + 1 + RANDOM_CHARS;
	secret_checksum(ret_text, len, ret_text + len);
	ret_text[len + CHECK_CHARS] = '\0';
}

bool secret_text_valid(const char *prefix, const char *text)
{
	uint8_t bytes[RANDOM_BYTES];
	char check[CHECK_CHARS];
	size_t prefix_len = strlen(prefix), len = prefix_len + 1 + RANDOM_CHARS, bytes_len = sizeof(bytes);
	if (!text || strncmp(text, prefix, prefix_len) != 0 || text[prefix_len] != '_')
		return false;
	if (strnlen(text, len + CHECK_CHARS + 1) != len + CHECK_CHARS)
		return false;
	bool decoded = base64url_decode(text + prefix_len + 1, RANDOM_CHARS, bytes, &bytes_len);
	secret_wipe(bytes, sizeof(bytes));
	if (!decoded)
		return false;
	secret_checksum(text, len, check);
	return secret_equal(check, text + len, CHECK_CHARS);
}

/* ---- base64url, hex ---- */

static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t base64url_encode(const void *data, size_t len_bytes, char *ret_text)
{
	const uint8_t *from = data;
	char *to = ret_text;
	for (; len_bytes >= 3; len_bytes -= 3, from += 3) {
		uint32_t window = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
		*to++ = base64url[window >> 18];
		*to++ = base64url[window >> 12 & 63];
		*to++ = base64url[window >> 6 & 63];
		*to++ = base64url[window & 63];
	}
	if (len_bytes) {
		uint32_t window = (uint32_t)from[0] << 16 | (len_bytes == 2 ? (uint32_t)from[1] << 8 : 0);
		*to++ = base64url[window >> 18];
		*to++ = base64url[window >> 12 & 63];
		if (len_bytes == 2)
			*to++ = base64url[window >> 6 & 63];
	}
	*to = '\0';
	return (size_t)(to - ret_text);
}

/* Value plus one of each character of the alphabet; 0 for all others. */
static const uint8_t base64url_value[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64,
};

bool base64url_decode(const char *text, size_t len_chars, void *ret_data, size_t *ret_len)
{
	const uint8_t *from = (const uint8_t *)text;
	uint8_t *to = ret_data;
	size_t rest = len_chars % 4, len = len_chars / 4 * 3 + (rest ? rest - 1 : 0);
	if (rest == 1 || len > *ret_len)
		return false;
	for (size_t i = 0; i < len_chars; i++)
		if (!base64url_value[from[i]])
			return false;
	uint32_t unused = rest == 2 ? 15 : rest == 3 ? 3 : 0;
	if (rest && ((base64url_value[from[len_chars - 1]] - 1u) & unused))
		return false;
	uint32_t window = 0;
	unsigned bits = 0;
	for (size_t i = 0; i < len_chars; i++) {
		window = window << 6 | (base64url_value[from[i]] - 1u);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			*to++ = (uint8_t)(window >> bits);
		}
	}
	*ret_len = len;
	return true;
}

void hex_encode(const void *data, size_t len_bytes, char *ret_text)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *from = data;
	for (size_t i = 0; i < len_bytes; i++) {
		ret_text[2 * i] = digits[from[i] >> 4];
		ret_text[2 * i + 1] = digits[from[i] & 15];
	}
	ret_text[2 * len_bytes] = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool hex_decode(const char *text, size_t len_chars, void *ret_data)
{
	uint8_t *to = ret_data;
	if (len_chars % 2)
		return false;
	for (size_t i = 0; i < len_chars; i++)
		if (hex_value(text[i]) < 0)
			return false;
	for (size_t i = 0; i < len_chars; i += 2)
		to[i / 2] = (uint8_t)(hex_value(text[i]) << 4 | hex_value(text[i + 1]));
	return true;
}

/* ---- encryption at rest ---- */

void secret_seal(const uint8_t key[SEAL_KEY_SIZE], const void *aad, size_t aad_len, const struct secret_piece *plain,
                 uint8_t *ret_sealed)
{
	uint8_t *nonce = ret_sealed, *cipher = ret_sealed + NONCE_SIZE, last[TAG_SIZE];
	int len = 0;
	secret_init();
	secret_random(nonce, NONCE_SIZE);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	must(ctx && EVP_EncryptInit_ex2(ctx, aes_gcm, key, nonce, NULL) == 1);
	if (aad_len)
		must(EVP_EncryptUpdate(ctx, NULL, &len, aad, (int)aad_len) == 1);
	if (plain->len)
		must(EVP_EncryptUpdate(ctx, cipher, &len, plain->data, (int)plain->len) == 1);
	must(EVP_EncryptFinal_ex(ctx, last, &len) == 1);
	must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, cipher + plain->len) == 1);
	EVP_CIPHER_CTX_free(ctx);
}

enum status secret_open(const uint8_t key[SEAL_KEY_SIZE], const void *aad, size_t aad_len,
                        const struct secret_piece *sealed, uint8_t *ret_plain)
{
	if (sealed->len < SEAL_OVERHEAD || sealed->len > INT32_MAX)
		return ST_INVALID_TOKEN;
	const uint8_t *nonce = sealed->data, *cipher = nonce + NONCE_SIZE;
	size_t plain_len = sealed->len - SEAL_OVERHEAD;
	uint8_t tag[TAG_SIZE], last[TAG_SIZE];
	int len = 0;
	memcpy(tag, cipher + plain_len, TAG_SIZE);
	secret_init();
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	must(ctx && EVP_DecryptInit_ex2(ctx, aes_gcm, key, nonce, NULL) == 1);
	if (aad_len)
		must(EVP_DecryptUpdate(ctx, NULL, &len, aad, (int)aad_len) == 1);
	if (plain_len)
		must(EVP_DecryptUpdate(ctx, ret_plain, &len, cipher, (int)plain_len) == 1);
	must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) == 1);
	bool genuine = EVP_DecryptFinal_ex(ctx, last, &len) == 1;
	EVP_CIPHER_CTX_free(ctx);
	if (!genuine)
		secret_wipe(ret_plain, plain_len);
	return genuine ? ST_OK : ST_INVALID_TOKEN;
}
