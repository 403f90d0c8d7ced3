/* What handlers ask of their call: refusals, other processes, statements, ids. */
#include "process/process.h"

#include "base/clock.h"
#include "ledger/event.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum status call_fail(struct call *call, enum status status, const char *field, const char *reason, ...)
{
	char text[256];
	va_list args;
	va_start(args, reason);
	vsnprintf(text, sizeof(text), reason, args);
	va_end(args);
	call->field = field ? arena_strdup(call->arena, field) : NULL;
	call->reason = arena_strdup(call->arena, text);
	return status;
}

enum status call_peer(struct call *call, uint32_t method, const ProtobufCMessage *request, ProtobufCMessage **ret_reply)
{
	char label[16];
	snprintf(label, sizeof(label), "%u", method);
	struct client_call out = {.project = call->project, .actor = call->actor, .deadline_us = call->deadline_us};
	if (!id_is_zero(&call->operation)) {
		out.operation = id_derive(&call->operation, label);
		out.operation_hash = call->request_hash; /* a repeated chain finds this link's stored reply */
	}
	memcpy(out.trace, call->trace, sizeof(out.trace));
	enum status status = client_send(call->run->client, &out, method, request, call->arena, ret_reply);
	if (status != ST_OK) {
		call->field = out.ret_field;
		call->reason = out.ret_reason;
		call->retry_after_ms = out.ret_retry_after_ms;
	}
	return status;
}

struct packed call_event(struct call *call, Events__Event *event)
{
	if (!event->has_at_us) {
		event->has_at_us = 1;
		event->at_us = clock_wall_us();
	}
	if (!event->actor && call->actor[0])
		event->actor = (char *)call->actor;
	char trace[33];
	hex_encode(call->trace, 16, trace);
	if (!event->trace_id)
		event->trace_id = arena_strdup(call->arena, trace);
	size_t len = events__event__get_packed_size(event);
	uint8_t *data = arena_alloc(call->arena, len);
	if (data)
		events__event__pack(event, data);
	return (struct packed){data, data ? len : 0, event_facts(event->type)->revokes};
}

void call_committed(struct call *call)
{
	if (call->run->outbox) /* none in tests without a bus */
		outbox_poke(call->run->outbox);
}

/* ---- statements ---- */

struct sql_scope call_sql(struct call *call)
{
	return (struct sql_scope){
	    .db = call->run->db, .arena = call->arena, .deadline_us = call->deadline_us, .project = &call->project};
}

enum status call_one(struct call *call, const struct db_stmt *stmt, const void *params, void *ret_row)
{
	struct sql_scope scope = call_sql(call);
	return sql_one(&scope, stmt, params, ret_row);
}

enum status call_all(struct call *call, const struct db_stmt *stmt, const void *params, void *ret_rows,
                     size_t *ret_count)
{
	struct sql_scope scope = call_sql(call);
	return sql_all(&scope, stmt, params, ret_rows, ret_count);
}

enum status call_execute(struct call *call, const struct db_stmt *stmt, const void *params, int64_t *ret_rows)
{
	struct sql_scope scope = call_sql(call);
	return sql_run(&scope, stmt, params, ret_rows);
}

/* ---- ids ---- */

enum status call_id(struct call *call, const char *prefix, const char *text, const char *field, struct id *ret_id)
{
	if (id_parse(prefix, text, ret_id))
		return ST_OK;
	if (!field)
		return ST_NOT_FOUND;
	return call_fail(call, ST_INVALID_ARGUMENT, field, "It is not an id of the form %s_...", prefix);
}

struct id id_from_bytes(ProtobufCBinaryData bytes)
{
	struct id id = {0};
	if (bytes.len == ID_SIZE)
		memcpy(id.bytes, bytes.data, ID_SIZE);
	return id;
}

char *call_id_text(struct call *call, const char *prefix, const struct id *id)
{
	char text[ID_TEXT_SIZE];
	id_format(prefix, id, text);
	return arena_strdup(call->arena, text);
}

char *call_bytes_id_text(struct call *call, const char *prefix, ProtobufCBinaryData bytes)
{
	return bytes.len == ID_SIZE ? call_id_text(call, prefix, (const struct id *)(const void *)bytes.data) : NULL;
}
