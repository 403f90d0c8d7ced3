/* Append: takes over the committed outbox rows of one source and hints at them. */
#include "audit.pb-c.h"
#include "base/utf8.h"
#include "ledger/outbox.h"
#include "service.h"
#include "json/pbjson.h"

#include <string.h>

/* Fills an entry of the batch from an item; the strings of its event go into the call's arena. */
MUST_USE static enum status take_item(struct call *call, const Audit__AppendItem *item, size_t index,
                                      Audit__Rows__Entry *entry)
{
	const char *reason;
	if (!item->has_outbox_id || item->outbox_id <= 0)
		return call_fail(call, ST_INVALID_ARGUMENT, arena_printf(call->arena, "items[%zu].outbox_id", index),
		                 "must be a positive number");
	if (item->project_id.len != ID_SIZE)
		return call_fail(call, ST_INVALID_ARGUMENT, arena_printf(call->arena, "items[%zu].project_id", index),
		                 "must have 16 bytes");
	entry->has_project_id = entry->has_outbox_id = entry->has_event = true;
	entry->project_id = item->project_id;
	entry->outbox_id = item->outbox_id;
	entry->event = item->event;
	const char *field = arena_printf(call->arena, "items[%zu].event", index);
	enum status status = rules_describe_entry(entry, call->arena, &reason);
	if (status != ST_OK)
		return call_fail(call, status, field, "%s", reason);
	struct id project = id_from_bytes(entry->project_id);
	if (id_is_zero(&project))
		return call_fail(call, ST_INVALID_ARGUMENT, field, "belongs to no project");
	if (!utf8_valid(entry->subject, strlen(entry->subject)) ||
	    (entry->user_id && !utf8_valid(entry->user_id, strlen(entry->user_id))))
		return call_fail(call, ST_INVALID_ARGUMENT, field, "has a text that is not UTF-8");
	return ST_OK;
}

MUST_USE static enum status take_batch(struct call *call, const Audit__AppendRequest *request, struct batch *ret_batch)
{
	struct batch batch = {0};
	if (!request->source || strcmp(request->source, call->caller) != 0)
		return call_fail(call, ST_PERMISSION_DENIED, "source", "a process appends events of its own only");
	if (request->n_items > AUDIT_BATCH_MAX)
		return call_fail(call, ST_INVALID_ARGUMENT, "items", "at most %d at a time", AUDIT_BATCH_MAX);
	enum status status = batch_start(call->arena, call->caller, request->n_items, &batch);
	for (size_t i = 0; i < request->n_items && status == ST_OK; i++) {
		Audit__Rows__Entry entry = AUDIT__ROWS__ENTRY__INIT;
		status = take_item(call, request->items[i], i, &entry);
		if (status == ST_OK)
			batch_add(&batch, &entry);
	}
	if (status == ST_OK)
		*ret_batch = batch;
	return status;
}

/* One hint per project, also for what was there already: the append before may have died between commit and hint. */
static void publish_hints(struct call *call, const struct batch *batch)
{
	bool *revocation = arena_alloc(call->arena, (batch->head_count + 1) * sizeof(*revocation));
	uint8_t packed[128];
	if (!revocation)
		return;
	for (size_t i = 0; i < batch->count; i++)
		revocation[batch->items[i].head] |= batch->items[i].entry.revokes;
	for (size_t i = 0; i < batch->head_count; i++) {
		struct id project = batch->heads[i].project;
		Audit__Hint hint = AUDIT__HINT__INIT;
		hint.has_project_id = hint.has_seq = hint.has_position = hint.has_revocation = true;
		hint.project_id = (ProtobufCBinaryData){ID_SIZE, project.bytes};
		hint.seq = batch->heads[i].seq;
		hint.position = batch->position;
		hint.revocation = revocation[i];
		if (audit__hint__get_packed_size(&hint) > sizeof(packed))
			continue;
		process_publish(call->run, project.bytes, packed, audit__hint__pack(&hint, packed));
	}
}

/* A replica that is not its schema's relay has committed rows: its relay is told at once instead of finding them at its next look. */
static void publish_nudge(struct call *call)
{
	uint8_t topic[OUTBOX_TOPIC_SIZE];
	outbox_topic(call->caller, topic);
	process_publish(call->run, topic, "", 0);
}

enum status h_append(struct call *call, const Audit__AppendRequest *request, Audit__AppendReply *reply)
{
	const struct audit_state *state = call->run->state;
	struct sql_scope scope = call_sql(call);
	struct batch batch = {0};
	size_t appended = 0;
	enum status status = take_batch(call, request, &batch);
	if (status == ST_OK && batch.count)
		status = appender_run(state->appender, &scope, &batch, &appended);
	if (status == ST_CONFLICT)
		return call_fail(call, ST_INVALID_ARGUMENT, "items",
		                 "an outbox id was used before for another event; was the database of %s restored?",
		                 call->caller);
	if (status != ST_OK)
		return status;
	if ((request)->n_items == 0)
		publish_nudge(call);
	else
		publish_hints(call, &batch);
	reply->has_appended = true;
	reply->appended = (uint32_t)appended;
	return ST_OK;
}
