/* Asks one source what waits in its outbox: one fiber, one question at a time, any replica answers. */
#include "ledger/source.h"

#include "base/clock.h"
#include "base/log.h"
#include "common.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_ARENA_BYTES (64u << 20)
#define ANSWER_BUDGET_US 400000LL
#define AGAIN_US 20000LL

/* The waiting events as entries of the ledger that have no number yet. */
static enum status source_show(const Common__ReadOutboxReply *reply, struct arena *arena,
                               Audit__LedgerEntry ***ret_entries)
{
	Audit__LedgerEntry **list = arena_alloc(arena, (reply->n_events + 1) * sizeof(*list));
	Audit__LedgerEntry *entries = arena_alloc(arena, (reply->n_events + 1) * sizeof(*entries));
	char *ids = arena_alloc(arena, (reply->n_events + 1) * ID_TEXT_SIZE);
	if (!list || !entries || !ids)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < reply->n_events; i++) {
		const Common__WaitingEvent *waiting = reply->events[i];
		struct id project = {0};
		if (waiting->project_id.len == ID_SIZE)
			memcpy(project.bytes, waiting->project_id.data, ID_SIZE);
		list[i] = &entries[i];
		audit__ledger_entry__init(list[i]);
		id_format("prj", &project, ids + i * ID_TEXT_SIZE);
		list[i]->project_id = ids + i * ID_TEXT_SIZE;
		list[i]->event = events__event__unpack(arena_protobuf(arena), waiting->event.len, waiting->event.data);
		if (!list[i]->event)
			return ST_INTERNAL;
	}
	*ret_entries = list;
	return ST_OK;
}

static enum status source_ask(struct source *source, struct arena *arena)
{
	Common__Empty request = COMMON__EMPTY__INIT;
	struct client_call call = {.process = source->process, .deadline_us = clock_monotonic_us() + ANSWER_BUDGET_US};
	ProtobufCMessage *answer = NULL;
	Audit__LedgerEntry **entries = NULL;
	enum status status = client_send(source->client, &call, M_COMMON_READ_OUTBOX, &request.base, arena, &answer);
	if (status != ST_OK)
		return status;
	const Common__ReadOutboxReply *reply = (const Common__ReadOutboxReply *)answer;
	status = source_show(reply, arena, &entries);
	if (status == ST_OK && reply->n_events > 0)
		status = source->apply(source->arg, entries, reply->n_events);
	if (status != ST_OK)
		return status;
	return reply->complete ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

static void source_turn(struct source *source)
{
	int64_t asked_us = clock_monotonic_us();
	struct arena *arena = arena_new(ANSWER_ARENA_BYTES);
	enum status status = arena ? source_ask(source, arena) : ST_RESOURCE_EXHAUSTED;
	arena_free(&arena);
	if (status == ST_OK) {
		source->known_us = asked_us;
		source->failures = 0;
		fiber_sleep_us(source->loop, source->poll_us);
		return;
	}
	if (source->failures++ % 60 == 10)
		log_event(LOG_WARN, "what waits in the outbox of a service is not known", "service",
		          process_table[source->process].name, "status", status_name(status), NULL);
	fiber_sleep_us(source->loop, AGAIN_US);
}

static void source_fiber(void *arg)
{
	for (;;) /* the fiber ends with its loop */
		source_turn(arg);
}

void source_start(struct source *source)
{
	if (!fiber_spawn(source->loop, source_fiber, source))
		abort(); /* at start there are no others; a process without it would fail silently */
}
