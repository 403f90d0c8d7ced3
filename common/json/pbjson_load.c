/* JSON text to a jansson tree within our bounds, and the path of what is wrong when it is refused. */
#include "base/utf8.h"
#include "json/pbjson_internal.h"

#include <string.h>

/* One open object or array while walking JSON text. */
struct level {
	bool array;
	size_t index;    /* array: element */
	const char *key; /* object: key read last, NULL when one is expected; points into the text, quotes excluded */
	size_t key_len;
};

struct walk {
	const char *json;
	size_t len;
	size_t at;    /* next byte */
	size_t depth; /* open objects and arrays, may exceed the array below by one */
	size_t values;
	struct level levels[PBJSON_DEPTH_MAX];
};

/* Moves behind the string whose opening quote is at walk->at. */
static void walk_string(struct walk *walk)
{
	struct level *level = walk->depth ? &walk->levels[walk->depth - 1] : NULL;
	size_t start = ++walk->at;

	while (walk->at < walk->len && walk->json[walk->at] != '"')
		walk->at += walk->json[walk->at] == '\\' ? 2 : 1;
	if (walk->at > walk->len)
		walk->at = walk->len;
	if (level && !level->array && !level->key) {
		level->key = walk->json + start;
		level->key_len = walk->at - start;
	}
	walk->at++;
}

/* Walks to `end` or until there are too many levels or values; false then. The text need not be valid JSON. */
static bool walk_to(struct walk *walk, size_t end)
{
	while (walk->at < end) {
		struct level *level = walk->depth ? &walk->levels[walk->depth - 1] : NULL;
		char c = walk->json[walk->at];

		if (c == '"') {
			walk_string(walk);
			continue;
		}
		walk->at++;
		walk->values += c == '{' || c == '[' || c == ',';
		if (walk->values > PBJSON_VALUES_MAX)
			return false;
		if (c == '{' || c == '[') {
			if (walk->depth == PBJSON_DEPTH_MAX)
				return false;
			walk->levels[walk->depth++] = (struct level){.array = c == '['};
		} else if ((c == '}' || c == ']') && level) {
			walk->depth--;
		} else if (c == ',' && level) {
			level->index++;
			level->key = NULL;
		}
	}
	return true;
}

static void add_key(struct buf *path, const char *key, size_t len)
{
	if (len > PBJSON_PATH_MAX_BYTES)
		len = PBJSON_PATH_MAX_BYTES;
	if (path->len)
		buf_add_char(path, '.');
	buf_add(path, key, utf8_valid_prefix(key, len));
}

/* The path of the place where the walk stopped, in the arena. */
static const char *walk_path(const struct walk *walk, struct arena *arena)
{
	char *text = arena_alloc(arena, PBJSON_PATH_MAX_BYTES + 1);
	struct buf path = {.max = 64 * 1024};
	size_t len;

	for (size_t i = 0; i < walk->depth; i++) {
		const struct level *level = &walk->levels[i];

		if (level->array) {
			buf_add_char(&path, '[');
			buf_add_int(&path, (int64_t)level->index);
			buf_add_char(&path, ']');
		} else if (level->key) {
			add_key(&path, level->key, level->key_len);
		}
	}
	len = path.len < PBJSON_PATH_MAX_BYTES ? path.len : PBJSON_PATH_MAX_BYTES;
	len = utf8_valid_prefix(path.data, len);
	if (text && len)
		memcpy(text, path.data, len);
	buf_free(&path);
	return text;
}

static enum status refuse_at(struct walk *walk, size_t offset, struct arena *arena, const char *reason,
                             struct pbjson_error *ret_error)
{
	walk->at = walk->depth = walk->values = 0;
	(void)walk_to(walk, offset < walk->len ? offset : walk->len);
	return pbjson_refuse(ret_error, walk_path(walk, arena), reason);
}

static const char *reason_of(const json_error_t *error)
{
	switch (json_error_code(error)) {
	case json_error_duplicate_key:
		return "is given more than once";
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return "must not hold the character U+0000";
	case json_error_numeric_overflow:
		return "is a number out of range";
	case json_error_invalid_utf8:
		return "is not valid UTF-8";
	case json_error_premature_end_of_input:
		return "the JSON text ends too early";
	case json_error_end_of_input_expected:
		return "there is text after the JSON document";
	case json_error_out_of_memory:
		return "there is no memory left";
	default:
		return "is not valid JSON";
	}
}

enum status pbjson_load(const char *json, size_t len_bytes, struct arena *arena, json_t **ret_root,
                        struct pbjson_error *ret_error)
{
	struct walk walk = {.json = json, .len = len_bytes};
	size_t valid = utf8_valid_prefix(json, len_bytes);
	json_error_t error = {0};
	json_t *root;

	if (valid < len_bytes)
		return refuse_at(&walk, valid, arena,
		                 json[valid] ? "is not valid UTF-8" : "must not hold the character U+0000", ret_error);
	/* Before jansson recurses and allocates: its own limit of 2048 levels would not fit a fiber's stack, and two bytes of text
	 * would become hundreds of memory. */
	if (!walk_to(&walk, len_bytes)) {
		bool many = walk.values > PBJSON_VALUES_MAX;
		walk.depth -= many && walk.depth > 0; /* the object or array that holds them */
		return pbjson_refuse(ret_error, walk_path(&walk, arena),
		                     many ? "holds more than 10000 values" : "is nested deeper than 32 levels");
	}
	root = json_loadb(json, len_bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (!root)
		return refuse_at(&walk, error.position > 0 ? (size_t)error.position - 1 : 0, arena, reason_of(&error),
		                 ret_error);
	if (!json_is_object(root)) {
		json_decref(root);
		return pbjson_refuse(ret_error, "", "must be a JSON object");
	}
	*ret_root = root;
	return ST_OK;
}
