/* A JSON document as a tree in an arena: members in their order, each name once, numbers as they were written. For documents
 * that have no message; where there is one, pbjson.h maps it. The reader takes RFC 8259 and nothing else: no BOM, no comments, no
 * NUL, valid UTF-8, at most PBJSON_DEPTH_MAX levels and PBJSON_VALUES_MAX members and elements, integers that fit an int64, numbers
 * that fit a double, of at most JVALUE_NUMBER_MAX_BYTES characters. Nobody changes a tree; what makes one from another shares its parts. */
#pragma once

#include "json/pbjson.h"

#define JVALUE_NUMBER_MAX_BYTES 128

enum jvalue_kind { JVALUE_NULL, JVALUE_FALSE, JVALUE_TRUE, JVALUE_NUMBER, JVALUE_STRING, JVALUE_ARRAY, JVALUE_OBJECT };

struct jvalue {
	enum jvalue_kind kind;
	unsigned count;      /* of members or elements */
	const char *name;    /* of a member, decoded; NULL elsewhere */
	struct jvalue *next; /* the member or element behind this one */
	union {
		struct {
			const char *
			    text; /* string: decoded, ends with NUL and holds none; number: as written, in the text that was read */
			size_t len;
		};
		struct {
			struct jvalue *first, *last; /* of an object or array */
			struct jvalue **sorted;      /* members by name, when they are many; else NULL */
		};
	};
};

/* Reads a whole document. Numbers in the tree point into text; all else is in the arena. ST_INVALID_ARGUMENT and
 * ST_RESOURCE_EXHAUSTED fill *ret_error. */
MUST_USE enum status jvalue_read(const char *text, size_t len_bytes, struct arena *arena,
                                 const struct jvalue **ret_root, struct pbjson_error *ret_error);

/* Reads the JSON object that a field called `field` holds as NUL-terminated text; errors are named below that field. Statuses as jvalue_read. */
MUST_USE enum status jvalue_read_object(const char *text, const char *field, struct arena *arena,
                                        const struct jvalue **ret_object, struct pbjson_error *ret_error);

/* The member with this name; NULL when there is none, or no object. */
const struct jvalue *jvalue_get(const struct jvalue *object, const char *name);

/* Whether a number has neither fraction nor exponent; its value then. */
bool jvalue_integer(const struct jvalue *value, int64_t *ret_integer);

/* The double nearest to a number. */
double jvalue_real(const struct jvalue *value);

/* Same kinds, texts and members, these in any order; numbers are equal when they are written alike. NULL equals only NULL. */
bool jvalue_equal(const struct jvalue *a, const struct jvalue *b);

/* RFC 7396: what patch makes of target (NULL = nothing there), both objects. NULL when the arena is full. */
const struct jvalue *jvalue_merge(const struct jvalue *target, const struct jvalue *patch, struct arena *arena);

/* ---- making ---- */

/* An object without members, NULL when the arena is full; and one more member at its end, which the caller knows to be new. The name
 * and text are borrowed; the value is copied, what it holds is shared. False when the arena is full or object is NULL. */
struct jvalue *jvalue_new_object(struct arena *arena);
bool jvalue_add(struct jvalue *object, const char *name, const struct jvalue *value, struct arena *arena);
bool jvalue_add_text(struct jvalue *object, const char *name, const char *text, struct arena *arena);
bool jvalue_add_integer(struct jvalue *object, const char *name, int64_t integer, struct arena *arena);
bool jvalue_add_bool(struct jvalue *object, const char *name, bool truth, struct arena *arena);

/* ---- printing: compact, strings in the shortest escapes, so that a tree has one text ---- */
void jvalue_print(const struct jvalue *value, struct buf *out);
/* NUL-terminated in the arena; NULL when it is full. */
const char *jvalue_text(const struct jvalue *value, struct arena *arena, size_t *ret_len);
