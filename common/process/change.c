/* A write: effects, retries, the nudge of the relay. */
#include "process/change.h"

#include "base/clock.h"
#include "common_sql.gen.h"
#include "process/process.h"
#include "json/message.h"

#include <string.h>

#define PAUSE_FIRST_US 1000
#define PAUSE_MAX_US 64000
#define LAST_ATTEMPT_US (20 * US_PER_MS) /* an attempt needs about so long */

/* ---- events ---- */

Events__Event *change_event(struct change *change, Events__EventType type, const char *subject, int64_t version)
{
	static Events__Event overflow; /* only a mistake of ours gets here: change_write then refuses */
	Events__Event *event = &overflow;
	if (change->event_count < CHANGE_EVENTS_MAX)
		event = &change->events[change->event_count++];
	else
		change->failed = true;
	events__event__init(event);
	event->has_type = true;
	event->type = type;
	event->subject = (char *)subject;
	event->has_version = true;
	event->version = version;
	return event;
}

void change_events(struct change *change, const struct db_blob *events, size_t count)
{
	change->more_events = events;
	change->more_count = count;
}

/* Room for one more field in the event; NULL when the arena is full. */
static Events__FieldChange *event_add_field(struct change *change, Events__Event *event, const char *name)
{
	struct arena *arena = change->call->arena;
	size_t count = event->n_changes;
	Events__FieldChange *field = arena_alloc(arena, sizeof(*field));
	if (!field)
		return NULL;
	if (count % 8 == 0) { /* grows by eights */
		Events__FieldChange **list = arena_alloc(arena, (count + 8) * sizeof(*list));
		if (!list)
			return NULL;
		if (count > 0)
			memcpy(list, event->changes, count * sizeof(*list));
		event->changes = list;
	}
	events__field_change__init(field);
	field->field = (char *)name;
	event->changes[event->n_changes++] = field;
	return field;
}

int change_fields(struct change *change, Events__Event *event, const ProtobufCMessage *before,
                  const ProtobufCMessage *after)
{
	static const char *const kept[] = {"id", "version", "created_at_us", "updated_at_us", NULL};
	struct arena *arena = change->call->arena;
	int count = 0;
	for (unsigned i = 0; i < after->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &after->descriptor->fields[i];
		const char *const *skip = kept;
		while (*skip && strcmp(*skip, field->name) != 0)
			skip++;
		if (*skip || message_field_equal(field, before, after))
			continue;
		Events__FieldChange *changed = event_add_field(change, event, message_json_name(field, arena));
		if (!changed || !changed->field || !message_field_json(field, before, arena, &changed->before_json) ||
		    !message_field_json(field, after, arena, &changed->after_json))
			return -1;
		count++;
	}
	return count;
}

bool change_secret(struct change *change, Events__Event *event, const char *field)
{
	return event_add_field(change, event, field);
}

enum status change_if_match(struct change *change, int64_t version)
{
	const ProtobufCMessage *request = change->request;
	const ProtobufCFieldDescriptor *field =
	    protobuf_c_message_descriptor_get_field_by_name(request->descriptor, "if_match_version");
	if (!field || !message_has(request, field) ||
	    *(const int64_t *)(const void *)((const char *)request + field->offset) == version)
		return ST_OK;
	return call_fail(change->call, ST_PRECONDITION_FAILED, "", "It has version %lld by now", (long long)version);
}

/* ---- writing ---- */

void change_record(struct change *change, const ProtobufCMessage *reply)
{
	change->recorded = reply;
	change->failed = change->failed || !reply;
}

static struct packed pack(struct arena *arena, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *data = arena_alloc(arena, len ? len : 1);
	if (data)
		protobuf_c_message_pack(message, data);
	return (struct packed){data, len};
}

/* All events packed, in their order; false when the arena is full. Events of change_events take nothing away. */
static bool change_pack_events(struct change *change, struct db_effects *effects)
{
	size_t count = change->event_count + change->more_count;
	struct db_blob *list = arena_alloc(change->call->arena, (count + 1) * sizeof(*list));
	if (!list || change->failed)
		return false;
	for (size_t i = 0; i < change->event_count; i++) {
		struct packed event = call_event(change->call, &change->events[i]);
		if (!event.data)
			return false;
		list[i] = (struct db_blob){event.data, event.len};
		effects->revokes = effects->revokes || event.revokes;
	}
	if (change->more_count > 0)
		memcpy(list + change->event_count, change->more_events, change->more_count * sizeof(*list));
	effects->events = (struct db_blobs){list, count};
	return true;
}

static enum status change_effects(struct change *change, struct db_effects *ret_effects)
{
	struct call *call = change->call;
	const ProtobufCMessage *recorded = change->recorded ? change->recorded : change->reply;
	struct db_effects effects = {.at_us = clock_wall_us()};
	if (!change_pack_events(change, &effects))
		return ST_RESOURCE_EXHAUSTED;
	if (call->method->write) {
		struct packed reply = pack(call->arena, recorded);
		if (!reply.data)
			return ST_RESOURCE_EXHAUSTED;
		if (recorded == change->reply)
			call->packed = reply;
		effects.operation = &call->operation;
		effects.method = (int32_t)call->method->id;
		effects.request_hash = (struct db_blob){call->request_hash, SHA256_SIZE};
		effects.reply = (struct db_blob){reply.data, reply.len};
	}
	*ret_effects = effects;
	return ST_OK;
}

enum status change_write(struct change *change, const struct db_stmt *stmt, const void *params)
{
	struct sql_scope scope = call_sql(change->call);
	struct db_effects effects;
	int64_t rows;
	enum status status = change_effects(change, &effects);
	if (status != ST_OK)
		return status;
	scope.effects = &effects;
	status = sql_run(&scope, stmt, params, &rows);
	change->conflict = scope.conflict;
	if (status == ST_OK && rows == 0)
		return ST_ABORTED;
	change->written = change->written || status == ST_OK;
	return status;
}

/* ---- attempts ---- */

/* A change that changed nothing is on record too, or the same request later would be carried out. */
static enum status change_settle(struct change *change)
{
	if (change->written || !change->call->keyed)
		return ST_OK;
	change->event_count = change->more_count = 0;
	return change_write(change, &sql_process_record_operation, NULL);
}

static void change_begin(struct change *change)
{
	protobuf_c_message_init(change->call->method->reply, change->reply);
	change->call->packed = (struct packed){0};
	change->conflict = NULL;
	change->recorded = NULL;
	change->more_events = NULL;
	change->event_count = change->more_count = 0;
	change->written = change->failed = false;
}

/* A pause before the next attempt; false when there is no time for one. */
static bool change_pause(struct call *call, unsigned attempt)
{
	uint32_t random;
	int64_t most_us = PAUSE_FIRST_US << (attempt < 6 ? attempt : 6);
	secret_random(&random, sizeof(random));
	int64_t pause_us = random % (most_us < PAUSE_MAX_US ? most_us : PAUSE_MAX_US);
	if (clock_monotonic_us() + pause_us + LAST_ATTEMPT_US > call->deadline_us)
		return false;
	if (call->run->loop) /* none in tests without a bus */
		fiber_sleep_us(call->run->loop, pause_us);
	return true;
}

enum status change_run(struct call *call, const void *request, void *reply,
                       enum status (*attempt)(struct change *change), void *arg)
{
	struct change change = {.call = call, .request = request, .reply = reply, .arg = arg};
	enum status status = ST_ABORTED;
	for (unsigned i = 0; status == ST_ABORTED && (i == 0 || change_pause(call, i)); i++) {
		change_begin(&change);
		change.attempt = i;
		status = attempt(&change);
		if (status == ST_OK)
			status = change_settle(&change);
	}
	if (status == ST_OK && change.written && call->run->outbox) /* none in tests without a bus */
		outbox_poke(call->run->outbox);
	return status;
}
