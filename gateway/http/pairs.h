/* Names and values of a query, a form or Cookie headers: read strictly, in bounds, once. Everything is in the arena. */
#pragma once

#include "http/request.h"
#include "json/pbjson.h"

#define PAIRS_MAX 256
#define PAIRS_NAME_MAX_BYTES 256
#define PAIRS_VALUE_MAX_BYTES 65536

struct pairs {
	size_t count;
	struct pbjson_text *list; /* name and text, valid UTF-8 without NUL, in their order */
};

/* Reads a query string or a body of application/x-www-form-urlencoded: & between pairs, percent-encoding, + as a blank. Empty
 * pieces are nothing; a piece without = has an empty text. text may be NULL when len_chars is 0. ST_INVALID_ARGUMENT (bad encoding, no
 * name, too many, too long) and ST_RESOURCE_EXHAUSTED fill *ret_error. */
MUST_USE enum status pairs_read(const char *text, size_t len_chars, struct arena *arena, struct pairs *ret_pairs,
                                struct pbjson_error *ret_error);

/* Reads all Cookie headers of a request. A piece that is no cookie by RFC 6265 is left out: others than us set cookies as well.
 * Statuses as pairs_read. */
MUST_USE enum status pairs_read_cookies(const struct http_request *request, struct arena *arena,
                                        struct pairs *ret_pairs, struct pbjson_error *ret_error);

/* Whether name and value are a cookie by RFC 6265 section 4.1.1: no blank, comma, semicolon, quote or backslash, ASCII only. */
bool pairs_cookie_valid(const char *name, const char *value);

/* The text of the only pair with this name. ST_NOT_FOUND; ST_INVALID_ARGUMENT when there are several: which of them is meant is not
 * for us to guess. */
MUST_USE enum status pairs_find(const struct pairs *pairs, const char *name, const char **ret_text);

/* Sets the fields of a message by the rules of a JSON document: names and forms of the style, a name twice only for a list,
 * unknown names and those of rules->skip refused, required ones asked for. rules may be NULL. Statuses as pbjson_parse. */
MUST_USE enum status pairs_to_message(const struct pairs *pairs, const struct pbjson_rules *rules,
                                      ProtobufCMessage *message, struct arena *arena, struct pbjson_error *ret_error);

/* Whether a Content-Type is this media type in UTF-8: without parameters, or with charset=utf-8. NULL is none. */
bool pairs_type_is(const char *content_type, const char *media_type);
