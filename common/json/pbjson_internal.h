/* What the files of pbjson share: names, JSON text to tree and back. Nobody else includes this. */
#pragma once

#include "json/pbjson.h"

#include <jansson.h>

#define PBJSON_STRING_MAX_BYTES 65536
#define PBJSON_PATH_MAX_BYTES 256

/* How a field is shown in JSON, by the conventions of pbjson.h. */
enum pbjson_shape {
	PBJSON_PLAIN,  /* by its protobuf type */
	PBJSON_OBJECT, /* x_json: string that holds JSON text */
	PBJSON_TIME,   /* x_at_us: int64 shown as RFC 3339 */
	PBJSON_NULLS   /* null_fields: filled from the members that are null, never a member itself */
};

/* The field's shape and the length of its JSON name, which is a prefix of field->name. */
enum pbjson_shape pbjson_field_shape(const ProtobufCFieldDescriptor *field, size_t *ret_name_len);

/* The field with this JSON name, or NULL. PBJSON_NULLS has no JSON name. *ret_shape may not be NULL. */
const ProtobufCFieldDescriptor *pbjson_field_find(const ProtobufCMessageDescriptor *type, const char *name,
                                                  enum pbjson_shape *ret_shape);

/* Length of the prefix that all values of an enum share: UserStatus -> strlen("USER_STATUS_"). */
size_t pbjson_enum_prefix(const ProtobufCEnumDescriptor *type);

/* The value whose JSON name is text ("active"), or NULL. */
const ProtobufCEnumValue *pbjson_enum_find(const ProtobufCEnumDescriptor *type, const char *text, size_t len_bytes);

/* Fills *ret_error (reason must be static) and returns ST_INVALID_ARGUMENT. field NULL means "". */
enum status pbjson_refuse(struct pbjson_error *ret_error, const char *field, const char *reason);

/* Parses a whole JSON document that must be an object: no NUL, valid UTF-8, no duplicate keys, depth within
 * PBJSON_DEPTH_MAX (counted from 1 at the document). The caller releases *ret_root with json_decref. */
MUST_USE enum status pbjson_load(const char *json, size_t len_bytes, struct arena *arena, json_t **ret_root,
                                 struct pbjson_error *ret_error);

/* Appends the tree as compact JSON: members in their order, integers exact, reals in the shortest form that reads back. */
void pbjson_dump(const json_t *value, struct buf *out);

/* Appends a double as JSON number with a point or exponent; null when it is not finite. */
void pbjson_add_real(struct buf *out, double value);

/* The tree as compact text in the arena; NULL when the arena is full. */
const char *pbjson_dump_arena(const json_t *value, struct arena *arena, size_t *ret_len);

/* Where in the document we are; lives on the stack while that part is read. */
struct pbjson_place {
	const struct pbjson_place *up;
	const char *name; /* member, or NULL for an element */
	size_t index;
};

/* What one parse carries. */
struct pbjson_parse {
	struct arena *arena;
	struct pbjson_error *error;
	const char *const *skip; /* proto fields that the outermost object may not have; NULL-ended, may be NULL */
};

/* Records the path of place (NULL: the document) with a static reason; ST_INVALID_ARGUMENT. */
enum status pbjson_refuse_at(struct pbjson_parse *parse, const struct pbjson_place *place, const char *reason);

/* Records that the arena is full; ST_RESOURCE_EXHAUSTED. */
enum status pbjson_no_memory(struct pbjson_parse *parse, const struct pbjson_place *place);

/* What kind of JSON value a field takes, and the sentence for one that is not. */
enum pbjson_wanted { WANT_INTEGER, WANT_REAL, WANT_BOOL, WANT_TEXT, WANT_OBJECT, WANT_MESSAGE };
enum pbjson_wanted pbjson_wanted(const ProtobufCFieldDescriptor *field, enum pbjson_shape shape);
extern const char *const pbjson_wanted_reasons[];

/* Store one value at `at`, which has the C type of the field (an element's, when it is repeated). Integers are checked
 * against the type's range; text is valid UTF-8 and is for string, enum, bytes and time fields; it is copied. */
MUST_USE enum status pbjson_store_integer(struct pbjson_parse *parse, const struct pbjson_place *place,
                                          const ProtobufCFieldDescriptor *field, int64_t value, void *at);
MUST_USE enum status pbjson_store_text(struct pbjson_parse *parse, const struct pbjson_place *place,
                                       const ProtobufCFieldDescriptor *field, const char *text, void *at);
void pbjson_store_real(const ProtobufCFieldDescriptor *field, double value, void *at);

/* Size of one element of a repeated field of this type. */
size_t pbjson_element_size(const ProtobufCFieldDescriptor *field);

/* Whether a field that is not repeated is present; marking it so. base is the message. */
bool pbjson_is_set(const ProtobufCFieldDescriptor *field, const char *base);
void pbjson_mark_set(const ProtobufCFieldDescriptor *field, char *base);

/* Room for one more element of a repeated field, counted already; NULL when the arena is full. */
void *pbjson_append(struct pbjson_parse *parse, const ProtobufCFieldDescriptor *field, char *base);
