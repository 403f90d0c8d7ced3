/* JSON text to a tree within our bounds, and the path of what is wrong when it is refused. */
#include "base/secret.h"
#include "base/utf8.h"
#include "json/pbjson_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define INTEGER_SAFE_CHARS 18 /* so many always fit an int64 */

struct reader {
	const char *at, *end;
	size_t depth, values;
	struct pbjson_parse parse;
};

static enum status read_value(struct reader *reader, const struct pbjson_place *place, struct jvalue *ret_value);

/* What is wrong here: the text ends, or something stands in it that may not. */
static enum status refuse_here(struct reader *reader, const struct pbjson_place *place)
{
	return pbjson_refuse_at(&reader->parse, place,
	                        reader->at < reader->end ? "is not valid JSON" : "the JSON text ends too early");
}

static void skip_blanks(struct reader *reader)
{
	while (reader->at < reader->end &&
	       (*reader->at == ' ' || *reader->at == '\n' || *reader->at == '\r' || *reader->at == '\t'))
		reader->at++;
}

/* Skips blanks and takes the character, if it is there. */
static bool take(struct reader *reader, char wanted)
{
	skip_blanks(reader);
	if (reader->at == reader->end || *reader->at != wanted)
		return false;
	reader->at++;
	return true;
}

/* ---- strings ---- */

static bool read_hex4(const char *text, size_t len, unsigned *ret_code)
{
	uint8_t bytes[2];

	if (len < 4 || !hex_decode(text, 4, bytes))
		return false;
	*ret_code = (unsigned)bytes[0] << 8 | bytes[1];
	return true;
}

/* Writes a code point as UTF-8; returns the bytes, which are never more than its escape had. */
static size_t put_utf8(unsigned code, char *out)
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

/* The code point of \uXXXX or of a surrogate pair of two; at points behind the first u. Returns the characters read, 0 when malformed. */
static size_t read_unicode(const char *at, size_t len, unsigned *ret_code)
{
	unsigned low;

	if (!read_hex4(at, len, ret_code) || (*ret_code >= 0xdc00 && *ret_code <= 0xdfff))
		return 0;
	if (*ret_code < 0xd800 || *ret_code > 0xdbff)
		return 4;
	if (len < 10 || at[4] != '\\' || at[5] != 'u' || !read_hex4(at + 6, 4, &low) || low < 0xdc00 || low > 0xdfff)
		return 0;
	*ret_code = 0x10000 + ((*ret_code - 0xd800) << 10) + (low - 0xdc00);
	return 10;
}

/* Decodes the escapes of text in place. Returns why it cannot, or NULL. */
static const char *unescape(char *text, size_t *len)
{
	static const char plain[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
	size_t used = 0, at = 0;

	while (at < *len) {
		unsigned code;
		const char *known;
		size_t read;

		if (text[at] != '\\') {
			text[used++] = text[at++];
			continue;
		}
		at++; /* the closing quote was not behind a backslash, so there is one more */
		if (text[at] != 'u') {
			known = memchr(plain, text[at++], sizeof(plain) - 1);
			if (!known)
				return "is not valid JSON";
			text[used++] = meaning[known - plain];
			continue;
		}
		read = read_unicode(text + at + 1, *len - at - 1, &code);
		if (!read)
			return "is not valid JSON";
		if (code == 0)
			return "must not hold the character U+0000";
		used += put_utf8(code, text + used);
		at += 1 + read;
	}
	text[used] = 0;
	*len = used;
	return NULL;
}

/* Where the string that we are in ends, its closing quote behind us then; NULL when a control character or the end of the text comes first. */
static const char *find_quote(struct reader *reader, bool *ret_escaped)
{
	*ret_escaped = false;
	while (reader->at < reader->end) {
		unsigned char c = (unsigned char)*reader->at;

		if (c == '"')
			return reader->at++;
		if (c < 0x20)
			return NULL;
		if (c == '\\') {
			*ret_escaped = true;
			reader->at++;
		}
		reader->at += reader->at < reader->end;
	}
	return NULL;
}

/* Reads the string whose opening quote is next; the result ends with NUL, in the arena. */
static enum status read_string(struct reader *reader, const struct pbjson_place *place, const char **ret_text,
                               size_t *ret_len)
{
	const char *start = ++reader->at, *end, *reason = NULL;
	bool escaped;
	char *copy;
	size_t len;

	end = find_quote(reader, &escaped);
	if (!end && reader->at < reader->end && !*reader->at)
		return pbjson_refuse_at(&reader->parse, place, "must not hold the character U+0000");
	if (!end)
		return refuse_here(reader, place);
	len = (size_t)(end - start);
	if (!utf8_valid(start, len))
		return pbjson_refuse_at(&reader->parse, place, "is not valid UTF-8");
	copy = arena_strndup(reader->parse.arena, start, len);
	if (!copy)
		return pbjson_no_memory(&reader->parse, place);
	if (escaped)
		reason = unescape(copy, &len);
	if (reason)
		return pbjson_refuse_at(&reader->parse, place, reason);
	*ret_text = copy;
	*ret_len = len;
	return ST_OK;
}

/* ---- numbers ---- */

static const char *skip_digits(const char *at, const char *end)
{
	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at;
}

size_t jvalue_number_len(const char *text, size_t len_bytes, bool *ret_integer)
{
	const char *at = text, *end = text + len_bytes, *digits;

	at += at < end && *at == '-';
	digits = at;
	at = at < end && *at == '0' ? at + 1 : skip_digits(at, end);
	if (at == digits)
		return 0;
	*ret_integer = true;
	if (at < end && *at == '.') {
		*ret_integer = false;
		digits = ++at;
		at = skip_digits(at, end);
		if (at == digits)
			return 0;
	}
	if (at < end && (*at == 'e' || *at == 'E')) {
		*ret_integer = false;
		at++;
		at += at < end && (*at == '+' || *at == '-');
		digits = at;
		at = skip_digits(at, end);
		if (at == digits)
			return 0;
	}
	return (size_t)(at - text);
}

bool jvalue_number_fits(const char *text, size_t len_bytes, bool integer)
{
	char copy[JVALUE_NUMBER_MAX_BYTES + 1];

	if (len_bytes > JVALUE_NUMBER_MAX_BYTES)
		return false;
	if (integer && len_bytes <= INTEGER_SAFE_CHARS)
		return true;
	memcpy(copy, text, len_bytes);
	copy[len_bytes] = 0;
	errno = 0;
	if (!integer)
		return isfinite(strtod(copy, NULL));
	(void)strtoll(copy, NULL, 10);
	return errno == 0;
}

static enum status read_number(struct reader *reader, const struct pbjson_place *place, struct jvalue *ret_value)
{
	bool integer = false;
	size_t len = jvalue_number_len(reader->at, (size_t)(reader->end - reader->at), &integer);

	if (!len)
		return refuse_here(reader, place);
	if (!jvalue_number_fits(reader->at, len, integer))
		return pbjson_refuse_at(&reader->parse, place, "is a number out of range");
	ret_value->kind = JVALUE_NUMBER;
	ret_value->text = reader->at;
	ret_value->len = len;
	reader->at += len;
	return ST_OK;
}

/* ---- objects and arrays ---- */

static enum status enter(struct reader *reader, const struct pbjson_place *place)
{
	if (reader->depth == PBJSON_DEPTH_MAX)
		return pbjson_refuse_at(&reader->parse, place, "is nested deeper than 32 levels");
	reader->depth++;
	reader->at++;
	return ST_OK;
}

/* One more member or element at the end of parent; place is the parent's. */
static enum status append(struct reader *reader, const struct pbjson_place *place, struct jvalue *parent,
                          struct jvalue **ret_item)
{
	if (++reader->values > PBJSON_VALUES_MAX)
		return pbjson_refuse_at(&reader->parse, place, "holds more than 10000 values");
	*ret_item = jvalue_append(parent, reader->parse.arena);
	return *ret_item ? ST_OK : pbjson_no_memory(&reader->parse, place);
}

/* Reads name, colon, value and what stands behind it: a comma (*ret_more) or the closing brace. */
static enum status read_member(struct reader *reader, const struct pbjson_place *place, struct jvalue *object,
                               bool *ret_more)
{
	struct pbjson_place inside = {.up = place};
	struct jvalue *member;
	size_t len;
	enum status status = append(reader, place, object, &member);

	if (status != ST_OK)
		return status;
	skip_blanks(reader);
	if (reader->at == reader->end || *reader->at != '"')
		return refuse_here(reader, place);
	status = read_string(reader, place, &member->name, &len);
	if (status != ST_OK)
		return status;
	inside.name = member->name;
	if (!take(reader, ':'))
		return refuse_here(reader, &inside);
	status = read_value(reader, &inside, member);
	if (status != ST_OK)
		return status;
	*ret_more = take(reader, ',');
	return *ret_more || take(reader, '}') ? ST_OK : refuse_here(reader, &inside);
}

static enum status read_object(struct reader *reader, const struct pbjson_place *place, struct jvalue *ret_value)
{
	struct pbjson_place twice = {.up = place};
	bool more = false;
	enum status status = enter(reader, place);

	if (status != ST_OK)
		return status;
	ret_value->kind = JVALUE_OBJECT;
	more = !take(reader, '}');
	while (more) {
		status = read_member(reader, place, ret_value, &more);
		if (status != ST_OK)
			return status;
	}
	reader->depth--;
	if (!jvalue_sort(ret_value, reader->parse.arena, &twice.name))
		return pbjson_no_memory(&reader->parse, place);
	return twice.name ? pbjson_refuse_at(&reader->parse, &twice, "is given more than once") : ST_OK;
}

static enum status read_element(struct reader *reader, const struct pbjson_place *place, struct jvalue *array,
                                bool *ret_more)
{
	struct pbjson_place inside = {.up = place, .index = array->count};
	struct jvalue *element;
	enum status status = append(reader, place, array, &element);

	if (status == ST_OK)
		status = read_value(reader, &inside, element);
	if (status != ST_OK)
		return status;
	*ret_more = take(reader, ',');
	return *ret_more || take(reader, ']') ? ST_OK : refuse_here(reader, &inside);
}

static enum status read_array(struct reader *reader, const struct pbjson_place *place, struct jvalue *ret_value)
{
	bool more = false;
	enum status status = enter(reader, place);

	if (status != ST_OK)
		return status;
	ret_value->kind = JVALUE_ARRAY;
	more = !take(reader, ']');
	while (more) {
		status = read_element(reader, place, ret_value, &more);
		if (status != ST_OK)
			return status;
	}
	reader->depth--;
	return ST_OK;
}

static enum status read_word(struct reader *reader, const struct pbjson_place *place, const char *word)
{
	size_t len = strlen(word), left = (size_t)(reader->end - reader->at);

	if (left < len || memcmp(reader->at, word, len) != 0)
		return refuse_here(reader, place);
	reader->at += len;
	return ST_OK;
}

static enum status read_value(struct reader *reader, const struct pbjson_place *place, struct jvalue *ret_value)
{
	skip_blanks(reader);
	if (reader->at == reader->end)
		return refuse_here(reader, place);
	switch (*reader->at) {
	case '{':
		return read_object(reader, place, ret_value);
	case '[':
		return read_array(reader, place, ret_value);
	case '"':
		ret_value->kind = JVALUE_STRING;
		return read_string(reader, place, &ret_value->text, &ret_value->len);
	case 't':
		ret_value->kind = JVALUE_TRUE;
		return read_word(reader, place, "true");
	case 'f':
		ret_value->kind = JVALUE_FALSE;
		return read_word(reader, place, "false");
	case 'n':
		ret_value->kind = JVALUE_NULL;
		return read_word(reader, place, "null");
	default:
		return read_number(reader, place, ret_value);
	}
}

enum status jvalue_read(const char *text, size_t len_bytes, struct arena *arena, const struct jvalue **ret_root,
                        struct pbjson_error *ret_error)
{
	struct reader reader = {.at = text, .end = text + len_bytes, .parse = {.arena = arena, .error = ret_error}};
	struct jvalue *root = arena_alloc(arena, sizeof(*root));
	enum status status;

	if (!root)
		return pbjson_no_memory(&reader.parse, NULL);
	status = read_value(&reader, NULL, root);
	if (status != ST_OK)
		return status;
	skip_blanks(&reader);
	if (reader.at < reader.end)
		return pbjson_refuse_at(&reader.parse, NULL, "there is text after the JSON document");
	*ret_root = root;
	return ST_OK;
}

/* Prefixes the path inside the object with the name of the field that holds it. */
static const char *join_path(struct arena *arena, const char *field, const char *inside)
{
	if (!*inside)
		return field;
	return arena_printf(arena, inside[0] == '[' ? "%s%s" : "%s.%s", field, inside);
}

enum status jvalue_read_object(const char *text, const char *field, struct arena *arena,
                               const struct jvalue **ret_object, struct pbjson_error *ret_error)
{
	struct pbjson_error inside = {.field = ""};
	const struct jvalue *root = NULL;
	enum status status = jvalue_read(text, strlen(text), arena, &root, &inside);

	if (status == ST_OK && root->kind != JVALUE_OBJECT)
		status = pbjson_refuse(&inside, "", "must be a JSON object");
	if (status != ST_OK) {
		(void)pbjson_refuse(ret_error, join_path(arena, field, inside.field), inside.reason);
		return status;
	}
	*ret_object = root;
	return ST_OK;
}
