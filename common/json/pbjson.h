/* JSON <-> protobuf by field descriptor. The names are the proto field names, with these conventions:
 *   x_json  string holding JSON      <-> member "x", any JSON object (depth and size bounded)
 *   x_at_us int64 microseconds       <-> member "x_at", RFC 3339 text (and at_us <-> "at")
 *   enum    FOO_BAR_ACTIVE           <-> "active" (the enum's own prefix removed, lower case)
 *   bytes                            <-> base64url text
 *   null_fields (repeated string)    <-  the members to be removed, in a merge patch
 *   bare_array  a message's only field, repeated: the message is this array, not an object
 *
 * What is not there means the same in every call, at every depth, and in each line of an import:
 *   missing   the field is absent. A member that the call requires (@requires in proto/) is refused by its name, and so is a
 *             missing body; without @requires a missing body is the empty object.
 *   null      refused. Only a merge patch (a message with null_fields) takes it: the member is removed.
 *   []        no elements, which is as missing; in a merge patch the list is removed.
 *   "" 0 false {}  values like others.
 *   wrong     refused. Nothing is converted: "1" is no number, 1 no text and no boolean, 1.0 no integer, [] no object.
 * Members that are no field, duplicate keys, numbers out of range, NUL, invalid UTF-8, nesting deeper than 32 are refused
 * as well; each refusal has the member's path. int64 is a JSON number. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

#include <stdint.h>

#define PBJSON_VALUES_MAX 10000 /* members and elements in one document */
#define PBJSON_DEPTH_MAX 32

struct pbjson_error {
	const char *field;  /* path "users[3].email"; "" for the document itself; in the arena */
	const char *reason; /* one sentence; in the arena or static */
};

/* ---- how other products show the same messages ---- */

enum pbjson_times { PBJSON_RFC3339, PBJSON_EPOCH_SEC, PBJSON_EPOCH_MS };

/* What is printed for a field without a value. */
enum pbjson_absent {
	PBJSON_OMITTED, /* nothing */
	PBJSON_NULL,
	PBJSON_EMPTY /* "" 0 false {}; null for a message or an RFC 3339 time */
};

/* One exception to a style. The first row of a field says its name; further ones are names that are read, too. */
struct pbjson_member {
	const char *field;         /* proto name, "created_at_us", or of one message "User.created_at_us" */
	const char *name;          /* NULL = by the style's rule */
	enum pbjson_absent absent; /* PBJSON_OMITTED = as the style says */
};

/* Data, one per dialect. All zero is the native style, as is NULL. */
struct pbjson_style {
	const struct pbjson_member *members; /* ended by a row without field; NULL = none */
	enum pbjson_absent absent;
	enum pbjson_times times;
	bool camel_case;          /* createdAt for created_at */
	bool empty_lists_omitted; /* a list without elements is as a field without value */
	bool enum_numbers;        /* the value's number instead of its name */
	bool int64_text;          /* 64-bit integers are printed as text, and read as text or numbers */
	bool nulls_ignored;       /* null is as missing, but for a merge patch */
	bool unknown_ignored;     /* so are members that are no field */
};

/* What one kind of document asks of its outermost object. Lists are NULL-ended; each may be NULL. */
struct pbjson_rules {
	const char *const *skip;          /* proto fields that it may not have: they come from path or headers */
	const char *const *required;      /* members that it must have */
	const struct pbjson_style *style; /* of the whole document */
};

/* Parses a JSON document, an object but for bare_array, into a new message of the given type, in the arena. rules may be NULL. ST_INVALID_ARGUMENT fills
 * *ret_error, so does ST_RESOURCE_EXHAUSTED (the arena is full). */
MUST_USE enum status pbjson_parse(const ProtobufCMessageDescriptor *type, const char *json, size_t len_bytes,
                                  const struct pbjson_rules *rules, struct arena *arena, ProtobufCMessage **ret_message,
                                  struct pbjson_error *ret_error);

/* As pbjson_set, with the names and forms of a style, which may be NULL. */
struct pbjson_text {
	const char *name, *text;
};
MUST_USE enum status pbjson_set_styled(ProtobufCMessage *message, const struct pbjson_text *pair,
                                       const struct pbjson_style *style, struct arena *arena,
                                       struct pbjson_error *ret_error);

/* Sets one field from text, as in a path segment or query parameter: converts to the field's type, appends to a repeated
 * one. name is the JSON name. ST_NOT_FOUND when there is no such field, ST_INVALID_ARGUMENT when the text does not fit or a
 * field that is not repeated has a value already. */
MUST_USE enum status pbjson_set(ProtobufCMessage *message, const char *name, const char *text, struct arena *arena,
                                struct pbjson_error *ret_error);

/* Appends the message as a JSON object; absent fields are left out; repeated ones are always written. */
void pbjson_print(const ProtobufCMessage *message, struct buf *out);
/* The same in another style, which may be NULL. */
void pbjson_print_styled(const ProtobufCMessage *message, const struct pbjson_style *style, struct buf *out);
/* Appends the value of one field, which is there. */
void pbjson_print_field(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message, struct buf *out);

/* Every string of a received message is valid UTF-8 without NUL and within 64 KiB. ST_INVALID_ARGUMENT names the field. */
MUST_USE enum status pbjson_check_strings(const ProtobufCMessage *message, struct arena *arena,
                                          struct pbjson_error *ret_error);
