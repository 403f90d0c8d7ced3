/* Names and values of a query, a form or Cookie headers. */
#include "http/pairs.h"

#include "base/utf8.h"

#include <string.h>
#include <strings.h>

static enum status refuse(struct pbjson_error *ret_error, const char *field, const char *reason)
{
	*ret_error = (struct pbjson_error){.field = field, .reason = reason};
	return ST_INVALID_ARGUMENT;
}

static enum status full(struct pbjson_error *ret_error)
{
	(void)refuse(ret_error, "", "there is no memory left for this request");
	return ST_RESOURCE_EXHAUSTED;
}

/* How many pieces a text has at most. */
static size_t pieces(const char *text, size_t len, char separator)
{
	size_t count = 1;
	for (size_t i = 0; i < len; i++)
		count += text[i] == separator;
	return count;
}

/* Room for count more pairs, of which there may be PAIRS_MAX in all. */
static enum status make_room(struct pairs *pairs, size_t count, struct arena *arena, struct pbjson_error *ret_error)
{
	struct pbjson_text *list;
	if (pairs->count + count > PAIRS_MAX)
		return refuse(ret_error, "", "holds more than 256 pairs");
	list = arena_alloc(arena, (pairs->count + count) * sizeof(*list));
	if (!list)
		return full(ret_error);
	if (pairs->count > 0)
		memcpy(list, pairs->list, pairs->count * sizeof(*list));
	pairs->list = list;
	return ST_OK;
}

/* ---- queries and forms ---- */

static enum status read_pair(const char *piece, size_t len, struct arena *arena, struct pairs *pairs,
                             struct pbjson_error *ret_error)
{
	const char *equals = memchr(piece, '=', len);
	size_t name_len = equals ? (size_t)(equals - piece) : len;
	const char *name, *text = "";
	if (name_len == 0)
		return refuse(ret_error, "", "A parameter has no name");
	if (name_len > PAIRS_NAME_MAX_BYTES)
		return refuse(ret_error, "", "The name of a parameter is longer than 256 bytes");
	name = http_decode(arena, piece, name_len, true);
	if (!name)
		return refuse(ret_error, "", "The name of a parameter is not valid percent-encoded UTF-8");
	if (len - name_len > PAIRS_VALUE_MAX_BYTES + 1)
		return refuse(ret_error, name, "is longer than 65536 bytes");
	if (equals)
		text = http_decode(arena, equals + 1, len - name_len - 1, true);
	if (!text)
		return refuse(ret_error, name, "is not valid percent-encoded UTF-8");
	pairs->list[pairs->count++] = (struct pbjson_text){name, text};
	return ST_OK;
}

enum status pairs_read(const char *text, size_t len_chars, struct arena *arena, struct pairs *ret_pairs,
                       struct pbjson_error *ret_error)
{
	struct pairs pairs = {0};
	size_t start = 0;
	enum status status = ST_OK;
	if (len_chars > 0)
		status = make_room(&pairs, pieces(text, len_chars, '&'), arena, ret_error);
	while (status == ST_OK && start < len_chars) {
		const char *end = memchr(text + start, '&', len_chars - start);
		size_t len = end ? (size_t)(end - text) - start : len_chars - start;
		if (len > 0)
			status = read_pair(text + start, len, arena, &pairs, ret_error);
		start += len + 1;
	}
	if (status == ST_OK)
		*ret_pairs = pairs;
	return status;
}

/* ---- cookies ---- */

/* RFC 9110 section 5.6.2: what a cookie's name is made of. */
static bool token_char(unsigned char c)
{
	return c > 0x20 && c < 0x7f && !strchr("\"(),/:;<=>?@[\\]{}", c);
}

/* RFC 6265 section 4.1.1. */
static bool cookie_octet(unsigned char c)
{
	return c > 0x20 && c < 0x7f && !strchr("\",;\\", c);
}

static bool made_of(const char *text, size_t len, bool (*allowed)(unsigned char c))
{
	for (size_t i = 0; i < len; i++)
		if (!allowed((unsigned char)text[i]))
			return false;
	return true;
}

static bool name_valid(const char *name, size_t len)
{
	return len > 0 && len <= PAIRS_NAME_MAX_BYTES && made_of(name, len, token_char);
}

bool pairs_cookie_valid(const char *name, const char *value)
{
	return name_valid(name, strlen(name)) && made_of(value, strlen(value), cookie_octet);
}

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Adds the cookie that a piece between semicolons is; leaves out what is none. */
static enum status read_cookie(const char *piece, size_t len, struct arena *arena, struct pairs *pairs,
                               struct pbjson_error *ret_error)
{
	while (len > 0 && blank(*piece)) {
		piece++;
		len--;
	}
	while (len > 0 && blank(piece[len - 1]))
		len--;
	const char *equals = memchr(piece, '=', len);
	size_t name_len = equals ? (size_t)(equals - piece) : 0;
	if (!name_valid(piece, name_len))
		return ST_OK;
	const char *value = equals + 1;
	size_t value_len = len - name_len - 1;
	if (value_len >= 2 && value[0] == '"' && value[value_len - 1] == '"') {
		value++;
		value_len -= 2;
	}
	if (!made_of(value, value_len, cookie_octet))
		return ST_OK;
	struct pbjson_text cookie = {arena_strndup(arena, piece, name_len), arena_strndup(arena, value, value_len)};
	if (!cookie.name || !cookie.text)
		return full(ret_error);
	pairs->list[pairs->count++] = cookie;
	return ST_OK;
}

static enum status read_cookie_header(const char *value, struct arena *arena, struct pairs *pairs,
                                      struct pbjson_error *ret_error)
{
	size_t len = strlen(value);
	enum status status = make_room(pairs, pieces(value, len, ';'), arena, ret_error);
	for (const char *piece = value; status == ST_OK && piece <= value + len;) {
		size_t piece_len = strcspn(piece, ";");
		status = read_cookie(piece, piece_len, arena, pairs, ret_error);
		piece += piece_len + 1;
	}
	return status;
}

enum status pairs_read_cookies(const struct http_request *request, struct arena *arena, struct pairs *ret_pairs,
                               struct pbjson_error *ret_error)
{
	struct pairs pairs = {0};
	for (size_t i = 0; i < request->header_count; i++) {
		enum status status;
		if (strcasecmp(request->headers[i].name, "Cookie") != 0)
			continue;
		status = read_cookie_header(request->headers[i].value, arena, &pairs, ret_error);
		if (status != ST_OK)
			return status;
	}
	*ret_pairs = pairs;
	return ST_OK;
}

/* ---- using them ---- */

enum status pairs_find(const struct pairs *pairs, const char *name, const char **ret_text)
{
	const char *found = NULL;
	for (size_t i = 0; i < pairs->count; i++) {
		if (strcmp(pairs->list[i].name, name) != 0)
			continue;
		if (found)
			return ST_INVALID_ARGUMENT;
		found = pairs->list[i].text;
	}
	if (!found)
		return ST_NOT_FOUND;
	*ret_text = found;
	return ST_OK;
}

static bool listed(const char *const *list, const char *name)
{
	for (; list && *list; list++)
		if (strcmp(*list, name) == 0)
			return true;
	return false;
}

static enum status set_pair(const struct pbjson_text *pair, const struct pbjson_rules *rules, ProtobufCMessage *message,
                            struct arena *arena, struct pbjson_error *ret_error)
{
	const struct pbjson_style *style = rules ? rules->style : NULL;
	enum status status = ST_NOT_FOUND;
	if (!rules || !listed(rules->skip, pair->name))
		status = pbjson_set_styled(message, pair, style, arena, ret_error);
	if (status == ST_NOT_FOUND && style && style->unknown_ignored)
		return ST_OK;
	if (status == ST_NOT_FOUND)
		return refuse(ret_error, pair->name, "is no parameter of this request");
	return status;
}

enum status pairs_to_message(const struct pairs *pairs, const struct pbjson_rules *rules, ProtobufCMessage *message,
                             struct arena *arena, struct pbjson_error *ret_error)
{
	for (size_t i = 0; i < pairs->count; i++) {
		enum status status = set_pair(&pairs->list[i], rules, message, arena, ret_error);
		if (status != ST_OK)
			return status;
	}
	for (const char *const *name = rules ? rules->required : NULL; name && *name; name++) {
		const char *text;
		if (pairs_find(pairs, *name, &text) == ST_NOT_FOUND)
			return refuse(ret_error, *name, "is missing");
	}
	return ST_OK;
}

bool pairs_type_is(const char *content_type, const char *media_type)
{
	size_t len = strlen(media_type);
	if (!content_type || strncasecmp(content_type, media_type, len) != 0)
		return false;
	content_type += len;
	content_type += strspn(content_type, " \t");
	if (*content_type == '\0')
		return true;
	if (*content_type++ != ';')
		return false;
	content_type += strspn(content_type, " \t");
	return strcasecmp(content_type, "charset=utf-8") == 0 || strcasecmp(content_type, "charset=\"utf-8\"") == 0;
}
