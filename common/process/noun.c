/* A simple noun: create, read, list, merge, delete. */
#include "process/noun.h"

#include "base/clock.h"
#include "json/message.h"

#include <string.h>

/* What the statements take: all nouns' structs have this layout. */
struct key_params {
	const char *key;
};
struct list_params {
	const char *after;
	int64_t limit;
};
struct row_params {
	const ProtobufCMessage *row, *before;
};

/* ---- fields by name ---- */

static void *place(const ProtobufCMessage *message, const char *name)
{
	const ProtobufCFieldDescriptor *field =
	    protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
	return field ? (char *)message + field->offset : NULL;
}

static const char *text_of(const ProtobufCMessage *message, const char *name)
{
	const char *const *text = place(message, name);
	return text ? *text : NULL;
}

static int64_t int_of(const ProtobufCMessage *message, const char *name)
{
	return *(const int64_t *)place(message, name);
}

static void int_set(ProtobufCMessage *message, const char *name, int64_t value)
{
	const ProtobufCFieldDescriptor *field =
	    protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
	*(int64_t *)place(message, name) = value;
	*(protobuf_c_boolean *)((char *)message + field->quantifier_offset) = true;
}

/* ---- what all have in common ---- */

static ProtobufCMessage *row_new(struct call *call, const struct noun *noun)
{
	ProtobufCMessage *row = arena_alloc(call->arena, noun->row->sizeof_message);
	if (row)
		protobuf_c_message_init(noun->row, row);
	return row;
}

static enum status row_find(struct call *call, const struct noun *noun, const ProtobufCMessage *request,
                            ProtobufCMessage **ret_row)
{
	struct key_params params = {text_of(request, noun->key)};
	return params.key ? call_one(call, noun->get, &params, ret_row) : ST_NOT_FOUND;
}

/* The row that a change begins with, on the condition that the request gives. */
static enum status row_before(struct change *change, const struct noun *noun, ProtobufCMessage **ret_row)
{
	enum status status = row_find(change->call, noun, change->request, ret_row);
	if (status != ST_OK)
		return status;
	return change_if_match(change, int_of(*ret_row, "version"));
}

static enum status row_check(struct call *call, const struct noun *noun, const ProtobufCMessage *row)
{
	if (!text_of(row, noun->key))
		return call_fail(call, ST_INVALID_ARGUMENT, noun->key, "It is required");
	for (const struct noun_check *at = noun->checks; at->field; at++) {
		const char *text = text_of(row, at->field), *reason = text ? at->check(text) : NULL;
		if (reason)
			return call_fail(call, ST_INVALID_ARGUMENT, at->field, "%s", reason);
	}
	return ST_OK;
}

static enum status row_show(struct call *call, const ProtobufCMessage *row, ProtobufCMessage *message)
{
	message_copy(row, message);
	return ST_OK;
}

/* States the event of a change from before (NULL: there was none) to after (NULL: there is none now). Returns the number of fields that differ,
 * -1 when the arena is full. */
static int row_event(struct change *change, const struct noun *noun, Events__EventType type,
                     const ProtobufCMessage *before, const ProtobufCMessage *after)
{
	const ProtobufCMessage *row = after ? after : before;
	const char *subject = arena_printf(change->call->arena, "%s:%s", noun->name, text_of(row, noun->key));
	Events__Event *event = change_event(change, type, subject, int_of(row, "version") + !after);
	if (!subject)
		return -1;
	return after ? change_fields(change, event, before, after) : 0;
}

/* ---- the five ---- */

static enum status create_try(struct change *change)
{
	const struct noun *noun = change->arg;
	ProtobufCMessage *row = row_new(change->call, noun);
	int64_t now_us = clock_wall_us();
	if (!row)
		return ST_RESOURCE_EXHAUSTED;
	message_copy(change->request, row);
	int_set(row, "version", 1);
	int_set(row, "created_at_us", now_us);
	int_set(row, "updated_at_us", now_us);
	enum status status = row_check(change->call, noun, row);
	if (status != ST_OK)
		return status;
	message_copy(row, change->reply);
	if (row_event(change, noun, noun->created, NULL, row) < 0)
		return ST_RESOURCE_EXHAUSTED;
	status = change_write(change, noun->create, &(struct row_params){.row = row});
	if (status == ST_ALREADY_EXISTS)
		return call_fail(change->call, status, noun->key, "A %s with it exists", noun->name);
	return status;
}

enum status noun_create(struct call *call, const struct noun *noun, const void *request, void *reply)
{
	return change_run(call, request, reply, create_try, (void *)noun);
}

enum status noun_get(struct call *call, const struct noun *noun, const void *request, void *reply)
{
	ProtobufCMessage *row;
	enum status status = row_find(call, noun, request, &row);
	return status == ST_OK ? row_show(call, row, reply) : status;
}

enum status noun_list(struct call *call, const struct noun *noun, const void *request, void *reply)
{
	struct page page = {.list = noun->name,
	                    .limit_default = 50,
	                    .limit_max = 200,
	                    .after = {.text = ""},
	                    .show = row_show,
	                    .key_field = noun->key};
	struct page_row *rows;
	size_t count;
	enum status status = page_open(call, &page, request);
	if (status != ST_OK)
		return status;
	struct list_params params = {page.after.text, page.limit + 1};
	status = call_all(call, noun->list, &params, &rows, &count);
	return status == ST_OK ? page_reply(call, &page, rows, count, reply) : status;
}

/* Takes away what the request set to null, then sets what it has. */
static enum status row_merge(struct change *change, const struct noun *noun, ProtobufCMessage *row)
{
	const ProtobufCMessage *request = change->request;
	char *const *const *nulls = place(request, "null_fields");
	const ProtobufCFieldDescriptor *field =
	    protobuf_c_message_descriptor_get_field_by_name(request->descriptor, "null_fields");
	size_t count = field ? *(const size_t *)((const char *)request + field->quantifier_offset) : 0;
	for (size_t i = 0; i < count; i++) {
		bool own = message_field(request->descriptor, (*nulls)[i]) && strcmp((*nulls)[i], noun->key) != 0;
		if (!own || !message_clear(row, (*nulls)[i]))
			return call_fail(change->call, ST_INVALID_ARGUMENT, (*nulls)[i], "It cannot be null");
	}
	message_copy(request, row);
	return row_check(change->call, noun, row);
}

static enum status update_try(struct change *change)
{
	const struct noun *noun = change->arg;
	ProtobufCMessage *before, *after;
	enum status status = row_before(change, noun, &before);
	if (status != ST_OK)
		return status;
	after = arena_memdup(change->call->arena, before, noun->row->sizeof_message);
	if (!after)
		return ST_RESOURCE_EXHAUSTED;
	status = row_merge(change, noun, after);
	if (status != ST_OK)
		return status;
	int_set(after, "version", int_of(before, "version") + 1);
	int_set(after, "updated_at_us", clock_wall_us());
	int count = row_event(change, noun, noun->updated, before, after);
	message_copy(count > 0 ? after : before, change->reply);
	if (count <= 0)
		return count == 0 ? ST_OK : ST_RESOURCE_EXHAUSTED;
	return change_write(change, noun->update, &(struct row_params){after, before});
}

enum status noun_update(struct call *call, const struct noun *noun, const void *request, void *reply)
{
	return change_run(call, request, reply, update_try, (void *)noun);
}

static enum status delete_try(struct change *change)
{
	const struct noun *noun = change->arg;
	ProtobufCMessage *before;
	enum status status = row_before(change, noun, &before);
	if (status == ST_OK && noun->may_delete)
		status = noun->may_delete(change->call, before);
	if (status != ST_OK)
		return status;
	if (row_event(change, noun, noun->deleted, before, NULL) < 0)
		return ST_RESOURCE_EXHAUSTED;
	return change_write(change, noun->remove, &(struct row_params){.row = before});
}

enum status noun_delete(struct call *call, const struct noun *noun, const void *request, void *reply)
{
	return change_run(call, request, reply, delete_try, (void *)noun);
}
