/* Calls in a service: ROUTER, admission, dispatch to fibers, operation ids, replies. */
#include "process/process_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "bus/endpoint.h"
#include "common.pb-c.h"
#include "common_sql.gen.h"
#include "json/pbjson.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL_ARENA_BYTES (32 * 1024 * 1024)
#define ACTOR_MAX_BYTES 63
#define PULSE_US (250 * US_PER_MS)
#define FROZEN_US (1500 * US_PER_MS) /* callers look for another replica after at least 2 s of silence */
#define STALE_US (100 * US_PER_MS)   /* until what waited in the sockets has been read */

/* A request between its arrival and its reply. */
struct inbound {
	struct server *server;
	struct call call;
	struct bus_message message;
	uint64_t call_id;
	int64_t arrived_us;
	uint32_t attempt;
};

/* ---- operation ids ---- */

/* A write failed. If its operation was done before, by this attempt or an earlier one, the stored reply is the answer. */
static enum status inbound_settle(struct inbound *inbound, enum status failure, ProtobufCMessage **reply)
{
	struct call *call = &inbound->call;
	struct sql_process_find_operation_row found;
	if (call_one(call, &sql_process_find_operation,
	             &(struct sql_process_find_operation){.operation_id = &call->operation}, &found) != ST_OK)
		return failure;
	if ((uint32_t)found.method != call->method->id || found.request_hash.len != SHA256_SIZE ||
	    memcmp(found.request_hash.data, call->request_hash, SHA256_SIZE) != 0)
		return call_fail(call, ST_CONFLICT, "Idempotency-Key", "this key was used before with another request");
	ProtobufCMessage *message = protobuf_c_message_unpack(call->method->reply, arena_protobuf(call->arena),
	                                                      found.reply.len, found.reply.data);
	if (!message)
		return ST_INTERNAL;
	*reply = message;
	call->packed = (struct packed){0};
	return ST_OK;
}

/* ---- built-in methods ---- */

static enum status h_echo(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	((Common__EchoReply *)reply)->text = ((const Common__EchoRequest *)request)->text;
	return ST_OK;
}

static enum status h_metrics(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	struct buf out = {0};
	char instance[ID_TEXT_SIZE];
	struct server *server = call->run->server;
	hex_encode(server->instance, 4, instance);
	metrics_print(&out, server->self->name, instance);
	((Common__MetricsReply *)reply)->text = arena_strndup(call->arena, out.data, out.len);
	buf_free(&out);
	return ST_OK;
}

static enum status h_read_outbox(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	(void)request;
	return outbox_read_waiting(call->run->db, call->arena, call->deadline_us, (Common__ReadOutboxReply *)reply);
}

static const struct handler builtin_handlers[] = {
    {M_COMMON_ECHO, h_echo}, {M_COMMON_METRICS, h_metrics}, {M_COMMON_READ_OUTBOX, h_read_outbox}, {0, NULL}};

static handler_fn handler_find(const struct handler *handlers, uint32_t method)
{
	for (; handlers->method; handlers++) {
		if (handlers->method == method)
			return handlers->fn;
	}
	return NULL;
}

static handler_fn server_handler(struct server *server, uint32_t method)
{
	handler_fn fn = handler_find(server->run->service->handlers, method);
	return fn ? fn : handler_find(builtin_handlers, method);
}

/* ---- replies ---- */

static void server_reply(struct server *server, zmq_msg_t *route, Bus__Header *header, struct bus_packed body)
{
	header->has_version = header->has_kind = header->has_status = header->has_load = 1;
	header->version = BUS_VERSION;
	header->kind = BUS__KIND__KIND_REPLY;
	header->load = server->in_flight;
	/* A caller that is gone retries elsewhere by its operation id. */
	(void)bus_send(server->router, route, header, body);
	loop_watch_used(server->router_watch);
}

static void server_refuse(struct server *server, zmq_msg_t *route, uint64_t call_id, enum status status)
{
	Bus__Header header = BUS__HEADER__INIT;
	header.has_call_id = 1;
	header.call_id = call_id;
	header.status = status;
	header.has_retry_after_ms = status == ST_RESOURCE_EXHAUSTED || status == ST_UNAVAILABLE;
	header.retry_after_ms = 1000;
	server_reply(server, route, &header, BUS_NO_BODY);
}

static void inbound_log(struct inbound *inbound, enum status status, int64_t took_us)
{
	struct call *call = &inbound->call;
	enum log_level level = status == ST_INTERNAL ? LOG_ERROR : LOG_DEBUG;
	log_event(level, "call failed", "method", call->method->name, "status", status_name(status), "field",
	          call->field ? call->field : "", "reason", call->reason ? call->reason : "", "took_us",
	          LOG_NUM(took_us), NULL);
}

static void inbound_answer(struct inbound *inbound, enum status status, const ProtobufCMessage *reply)
{
	struct call *call = &inbound->call;
	int64_t took_us = clock_monotonic_us() - inbound->arrived_us;
	struct bus_packed body = BUS_NO_BODY;
	if (status == ST_OK) {
		body = call->packed.data ? (struct bus_packed){call->packed.data, call->packed.len}
		                         : bus_pack(reply, call->arena);
		status = body.data ? ST_OK : ST_INTERNAL;
	}
	Bus__Header header = BUS__HEADER__INIT;
	header.has_call_id = header.has_server_us = 1;
	header.call_id = inbound->call_id;
	header.status = status;
	header.server_us = (uint32_t)took_us;
	header.has_retry_after_ms = call->retry_after_ms != 0;
	header.retry_after_ms = call->retry_after_ms;
	header.field = (char *)call->field;
	header.reason = (char *)call->reason;
	if (status != ST_OK)
		inbound_log(inbound, status, took_us);
	metric_observe_us(inbound->server->by_method[call->method - method_table], took_us);
	server_reply(inbound->server, &inbound->message.route, &header, body);
}

/* ---- the fiber of one call ---- */

static enum status inbound_run(struct inbound *inbound, ProtobufCMessage **ret_reply)
{
	struct call *call = &inbound->call;
	ProtobufCMessage *request = bus_body(&inbound->message, call->method->request, call->arena);
	ProtobufCMessage *reply = arena_alloc(call->arena, call->method->reply->sizeof_message);
	if (!request || !reply)
		return call_fail(call, ST_INVALID_ARGUMENT, "", "the message cannot be read");
	struct pbjson_error error = {0};
	enum status status = pbjson_check_strings(request, call->arena, &error);
	if (status != ST_OK)
		return call_fail(call, status, error.field, "%s", error.reason);
	protobuf_c_message_init(call->method->reply, reply);
	status = server_handler(inbound->server, call->method->id)(call, request, reply);
	if (status != ST_OK && call->method->write && (call->keyed || inbound->attempt > 1 || status == ST_LOST)) {
		status = inbound_settle(inbound, status, &reply);
	}
	if (status == ST_OK)
		*ret_reply = reply;
	return status;
}

static struct arena *server_take_arena(struct server *server)
{
	return server->arena_count ? server->arenas[--server->arena_count] : arena_new(CALL_ARENA_BYTES);
}

static void server_give_arena(struct server *server, struct arena *arena)
{
	if (server->arena_count < ARENAS_IDLE_MAX) {
		arena_reset(arena);
		server->arenas[server->arena_count++] = arena;
	} else {
		arena_free(&arena);
	}
}

static void inbound_fiber(void *arg)
{
	struct inbound *inbound = arg;
	struct server *server = inbound->server;
	struct arena *arena = inbound->call.arena;
	log_set_trace(inbound->call.trace);
	ProtobufCMessage *reply = NULL;
	enum status status = ST_DEADLINE_EXCEEDED;
	if (clock_monotonic_us() < inbound->call.deadline_us)
		status = inbound_run(inbound, &reply);
	inbound_answer(inbound, status, reply);
	bus_message_close(&inbound->message);
	server->in_flight--;
	metric_set(server->busy, server->in_flight);
	server_give_arena(server, arena); /* inbound itself lies in it */
}

/* ---- arrival ---- */

static void inbound_fill(struct inbound *inbound, const Bus__Header *header, const struct allow_entry *caller)
{
	struct call *call = &inbound->call;
	inbound->call_id = header->call_id;
	inbound->attempt = header->attempt;
	inbound->arrived_us = clock_monotonic_us();
	call->run = inbound->server->run;
	call->deadline_us = inbound->arrived_us + (int64_t)header->timeout_ms * US_PER_MS;
	call->caller = caller->process->name;
	call->caller_project = caller->project;
	call->actor = header->actor ? header->actor : ""; /* the header lies in the same arena */
	if (header->has_project_id && header->project_id.len == ID_SIZE)
		memcpy(call->project.bytes, header->project_id.data, ID_SIZE);
	if (header->has_trace_id && header->trace_id.len == 16)
		memcpy(call->trace, header->trace_id.data, 16);
	if (!call->method->write)
		return;
	if (header->has_operation_id && header->operation_id.len == ID_SIZE)
		memcpy(call->operation.bytes, header->operation_id.data, ID_SIZE);
	else
		call->operation = id_new();
	call->keyed = header->has_operation_hash && header->operation_hash.len == SHA256_SIZE;
	if (call->keyed)
		memcpy(call->request_hash, header->operation_hash.data, SHA256_SIZE);
	else /* only the bus repeats this one, with the same body: nothing of the body needs to be kept */
		secret_sha256(call->operation.bytes, ID_SIZE, call->request_hash);
}

/* A process that was frozen finds requests in its sockets that other replicas have answered meanwhile. They are refused: a
 * refresh token that was good when it was sent would look like a stolen one now. */
static void server_feel_pulse(struct server *server)
{
	int64_t now_us = clock_monotonic_us();
	if (now_us - server->pulse_us > FROZEN_US) {
		log_event(LOG_WARN, "the process was frozen; what waited for it is refused", "ms",
		          LOG_NUM((now_us - server->pulse_us) / US_PER_MS), NULL);
		server->stale_until_us = now_us + STALE_US;
	}
	server->pulse_us = now_us;
}

static void server_pulse(void *arg)
{
	struct server *server = arg;
	server_feel_pulse(server);
	loop_timer_set(server->pulse, server->pulse_us + PULSE_US);
}

/* Whether the header's own words may be kept: the actor and the project go into events, and an event that the ledger refuses would
 * hold up all that come after it. */
static bool server_header_good(const Bus__Header *header, const struct method *method, const struct allow_entry *caller)
{
	static const uint8_t zero[ID_SIZE];
	const char *actor = header->actor ? header->actor : "";
	bool has_project = header->has_project_id && header->project_id.len > 0;
	size_t len = strnlen(actor, ACTOR_MAX_BYTES + 1);
	for (size_t i = 0; i < len; i++) {
		if (actor[i] <= ' ' || actor[i] >= 0x7f)
			return false;
	}
	if (len > ACTOR_MAX_BYTES || (has_project && header->project_id.len != ID_SIZE))
		return false;
	bool named = has_project && memcmp(header->project_id.data, zero, ID_SIZE) != 0;
	return named || !method->write || caller->process->number != PROCESS_GATEWAY;
}

/* Whether this request may run now. */
static enum status server_admit(struct server *server, const struct method *method, const struct allow_entry *caller)
{
	if (!method || !server_handler(server, method->id))
		return ST_UNIMPLEMENTED;
	if (!caller || !(method->callers & 1u << caller->process->number))
		return ST_PERMISSION_DENIED;
	if (server->draining || server->pulse_us < server->stale_until_us)
		return ST_UNAVAILABLE;
	/* Questions about the service itself are few, and a gateway that gets no answer sends more: they are answered however full it is. */
	bool builtin = handler_find(builtin_handlers, method->id);
	return builtin || server->in_flight < IN_FLIGHT_MAX ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

static void server_on_request(struct server *server, struct bus_message *message, struct arena *arena,
                              const Bus__Header *header)
{
	const char *user = zmq_msg_gets(&message->frame, "User-Id");
	const struct allow_entry *caller = user ? zap_find(server->zap, user) : NULL;
	const struct method *method = method_find(header->method);
	enum status status = server_admit(server, method, caller);
	if (status == ST_OK && !server_header_good(header, method, caller))
		status = ST_INVALID_ARGUMENT;
	struct inbound *inbound = status == ST_OK ? arena_alloc(arena, sizeof(*inbound)) : NULL;
	if (!inbound) {
		server_refuse(server, &message->route, header->call_id,
		              status == ST_OK ? ST_RESOURCE_EXHAUSTED : status);
		server_give_arena(server, arena);
		return;
	}
	inbound->server = server;
	inbound->call.method = method;
	inbound->call.arena = arena;
	bus_message_init(&inbound->message);
	bus_message_move(&inbound->message, message);
	inbound_fill(inbound, header, caller);
	if (!fiber_spawn(server->run->loop, inbound_fiber, inbound)) {
		server_refuse(server, &inbound->message.route, header->call_id, ST_RESOURCE_EXHAUSTED);
		bus_message_close(&inbound->message);
		server_give_arena(server, arena);
		return;
	}
	server->in_flight++;
}

static void server_remember_caller(struct server *server, zmq_msg_t *route)
{
	size_t len = zmq_msg_size(route);
	if (len > 16)
		return;
	for (unsigned i = 0; i < CALLERS_MAX && i < server->caller_count; i++) {
		if (server->callers[i].len == len && memcmp(server->callers[i].id, zmq_msg_data(route), len) == 0)
			return;
	}
	unsigned place = server->caller_count++ % CALLERS_MAX;
	server->callers[place].len = len;
	memcpy(server->callers[place].id, zmq_msg_data(route), len);
}

static void server_send_control(struct server *server, zmq_msg_t *route, Bus__Kind kind, struct bus_packed body)
{
	Bus__Header header = BUS__HEADER__INIT;
	header.has_version = header.has_kind = 1;
	header.version = BUS_VERSION;
	header.kind = kind;
	(void)bus_send(server->router, route, &header, body);
	loop_watch_used(server->router_watch);
}

static void server_on_hello(struct server *server, zmq_msg_t *route, struct arena *arena)
{
	Bus__Welcome welcome = BUS__WELCOME__INIT;
	welcome.process = (char *)server->self->name;
	welcome.has_instance = welcome.has_max_in_flight = welcome.has_draining = 1;
	welcome.instance = (ProtobufCBinaryData){16, server->instance};
	welcome.max_in_flight = IN_FLIGHT_MAX;
	welcome.draining = server->draining;
	server_remember_caller(server, route);
	server_send_control(server, route, BUS__KIND__KIND_WELCOME, bus_pack(&welcome.base, arena));
}

static void server_on_message(struct server *server, struct bus_message *message)
{
	struct arena *arena = server_take_arena(server);
	Bus__Header *header = arena ? bus_header(message, arena) : NULL;
	if (header && header->kind == BUS__KIND__KIND_REQUEST) {
		metric_add(server->requests, 1);
		server_on_request(server, message, arena, header);
		return;
	}
	if (header && header->kind == BUS__KIND__KIND_HELLO)
		server_on_hello(server, &message->route, arena);
	else if (header && header->kind == BUS__KIND__KIND_PING)
		server_send_control(server, &message->route, BUS__KIND__KIND_PONG, BUS_NO_BODY);
	if (arena)
		server_give_arena(server, arena);
}

static bool server_readable(void *arg)
{
	struct server *server = arg;
	server_feel_pulse(server);
	for (bool any = false;; any = true) {
		struct bus_message message;
		enum status status = bus_receive(server->router, true, &message);
		if (status == ST_NOT_FOUND)
			return any;
		if (status != ST_OK)
			continue;
		server_on_message(server, &message);
		bus_message_close(&message);
	}
}

/* ---- life ---- */

static bool server_bind_one(void *socket, const struct endpoint *endpoint, bool is_pub)
{
	char address[ENDPOINT_ADDRESS_SIZE];
	endpoint_address(endpoint, is_pub, address);
	if (zmq_bind(socket, address) == 0)
		return true;
	log_event(LOG_ERROR, "cannot bind the bus socket", "endpoint", address, "reason", zmq_strerror(zmq_errno()),
	          NULL);
	return false;
}

/* A socket on all endpoints of `listen`; NULL when one cannot be bound. */
static void *server_bind(struct server *server, const struct bus_config *config, int type, const char *listen)
{
	struct endpoint endpoint = {.host = "*", .port = config->self->port};
	void *socket = zmq_socket(loop_zmq_context(server->run->loop), type);
	bus_socket_prepare(socket, 1000);
	int one = 1;
	if (type == ZMQ_ROUTER)
		zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &one, sizeof(one));
	bus_socket_curve_server(socket, config->secret_key);
	const char *rest = listen[0] ? listen : NULL;
	do {
		if (rest && endpoint_next(&rest, &endpoint) != ST_OK) {
			log_event(LOG_ERROR, "not a list of address:port or ipc:///path", "setting",
			          "DENIZEN_BUS_LISTEN", NULL);
			goto fail;
		}
		if (!server_bind_one(socket, &endpoint, type == ZMQ_PUB))
			goto fail;
	} while (rest);
	return socket;
fail:
	zmq_close(socket);
	return NULL;
}

static bool server_register_metrics(struct server *server)
{
	server->requests = metric_counter("denizen_bus_requests_total", "", "Requests received");
	server->busy = metric_gauge("denizen_bus_in_flight", "", "Requests in progress");
	server->by_method = calloc(method_count, sizeof(struct metric *));
	if (!server->by_method)
		return false;
	for (unsigned i = 0; i < method_count; i++) {
		if (!server_handler(server, method_table[i].id))
			continue;
		char labels[96];
		snprintf(labels, sizeof(labels), "method=\"%s\"", method_table[i].name);
		server->by_method[i] =
		    metric_histogram("denizen_call_seconds", labels, "Time at the service, by method");
	}
	return true;
}

/* Every method of the contract must have its handler. */
static bool server_complete(struct server *server)
{
	for (unsigned i = 0; i < method_count; i++) {
		if (strcmp(method_table[i].service, server->self->name) == 0 &&
		    !server_handler(server, method_table[i].id)) {
			log_event(LOG_ERROR, "a method has no handler", "method", method_table[i].name, NULL);
			return false;
		}
	}
	return true;
}

enum status server_start(struct server *server, const struct bus_config *config, const char *listen)
{
	server->self = config->self;
	secret_random(server->instance, sizeof(server->instance));
	if (!server_complete(server) || !server_register_metrics(server))
		return ST_INTERNAL;
	server->zap = zap_start(server->run->loop, config->public_dir);
	server->router = server_bind(server, config, ZMQ_ROUTER, listen);
	server->pub = server->router ? server_bind(server, config, ZMQ_PUB, listen) : NULL;
	if (!server->pub)
		return ST_UNAVAILABLE;
	server->router_watch = loop_watch_socket(server->run->loop, server->router, server_readable, server);
	server->pulse_us = clock_monotonic_us();
	server->pulse = loop_timer_new(server->run->loop, server_pulse, server);
	loop_timer_set(server->pulse, server->pulse_us + PULSE_US);
	return ST_OK;
}

void server_drain(struct server *server)
{
	server->draining = true;
	unsigned count = server->caller_count < CALLERS_MAX ? server->caller_count : CALLERS_MAX;
	for (unsigned i = 0; i < count; i++) {
		zmq_msg_t route;
		if (zmq_msg_init_size(&route, server->callers[i].len) != 0)
			continue;
		memcpy(zmq_msg_data(&route), server->callers[i].id, server->callers[i].len);
		server_send_control(server, &route, BUS__KIND__KIND_GOAWAY, BUS_NO_BODY);
		zmq_msg_close(&route);
	}
}

void server_stop(struct server *server)
{
	loop_unwatch(server->run->loop, &server->router_watch);
	loop_timer_free(&server->pulse);
	if (server->router)
		zmq_close(server->router);
	if (server->pub)
		zmq_close(server->pub);
	zap_stop(&server->zap);
	while (server->arena_count > 0)
		arena_free(&server->arenas[--server->arena_count]);
	free(server->by_method);
}

void process_publish(struct process *run, const uint8_t topic[BUS_TOPIC_BYTES], const void *data, size_t len_bytes)
{
	zmq_msg_t frame;
	if (zmq_msg_init_size(&frame, BUS_TOPIC_BYTES + len_bytes) != 0)
		return;
	memcpy(zmq_msg_data(&frame), topic, BUS_TOPIC_BYTES);
	memcpy((uint8_t *)zmq_msg_data(&frame) + BUS_TOPIC_BYTES, data, len_bytes);
	/* PUB never blocks: a subscriber that is too slow loses hints and reads the ledger. */
	if (zmq_msg_send(&frame, run->server->pub, ZMQ_DONTWAIT) < 0)
		zmq_msg_close(&frame);
}
