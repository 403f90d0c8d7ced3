/* ReadEvents and ReadStream: entries after a cursor. Waiting for an event is the gateway's part. */
#include "audit.pb-c.h"
#include "entries.h"
#include "service.h"

#include <string.h>

#define LIMIT_DEFAULT 100

MUST_USE static enum status check_limit(struct call *call, bool has_limit, uint32_t limit, int *ret_limit)
{
	if (has_limit && (limit < 1 || limit > AUDIT_READ_MAX))
		return call_fail(call, ST_INVALID_ARGUMENT, "limit", "must be 1 to %d", AUDIT_READ_MAX);
	*ret_limit = has_limit ? (int)limit : LIMIT_DEFAULT;
	return ST_OK;
}

/* The entries of a page as messages in the arena. */
MUST_USE static enum status show_entries(struct call *call, const struct page *page, bool with_position,
                                         Audit__LedgerEntry ***ret_entries)
{
	struct arena *arena = call->arena;
	Audit__LedgerEntry **list = arena_alloc(arena, (page->count + 1) * sizeof(*list));
	Audit__LedgerEntry *shown = arena_alloc(arena, (page->count + 1) * sizeof(*shown));
	char *ids = arena_alloc(arena, (page->count + 1) * ID_TEXT_SIZE);
	if (!list || !shown || !ids)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < page->count; i++) {
		const Audit__Rows__Entry *entry = page->entries[i];
		struct id project = id_from_bytes(entry->project_id);
		Audit__LedgerEntry *out = list[i] = &shown[i];
		audit__ledger_entry__init(out);
		out->project_id = ids + i * ID_TEXT_SIZE;
		id_format("prj", &project, out->project_id);
		out->has_seq = out->has_hash = true;
		out->seq = entry->seq;
		out->hash = entry->hash;
		out->has_position = with_position;
		out->position = with_position ? entry->position : 0;
		out->event = events__event__unpack(arena_protobuf(arena), entry->event.len, entry->event.data);
		if (!out->event)
			return call_fail(call, ST_INTERNAL, "", "entry %lld cannot be read", (long long)entry->seq);
	}
	*ret_entries = list;
	return ST_OK;
}

/* The project that the caller may read: its own, or for an unbound subscriber the one it names. */
MUST_USE static enum status choose_project(struct call *call, const char *text, struct id *ret_project)
{
	struct id named = {0}, own;
	bool subscriber = strcmp(call->caller, "subscriber") == 0;
	bool given = text && *text;
	if (given && !id_parse("prj", text, &named))
		return call_fail(call, ST_INVALID_ARGUMENT, "project_id", "is not a project id");
	own = subscriber ? call->caller_project : call->project;
	if (id_is_zero(&own) && !subscriber)
		return call_fail(call, ST_INVALID_ARGUMENT, "project_id", "the call has no project");
	if (id_is_zero(&own) && !given)
		return call_fail(call, ST_INVALID_ARGUMENT, "project_id", "say which project to follow");
	if (given && !id_is_zero(&own) && !id_equal(&named, &own))
		return call_fail(call, ST_PERMISSION_DENIED, "project_id", "the key is bound to another project");
	*ret_project = given ? named : own;
	return ST_OK;
}

enum status h_read_events(struct call *call, const Audit__ReadEventsRequest *request, Audit__ReadEventsReply *reply)
{
	struct sql_scope scope = call_sql(call);
	struct id project = {0};
	struct page page = {0};
	int limit = 0;
	enum status status = check_limit(call, request->has_limit, request->limit, &limit);
	if (status == ST_OK)
		status = choose_project(call, request->project_id, &project);
	if (status != ST_OK)
		return status;
	if (request->has_wait && request->wait > AUDIT_WAIT_MAX_SEC)
		return call_fail(call, ST_INVALID_ARGUMENT, "wait", "must be 0 to %d seconds", AUDIT_WAIT_MAX_SEC);
	if (request->after < 0)
		return call_fail(call, ST_INVALID_ARGUMENT, "after", "must not be negative");
	status = entries_read_project(&scope, &project, request->after, limit, &page);
	if (status != ST_OK)
		return status;
	if (request->after > page.head)
		return call_fail(call, ST_INVALID_ARGUMENT, "after", "is beyond the newest event, %lld",
		                 (long long)page.head);
	status = show_entries(call, &page, false, &reply->data);
	if (status != ST_OK)
		return status;
	reply->n_data = page.count;
	reply->has_next = reply->has_head = true;
	reply->next = page.next;
	reply->head = page.head;
	return ST_OK;
}

#define TYPES_MAX 64

MUST_USE static enum status take_filter(struct call *call, const Audit__ReadStreamRequest *ask,
                                        struct stream_filter *ret_filter)
{
	struct stream_filter filter = {.after = ask->after, .revoking = ask->revoking};
	int16_t *types = arena_alloc(call->arena, (ask->n_types + 1) * sizeof(*types));
	enum status status = check_limit(call, ask->has_limit, ask->limit, &filter.limit);
	if (status != ST_OK)
		return status;
	if (!types)
		return ST_RESOURCE_EXHAUSTED;
	if (ask->after < 0)
		return call_fail(call, ST_INVALID_ARGUMENT, "after", "must not be negative");
	if (ask->n_types > TYPES_MAX)
		return call_fail(call, ST_INVALID_ARGUMENT, "types", "at most %d", TYPES_MAX);
	for (size_t i = 0; i < ask->n_types; i++) {
		if (ask->types[i] < 1 || ask->types[i] > INT16_MAX)
			return call_fail(call, ST_INVALID_ARGUMENT, "types", "there is no type %d", (int)ask->types[i]);
		types[i] = (int16_t)ask->types[i];
	}
	filter.types = (struct db_int2s){types, ask->n_types};
	*ret_filter = filter;
	return ST_OK;
}

enum status h_read_stream(struct call *call, const Audit__ReadStreamRequest *request, Audit__ReadStreamReply *reply)
{
	struct sql_scope scope = call_sql(call);
	struct stream_filter filter = {0};
	struct page page = {0};
	enum status status = take_filter(call, request, &filter);
	if (status == ST_OK && filter.after == 0 && request->has_since_us && request->since_us > 0)
		status = entries_find_since(&scope, filter.revoking, request->since_us, &filter.after);
	if (status == ST_OK)
		status = entries_read_stream(&scope, &filter, &page);
	if (status != ST_OK)
		return status;
	if (filter.after > page.head)
		return call_fail(call, ST_INVALID_ARGUMENT, "after", "is beyond the newest position, %lld",
		                 (long long)page.head);
	status = show_entries(call, &page, true, &reply->entries);
	if (status != ST_OK)
		return status;
	reply->n_entries = page.count;
	reply->has_head = reply->has_next = true;
	reply->head = page.head;
	reply->next = page.next;
	return ST_OK;
}
