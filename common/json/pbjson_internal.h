/* What the files of pbjson and jvalue share. Nobody else includes this. */
#pragma once

#include "json/jvalue.h"
#include "json/pbjson.h"

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

#define PBJSON_NAME_MAX_BYTES 128

/* The field's name in a style, which may not be NULL; returns its length. name_len is that of the native name. */
size_t pbjson_style_name(const struct pbjson_style *style, const ProtobufCMessageDescriptor *type,
                         const ProtobufCFieldDescriptor *field, char ret_name[PBJSON_NAME_MAX_BYTES]);
/* As pbjson_field_find, by the names of a style. */
const ProtobufCFieldDescriptor *pbjson_style_find(const struct pbjson_style *style,
                                                  const ProtobufCMessageDescriptor *type, const char *name,
                                                  enum pbjson_shape *ret_shape);
/* What the style prints for a field of this type that has no value. */
enum pbjson_absent pbjson_style_absent(const struct pbjson_style *style, const ProtobufCMessageDescriptor *type,
                                       const ProtobufCFieldDescriptor *field);
/* Whether the message is shown as the array that its only field is. */
bool pbjson_is_bare(const ProtobufCMessageDescriptor *type);

/* Length of the prefix that all values of an enum share: UserStatus -> strlen("USER_STATUS_"). */
size_t pbjson_enum_prefix(const ProtobufCEnumDescriptor *type);

/* The value whose JSON name is text ("active"), or NULL. */
const ProtobufCEnumValue *pbjson_enum_find(const ProtobufCEnumDescriptor *type, const char *text, size_t len_bytes);

/* Fills *ret_error (reason must be static) and returns ST_INVALID_ARGUMENT. field NULL means "". */
enum status pbjson_refuse(struct pbjson_error *ret_error, const char *field, const char *reason);

/* Length of the JSON number at the start of text, 0 when there is none; whether it has neither fraction nor exponent. */
size_t jvalue_number_len(const char *text, size_t len_bytes, bool *ret_integer);
/* Whether a number fits an int64 (integer) or a double, and is no longer than JVALUE_NUMBER_MAX_BYTES. */
bool jvalue_number_fits(const char *text, size_t len_bytes, bool integer);

/* A new member or element at the end of parent, zeroed; NULL when the arena is full. */
struct jvalue *jvalue_append(struct jvalue *parent, struct arena *arena);
/* Once all members are there: makes them quick to find, and names one that is there twice (or NULL). False when the arena is full. */
bool jvalue_sort(struct jvalue *object, struct arena *arena, const char **ret_twice);

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
	const struct pbjson_rules *rules; /* may be NULL */
};

/* Records the path of place (NULL: the document) with a static reason; ST_INVALID_ARGUMENT. */
enum status pbjson_refuse_at(struct pbjson_parse *parse, const struct pbjson_place *place, const char *reason);

/* Records that the arena is full; ST_RESOURCE_EXHAUSTED. */
enum status pbjson_no_memory(struct pbjson_parse *parse, const struct pbjson_place *place);

/* The style of what is parsed; NULL = native. */
const struct pbjson_style *pbjson_style_of(const struct pbjson_parse *parse);

/* What kind of JSON value a field takes, and the sentence for one that is not. */
enum pbjson_wanted { WANT_INTEGER, WANT_REAL, WANT_BOOL, WANT_TEXT, WANT_OBJECT, WANT_MESSAGE };
enum pbjson_wanted pbjson_wanted(const struct pbjson_parse *parse, const ProtobufCFieldDescriptor *field);
extern const char *const pbjson_wanted_reasons[];

/* Store one value at `at`, which has the C type of the field (an element's, when it is repeated). Numbers are checked
 * against the type's range; text is valid UTF-8 that lives as long as the message, and is for string, enum, bytes and time fields. */
MUST_USE enum status pbjson_store_integer(struct pbjson_parse *parse, const struct pbjson_place *place,
                                          const ProtobufCFieldDescriptor *field, int64_t value, void *at);
MUST_USE enum status pbjson_store_text(struct pbjson_parse *parse, const struct pbjson_place *place,
                                       const ProtobufCFieldDescriptor *field, const char *text, void *at);
MUST_USE enum status pbjson_store_real(struct pbjson_parse *parse, const struct pbjson_place *place,
                                       const ProtobufCFieldDescriptor *field, double value, void *at);

/* Size of one element of a repeated field of this type. */
size_t pbjson_element_size(const ProtobufCFieldDescriptor *field);

bool pbjson_is_64_bit(const ProtobufCFieldDescriptor *field);
/* Whole text as a JSON integer. */
bool pbjson_text_to_integer(const char *text, int64_t *ret_value);

/* Whether a field that is not repeated is present; marking it so. base is the message. */
bool pbjson_is_set(const ProtobufCFieldDescriptor *field, const char *base);
void pbjson_mark_set(const ProtobufCFieldDescriptor *field, char *base);

/* Room for one more element of a repeated field, counted already; NULL when the arena is full. */
void *pbjson_append(struct pbjson_parse *parse, const ProtobufCFieldDescriptor *field, char *base);
