/* Ids, random secrets, hashes, comparison in constant time, encryption at rest. With token.h the only user of OpenSSL in common/. */
#pragma once

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Fetches the OpenSSL algorithms once. Call at the start of main; aborts when the library is unusable. */
void secret_init(void);

/* Memory of this process reaches no file: no core dump, also none through a program that collects them, and no debugger of the
 * same user. Once at the start of main. */
void secret_shield_process(void);

/* ---- random, wiping, comparing ---- */
void secret_random(void *ret_bytes, size_t len_bytes); /* cryptographic; aborts the process when the source fails */
void secret_wipe(void *bytes, size_t len_bytes);       /* not optimised away */
bool secret_equal(const void *a, const void *b, size_t len_bytes); /* constant time */

/* ---- hashes ---- */
#define SHA256_SIZE 32
void secret_sha256(const void *data, size_t len_bytes, uint8_t ret_hash[SHA256_SIZE]);
/* Hash of several pieces one after another, without joining them in memory. */
struct secret_piece {
	const void *data;
	size_t len;
};
void secret_sha256_pieces(const struct secret_piece *pieces, size_t count, uint8_t ret_hash[SHA256_SIZE]);
void secret_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len_bytes,
                        uint8_t ret_mac[SHA256_SIZE]);

/* ---- ids: UUIDv7 (RFC 9562 section 5.7), shown as prefix_ + 26 characters of Crockford base32 (TypeID 0.3) ---- */
#define ID_SIZE 16
#define ID_TEXT_SIZE 40 /* longest prefix, underscore, 26 characters, NUL */
struct id {
	uint8_t bytes[ID_SIZE];
};
struct id id_new(void); /* monotonic within the process */
bool id_is_zero(const struct id *id);
bool id_equal(const struct id *a, const struct id *b); /* not constant time: ids are not secrets */
/* prefix without underscore: "usr", "prj", "key", "ses". ret_text is NUL-terminated. */
void id_format(const char *prefix, const struct id *id, char ret_text[ID_TEXT_SIZE]);
/* False when the prefix differs or the text is not canonical; *ret_id untouched then. NULL text gives false. */
bool id_parse(const char *prefix, const char *text, struct id *ret_id);
/* Stable id derived from another and a label (first 16 bytes of SHA-256): operation ids of follow-up calls. */
struct id id_derive(const struct id *from, const char *label);

/* ---- secrets that people paste: prefix_ + 43 characters base64url of 32 random bytes + 6 characters checksum ---- */
#define SECRET_TEXT_SIZE 72
void secret_new_text(const char *prefix, char ret_text[SECRET_TEXT_SIZE]);
/* Whether text is well formed and its checksum is right; cheap refusal of typing errors before any look-up. */
bool secret_text_valid(const char *prefix, const char *text);

/* ---- base64url without padding (RFC 4648 section 5) ---- */
#define BASE64URL_SIZE(len) ((4 * (len) + 2) / 3 + 1)
size_t base64url_encode(const void *data, size_t len_bytes, char *ret_text); /* NUL-terminates; returns characters */
/* Strict: alphabet, no padding, unused bits zero. Returns false otherwise. *ret_len in: capacity, out: bytes. */
bool base64url_decode(const char *text, size_t len_chars, void *ret_data, size_t *ret_len);
void hex_encode(const void *data, size_t len_bytes, char *ret_text); /* 2 characters a byte and NUL, lower case */
bool hex_decode(const char *text, size_t len_chars, void *ret_data); /* len_chars must be even */

/* ---- encryption at rest: AES-256-GCM; output = nonce (12) | ciphertext | tag (16); aad binds it to its row ---- */
#define SEAL_KEY_SIZE 32
#define SEAL_OVERHEAD 28
void secret_seal(const uint8_t key[SEAL_KEY_SIZE], const void *aad, size_t aad_len, const struct secret_piece *plain,
                 uint8_t *ret_sealed);
/* Returns ST_INVALID_TOKEN when the data was changed or the key or aad is another. ret_plain holds sealed->len - SEAL_OVERHEAD. */
MUST_USE enum status secret_open(const uint8_t key[SEAL_KEY_SIZE], const void *aad, size_t aad_len,
                                 const struct secret_piece *sealed, uint8_t *ret_plain);
