/* Audit's handlers: who may do what, bounds, replies, hints. */
#include "../../services/audit/service.h"
#include "audit.pb-c.h"
#include "base/clock.h"
#include "bus/bus_frame.h"
#include "process/process_internal.h"
#include "test_audit_world.h"

#include <criterion/criterion.h>
#include <string.h>

/* A process without a loop: one call at a time. */
struct fixture {
	struct world world;
	struct audit_state state;
	struct server server;
	struct process run;
	void *context, *sub;
};

static void process_open(struct fixture *process)
{
	int wait_ms = 2000;
	*process = (struct fixture){0};
	audit_world_open(&process->world);
	process->state.appender = process->world.appender;
	process->run = (struct process){
	    .service = &audit_service, .db = process->world.db, .server = &process->server, .state = &process->state};
	process->context = zmq_ctx_new();
	process->server.pub = zmq_socket(process->context, ZMQ_XPUB);
	process->sub = zmq_socket(process->context, ZMQ_SUB);
	zmq_setsockopt(process->sub, ZMQ_SUBSCRIBE, "", 0);
	zmq_setsockopt(process->sub, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
	cr_assert(zmq_bind(process->server.pub, "inproc://hints") == 0);
	cr_assert(zmq_connect(process->sub, "inproc://hints") == 0);
	char subscription[8];
	cr_assert(zmq_recv(process->server.pub, subscription, sizeof subscription, 0) == 1);
}

static void process_close(struct fixture *process)
{
	zmq_close(process->sub);
	zmq_close(process->server.pub);
	zmq_ctx_term(process->context);
	audit_world_close(&process->world);
}

static struct call make_call(struct fixture *process, uint32_t method, const char *caller)
{
	return (struct call){
	    .run = &process->run,
	    .method = method_find(method),
	    .actor = "",
	    .caller = caller,
	    .arena = process->world.arena,
	    .deadline_us = clock_monotonic_us() + 20 * US_PER_SEC,
	};
}

/* An Append of `count` events of one type with outbox ids from `first` on. */
static Audit__AppendRequest *make_append(struct fixture *process, const struct id *project, int64_t first, size_t count,
                                         int type)
{
	struct arena *arena = process->world.arena;
	Audit__AppendRequest *request = arena_alloc(arena, sizeof *request);
	Audit__AppendItem *items = arena_alloc(arena, (count + 1) * sizeof *items);
	audit__append_request__init(request);
	request->source = arena_strdup(arena, "identity");
	request->n_items = count;
	request->items = arena_alloc(arena, (count + 1) * sizeof *request->items);
	for (size_t i = 0; i < count; i++) {
		Events__Event event = EVENTS__EVENT__INIT;
		Audit__AppendItem *item = request->items[i] = &items[i];
		audit__append_item__init(item);
		event.has_type = event.has_at_us = true;
		event.type = (Events__EventType)type;
		event.at_us = 5;
		event.subject = arena_strdup(arena, "usr_x");
		item->has_outbox_id = item->has_project_id = item->has_event = true;
		item->outbox_id = first + (int64_t)i;
		item->project_id = (ProtobufCBinaryData){ID_SIZE, arena_memdup(arena, project->bytes, ID_SIZE)};
		item->event.len = events__event__get_packed_size(&event);
		item->event.data = arena_alloc(arena, item->event.len);
		events__event__pack(&event, item->event.data);
	}
	return request;
}

static enum status append(struct fixture *process, const Audit__AppendRequest *request, struct call *ret_call,
                          uint32_t *ret_appended)
{
	Audit__AppendReply reply = AUDIT__APPEND_REPLY__INIT;
	*ret_call = make_call(process, M_AUDIT_APPEND, "identity");
	enum status status = h_append(ret_call, request, &reply);
	*ret_appended = reply.appended;
	return status;
}

static Audit__Hint *take_hint(struct fixture *process, const struct id *project)
{
	uint8_t frame[256];
	int len = zmq_recv(process->sub, frame, sizeof(frame), 0);
	cr_assert(len > BUS_TOPIC_BYTES && len <= (int)sizeof(frame));
	cr_assert_arr_eq(frame, project->bytes, ID_SIZE);
	return audit__hint__unpack(arena_protobuf(process->world.arena), (size_t)len - BUS_TOPIC_BYTES,
	                           frame + BUS_TOPIC_BYTES);
}

Test(audit_handlers, append_hints_at_each_project)
{
	struct fixture process;
	struct call call;
	uint32_t appended;
	process_open(&process);
	struct id a = id_new();
	cr_assert(append(&process, make_append(&process, &a, 1, 3, 11), &call, &appended) == ST_OK && appended == 3);
	Audit__Hint *hint = take_hint(&process, &a);
	cr_assert(hint && hint->seq == 3 && hint->position == 3 && !hint->revocation);
	cr_assert(append(&process, make_append(&process, &a, 4, 1, 12), &call, &appended) == ST_OK && appended == 1);
	hint = take_hint(&process, &a);
	cr_assert(hint && hint->seq == 4 && hint->revocation);
	/* again: nothing new, but a hint, since the first may never have left */
	cr_assert(append(&process, make_append(&process, &a, 4, 1, 12), &call, &appended) == ST_OK && appended == 0);
	hint = take_hint(&process, &a);
	cr_assert(hint && hint->seq == 4 && hint->position == 4);
	cr_assert(append(&process, make_append(&process, &a, 0, 0, 12), &call, &appended) == ST_OK && appended == 0);
	process_close(&process);
}

Test(audit_handlers, append_refuses)
{
	struct fixture process;
	struct call call;
	uint32_t appended;
	process_open(&process);
	struct id a = id_new(), none = {0};
	Audit__AppendRequest *request = make_append(&process, &a, 1, 2, 11);
	request->source = arena_strdup(process.world.arena, "session");
	cr_assert(append(&process, request, &call, &appended) == ST_PERMISSION_DENIED);
	cr_assert_str_eq(call.field, "source");
	request->source = NULL;
	cr_assert(append(&process, request, &call, &appended) == ST_PERMISSION_DENIED);
	request = make_append(&process, &a, 1, AUDIT_BATCH_MAX + 1, 11);
	cr_assert(append(&process, request, &call, &appended) == ST_INVALID_ARGUMENT);
	request = make_append(&process, &a, 0, 2, 11);
	cr_assert(append(&process, request, &call, &appended) == ST_INVALID_ARGUMENT);
	cr_assert_str_eq(call.field, "items[0].outbox_id");
	request = make_append(&process, &a, 1, 2, 11);
	request->items[1]->project_id.len = 15;
	cr_assert(append(&process, request, &call, &appended) == ST_INVALID_ARGUMENT);
	cr_assert_str_eq(call.field, "items[1].project_id");
	request = make_append(&process, &none, 1, 1, 11);
	cr_assert(append(&process, request, &call, &appended) == ST_INVALID_ARGUMENT);
	request = make_append(&process, &a, 1, 2, 11);
	request->items[1]->event.len--;
	cr_assert(append(&process, request, &call, &appended) == ST_INVALID_ARGUMENT);
	cr_assert_str_eq(call.field, "items[1].event");
	/* an outbox id that stands for another event */
	cr_assert(append(&process, make_append(&process, &a, 1, 1, 11), &call, &appended) == ST_OK);
	cr_assert(append(&process, make_append(&process, &a, 1, 1, 12), &call, &appended) == ST_INVALID_ARGUMENT);
	cr_assert(audit_world_ask_number(process.world.owner, "SELECT count(*) FROM event") == 1);
	process_close(&process);
}

struct read_case {
	const char *caller;
	int own;   /* project of the call (gateway) or the key (subscriber): 0 none, 1 a, 2 b */
	int named; /* project_id of the request */
	int64_t after;
	int limit, wait;
	enum status status;
	const char *field;
	size_t count;
};

static const struct read_case read_cases[] = {
    {"gateway", 1, 0, 0, 0, -1, ST_OK, NULL, 100},
    {"gateway", 1, 1, 110, 1000, 30, ST_OK, NULL, 10},
    {"gateway", 1, 2, 0, 0, -1, ST_PERMISSION_DENIED, "project_id", 0},
    {"gateway", 0, 1, 0, 0, -1, ST_INVALID_ARGUMENT, "project_id", 0},
    {"gateway", 2, 0, 0, 0, -1, ST_OK, NULL, 0},
    {"gateway", 1, 0, 120, 0, -1, ST_OK, NULL, 0},
    {"gateway", 1, 0, 121, 0, -1, ST_INVALID_ARGUMENT, "after", 0},
    {"gateway", 1, 0, -1, 0, -1, ST_INVALID_ARGUMENT, "after", 0},
    {"gateway", 1, 0, 0, 1001, -1, ST_INVALID_ARGUMENT, "limit", 0},
    {"gateway", 1, 0, 0, -1, -1, ST_INVALID_ARGUMENT, "limit", 0}, /* a limit of 0 */
    {"gateway", 1, 0, 0, 5, 31, ST_INVALID_ARGUMENT, "wait", 0},
    {"subscriber", 1, 0, 0, 7, -1, ST_OK, NULL, 7},
    {"subscriber", 1, 1, 0, 7, -1, ST_OK, NULL, 7},
    {"subscriber", 1, 2, 0, 7, -1, ST_PERMISSION_DENIED, "project_id", 0},
    {"subscriber", 0, 1, 0, 7, -1, ST_OK, NULL, 7},
    {"subscriber", 0, 0, 0, 7, -1, ST_INVALID_ARGUMENT, "project_id", 0},
};

static void run_read_case(struct fixture *process, const struct read_case *at, const struct id projects[3])
{
	char text[ID_TEXT_SIZE];
	Audit__ReadEventsRequest request = AUDIT__READ_EVENTS_REQUEST__INIT;
	Audit__ReadEventsReply reply = AUDIT__READ_EVENTS_REPLY__INIT;
	struct call call = make_call(process, M_AUDIT_READ_EVENTS, at->caller);
	*(strcmp(at->caller, "gateway") == 0 ? &call.project : &call.caller_project) = projects[at->own];
	id_format("prj", &projects[at->named], text);
	request.project_id = at->named ? text : NULL;
	request.has_limit = at->limit != 0;
	request.has_after = true;
	request.after = at->after;
	request.limit = at->limit > 0 ? (uint32_t)at->limit : 0;
	request.has_wait = at->wait >= 0;
	request.wait = at->wait >= 0 ? (uint32_t)at->wait : 0;
	enum status status = h_read_events(&call, &request, &reply);
	size_t index = (size_t)(at - read_cases);
	cr_assert(status == at->status, "case %zu: %s", index, status_name(status));
	if (at->field)
		cr_assert_str_eq(call.field, at->field, "case %zu", index);
	if (status != ST_OK)
		return;
	cr_assert(reply.n_data == at->count, "case %zu: %zu", index, reply.n_data);
	cr_assert(reply.next == at->after + (int64_t)at->count, "case %zu", index);
	for (size_t i = 0; i < reply.n_data; i++) {
		cr_assert(reply.data[i]->seq == at->after + 1 + (int64_t)i && !reply.data[i]->has_position);
		cr_assert(reply.data[i]->event->type == 11 && reply.data[i]->hash.len == SHA256_SIZE);
	}
}

Test(audit_handlers, read_events)
{
	struct fixture process;
	struct call call;
	uint32_t appended;
	process_open(&process);
	const struct id projects[3] = {{{0}}, id_new(), id_new()};
	cr_assert(append(&process, make_append(&process, &projects[1], 1, 120, 11), &call, &appended) == ST_OK);
	for (size_t i = 0; i < sizeof read_cases / sizeof *read_cases; i++)
		run_read_case(&process, &read_cases[i], projects);
	process_close(&process);
}

Test(audit_handlers, read_stream)
{
	struct fixture process;
	struct call call;
	uint32_t appended;
	process_open(&process);
	struct id a = id_new();
	Events__EventType types[] = {EVENTS__EVENT_TYPE__EVENT_TYPE_USER_DISABLED}, bad[] = {(Events__EventType)0};
	Audit__ReadStreamRequest request = AUDIT__READ_STREAM_REQUEST__INIT;
	Audit__ReadStreamReply reply = AUDIT__READ_STREAM_REPLY__INIT;
	cr_assert(append(&process, make_append(&process, &a, 1, 5, 11), &call, &appended) == ST_OK);
	cr_assert(append(&process, make_append(&process, &a, 6, 1, 12), &call, &appended) == ST_OK);
	call = make_call(&process, M_AUDIT_READ_STREAM, "gateway");
	request.n_types = 1;
	request.types = types;
	request.has_since_us = true;
	request.since_us = 5;
	cr_assert(h_read_stream(&call, &request, &reply) == ST_OK);
	cr_assert(reply.n_entries == 1 && reply.entries[0]->position == 6 && reply.next == 6 && reply.head == 6);
	request.after = 7;
	cr_assert(h_read_stream(&call, &request, &reply) == ST_INVALID_ARGUMENT);
	request.after = 0;
	request.types = bad;
	cr_assert(h_read_stream(&call, &request, &reply) == ST_INVALID_ARGUMENT);
	cr_assert_str_eq(call.field, "types");
	process_close(&process);
}

Test(audit_handlers, verify)
{
	struct fixture process;
	struct call call;
	uint32_t appended;
	process_open(&process);
	struct id a = id_new();
	Audit__VerifyRequest request = AUDIT__VERIFY_REQUEST__INIT;
	Audit__VerifyReply reply = AUDIT__VERIFY_REPLY__INIT;
	cr_assert(append(&process, make_append(&process, &a, 1, 20, 11), &call, &appended) == ST_OK);
	call = make_call(&process, M_AUDIT_VERIFY, "gateway");
	call.project = a;
	cr_assert(h_verify(&call, &request, &reply) == ST_OK);
	cr_assert(reply.ok && reply.checked == 20 && reply.head == 20 && !reply.has_first_bad && !reply.reason);
	cr_assert(reply.head_hash.len == SHA256_SIZE);
	audit_world_execute(process.world.owner, "UPDATE event SET type = 12 WHERE seq = 13");
	audit__verify_reply__init(&reply);
	cr_assert(h_verify(&call, &request, &reply) == ST_OK);
	cr_assert(!reply.ok && reply.first_bad == 13 && reply.reason);
	request.after = 13;
	audit__verify_reply__init(&reply);
	cr_assert(h_verify(&call, &request, &reply) == ST_OK);
	cr_assert(reply.ok && reply.checked == 7, "the rest is good");
	request.after = 21;
	cr_assert(h_verify(&call, &request, &reply) == ST_INVALID_ARGUMENT);
	process_close(&process);
}
