/* JSON <-> protobuf by field descriptor. The names are the proto field names, with these conventions:
 *   x_json  string holding JSON      <-> member "x", any JSON object (depth and size bounded)
 *   x_at_us int64 microseconds       <-> member "x_at", RFC 3339 text (and at_us <-> "at")
 *   enum    FOO_BAR_ACTIVE           <-> "active" (the enum's own prefix removed, lower case)
 *   bytes                            <-> base64url text
 *   null_fields (repeated string)    <-  the names of members that were null (merge patches); elsewhere null is refused
 * Members that are no field, duplicate keys, wrong types, numbers out of range, NUL, invalid UTF-8, nesting deeper than
 * 32 are refused with the member's path. int64 is a JSON number. */
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

/* Parses a JSON object into a new message of the given type, in the arena. `skip` (NULL-ended, may be NULL) names proto
 * fields that a body may not set (they come from path or headers). ST_INVALID_ARGUMENT fills *ret_error, so does
 * ST_RESOURCE_EXHAUSTED (the arena is full). */
MUST_USE enum status pbjson_parse(const ProtobufCMessageDescriptor *type, const char *json, size_t len_bytes,
                                  const char *const *skip, struct arena *arena, ProtobufCMessage **ret_message,
                                  struct pbjson_error *ret_error);

/* Sets one field from text, as in a path segment or query parameter: converts to the field's type, appends to a repeated
 * one. name is the JSON name. ST_NOT_FOUND when there is no such field, ST_INVALID_ARGUMENT when the text does not fit or a
 * field that is not repeated has a value already. */
MUST_USE enum status pbjson_set(ProtobufCMessage *message, const char *name, const char *text, struct arena *arena,
                                struct pbjson_error *ret_error);

/* Appends the message as a JSON object; absent fields are left out; repeated ones are always written. */
void pbjson_print(const ProtobufCMessage *message, struct buf *out);
/* Appends the value of one field, which is there. */
void pbjson_print_field(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message, struct buf *out);

/* Every string of a received message is valid UTF-8 without NUL and within 64 KiB. ST_INVALID_ARGUMENT names the field. */
MUST_USE enum status pbjson_check_strings(const ProtobufCMessage *message, struct arena *arena,
                                          struct pbjson_error *ret_error);
