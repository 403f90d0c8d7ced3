/* Messages of different types that have fields of the same name: copying and comparing them, field by field. Any thread.
 *
 * Two fields are the same when their JSON names are: `attributes` of a row and `attributes_json` of a reply. */
#pragma once

#include "base/arena.h"
#include "base/status.h"

/* Copies each field that `from` has into the field of the same name and kind of `to`; what `from` lacks stays as it is. Texts, bytes and lists
 * are borrowed, not copied. */
void message_copy(const ProtobufCMessage *from, ProtobufCMessage *to);

/* Sets a field back to absent. False when there is none of this JSON name. */
bool message_clear(ProtobufCMessage *message, const char *json_name);

/* The field of this JSON name; NULL when there is none. */
const ProtobufCFieldDescriptor *message_field(const ProtobufCMessageDescriptor *type, const char *json_name);
bool message_has(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);

/* Whether two messages of one type have the same value; NULL has none. JSON is compared as text. */
bool message_field_equal(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *a, const ProtobufCMessage *b);

/* The value as JSON text in the arena, *ret_json NULL when there is none (an empty list is none). False when the arena is full. */
MUST_USE bool message_field_json(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message,
                                 struct arena *arena, char **ret_json);
/* The name of its member, in the arena or static. */
const char *message_json_name(const ProtobufCFieldDescriptor *field, struct arena *arena);
