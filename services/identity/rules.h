/* Limits of what a user record may hold, and the folding of what is searched; login ids have their own header (base/login.h).
 * Pure functions: no allocation kept, any thread. All texts that come in are valid UTF-8 without NUL (checked at the bus). */
#pragma once

#include "base/buf.h"
#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

#define RULES_LOGIN_IDS_MAX 20
#define RULES_ROLES_MAX 100
#define RULES_NAME_MAX_BYTES 400
#define RULES_DESCRIPTION_MAX_BYTES 2000
#define RULES_CODE_MAX_BYTES 64
#define RULES_EXTERNAL_ID_MAX_BYTES 255
#define RULES_PICTURE_MAX_BYTES 2048
#define RULES_ATTRIBUTES_MAX_BYTES 16384
#define RULES_PASSWORD_MIN_BYTES 8
#define RULES_PASSWORD_MAX_BYTES 1024
#define RULES_SEARCH_MAX_BYTES 200
#define RULES_SHARDS 16

/* Why a value was refused: one static sentence, or NULL when it is acceptable. */
typedef const char *rules_reason;

MUST_USE rules_reason rules_phone_check(const char *phone);                 /* E.164: + and 7..15 digits */
MUST_USE rules_reason rules_text_check(const char *text, size_t max_bytes); /* 1..max_bytes, no control characters */
MUST_USE rules_reason rules_name_check(const char *text);                   /* a text of up to 400 bytes */
MUST_USE rules_reason rules_description_check(const char *text);            /* one of up to 2000 */
MUST_USE rules_reason rules_code_check(const char *code);                   /* [a-z0-9][a-z0-9._:-]{0,63} */
MUST_USE rules_reason rules_picture_check(const char *picture);             /* http or https URL */
MUST_USE rules_reason rules_password_check(const char *password);           /* length of a new password */

/* Appends text folded for substring search (NFC, lower case) and a line end; NULL appends nothing. */
void rules_search_add(struct buf *out, const char *text);

/* A LIKE pattern that finds `term` anywhere: folded as the search text, wildcards escaped, % at both ends.
 * Fails on a term that is empty, longer than RULES_SEARCH_MAX_BYTES or holds control characters.
 * *ret_run: longest run of letters and digits; a trigram index helps from 3 on. */
MUST_USE rules_reason rules_search_pattern(const char *term, struct buf *out, size_t *ret_run);

/* Counter shard of a user: the last four bits of its id. */
int16_t rules_shard(const uint8_t user_id[16]);
