/* Calls to other processes: slots, deadlines, retries. */
#include "bus/client_internal.h"

#include "base/clock.h"
#include "base/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_US (10 * US_PER_MS)
#define ATTEMPTS_MAX 3
#define RETRY_TOKENS_MAX 100.0
#define RETRY_TOKEN_PER_CALL 0.1
#define RESERVE_US (2 * US_PER_MS) /* kept for the way back */

/* ---- the list of calls ---- */

static void pending_link(struct pending *pending)
{
	struct client *client = pending->client;
	pending->previous = NULL;
	pending->next = client->active;
	if (client->active)
		client->active->previous = pending;
	else
		loop_timer_set(client->sweep, clock_monotonic_us() + SWEEP_US);
	client->active = pending;
}

static void pending_unlink(struct pending *pending)
{
	if (pending->previous)
		pending->previous->next = pending->next;
	else
		pending->client->active = pending->next;
	if (pending->next)
		pending->next->previous = pending->previous;
}

/* Forgets where the call was sent; a late reply finds another generation. */
static void pending_recall(struct pending *pending)
{
	struct client *client = pending->client;
	if (pending->state != PENDING_SENT)
		return;
	client->slots[pending->slot].pending = NULL;
	client->slots[pending->slot].generation++;
	client->free_slots[client->free_count++] = pending->slot;
	if (pending->replica->outstanding > 0)
		pending->replica->outstanding--;
	pending->state = PENDING_QUEUED;
}

static void pending_complete(struct pending *pending, enum status status)
{
	pending_recall(pending);
	pending_unlink(pending);
	pending->status = status;
	wait_done(&pending->wait); /* the caller may return at once: nothing may touch *pending after this */
}

/* ---- sending ---- */

static bool pending_dispatch_to(struct pending *pending, struct replica *replica, int64_t now_us)
{
	struct client *client = pending->client;
	if (client->free_count == 0)
		return false;
	unsigned slot = client->free_slots[client->free_count - 1];
	pending->header.call_id = (uint64_t)slot | (client->slots[slot].generation & 0xffffffffffffu) << 16;
	int64_t left_us = pending->deadline_us - now_us - RESERVE_US;
	pending->header.timeout_ms = left_us > US_PER_MS ? (uint32_t)(left_us / US_PER_MS) : 1;
	if (!replica_send(replica, &pending->header, pending->body))
		return false;
	client->free_count--;
	client->slots[slot].pending = pending;
	pending->slot = slot;
	pending->replica = replica;
	pending->state = PENDING_SENT;
	replica->outstanding++;
	return true;
}

/* The one with this number among those that are up; NULL = there are not so many. */
static struct replica *pinned_replica(const struct peer *peer, int number)
{
	for (unsigned i = 0; i < peer->replica_count; i++) {
		if (peer->replicas[i]->state == REPLICA_UP && number-- == 0)
			return peer->replicas[i];
	}
	return NULL;
}

/* Sends to the best replica; stays queued when there is none. */
static void pending_dispatch(struct pending *pending, int64_t now_us)
{
	struct peer *peer = pending->peer;
	if (now_us < pending->not_before_us)
		return;
	if (pending->pinned >= 0) {
		struct replica *pinned = pinned_replica(peer, pending->pinned);
		if (pinned)
			pending_dispatch_to(pending, pinned, now_us);
		return;
	}
	struct replica *replica = replica_choose(peer, pending->replica);
	if (replica && !pending_dispatch_to(pending, replica, now_us)) {
		replica = replica_choose(peer, replica);
		if (replica)
			pending_dispatch_to(pending, replica, now_us);
	}
}

static void client_submit(void *arg)
{
	struct pending *pending = arg;
	struct client *client = pending->client;
	pending_link(pending);
	if (client->retry_tokens < RETRY_TOKENS_MAX)
		client->retry_tokens += RETRY_TOKEN_PER_CALL;
	pending->queued_us = clock_monotonic_us();
	pending_dispatch(pending, pending->queued_us);
}

/* ---- retries ---- */

/* What another replica may do. A lost race (ST_ABORTED) is the business of the handler, which knows what to read again. A write whose outcome
 * is unknown is protected by its operation id: a second attempt is answered, not repeated. */
static bool client_may_retry(struct pending *pending, enum status status, int64_t now_us)
{
	if (status != ST_UNAVAILABLE && status != ST_UNIMPLEMENTED && status != ST_LOST)
		return false;
	if (pending->pinned >= 0 || pending->header.attempt >= ATTEMPTS_MAX || pending->client->retry_tokens < 1.0)
		return false;
	return now_us + 5 * US_PER_MS < pending->deadline_us;
}

static void client_retry_or_fail(struct pending *pending, enum status status)
{
	int64_t now_us = clock_monotonic_us();
	pending_recall(pending);
	if (!client_may_retry(pending, status, now_us)) {
		pending_complete(pending, status);
		return;
	}
	pending->client->retry_tokens -= 1.0;
	metric_add(metric_counter("denizen_bus_retries_total", "", "Calls sent again after a failure"), 1);
	bool first = pending->header.attempt == 1;
	pending->header.attempt++;
	pending->queued_us = now_us;
	pending->not_before_us = first ? 0 : now_us + 5 * US_PER_MS + (int64_t)(now_us % 20) * US_PER_MS;
	pending_dispatch(pending, now_us);
}

static void client_on_reply(struct client *client, struct replica *replica, Bus__Header *header,
                            struct bus_message *message)
{
	unsigned slot = (unsigned)(header->call_id & 0xffff);
	if (slot >= SLOTS_MAX || !client->slots[slot].pending ||
	    (client->slots[slot].generation & 0xffffffffffffu) != header->call_id >> 16)
		return; /* late */
	struct pending *pending = client->slots[slot].pending;
	replica->load = header->load;
	enum status status = header->status < ST_COUNT ? (enum status)header->status : ST_INTERNAL;
	if (status == ST_OK) {
		bus_message_move(&pending->reply, message);
		pending_complete(pending, ST_OK);
		return;
	}
	pending->retry_after_ms = header->retry_after_ms;
	snprintf(pending->field, sizeof(pending->field), "%s", header->field ? header->field : "");
	snprintf(pending->reason, sizeof(pending->reason), "%s", header->reason ? header->reason : "");
	client_retry_or_fail(pending, status);
}

static void client_on_lost(struct client *client, struct replica *replica)
{
	struct pending *next;
	for (struct pending *pending = client->active; pending; pending = next) {
		next = pending->next;
		if (pending->state == PENDING_SENT && pending->replica == replica)
			client_retry_or_fail(pending, ST_LOST);
	}
}

static void client_on_up(struct client *client, struct peer *peer)
{
	int64_t now_us = clock_monotonic_us();
	for (struct pending *pending = client->active; pending; pending = pending->next) {
		if (pending->state == PENDING_QUEUED && pending->peer == peer)
			pending_dispatch(pending, now_us);
	}
}

static const struct replica_events replica_events = {client_on_reply, client_on_lost, client_on_up};

/* Deadlines, and calls that wait for a replica. */
static void client_sweep(void *arg)
{
	struct client *client = arg;
	int64_t now_us = clock_monotonic_us();
	struct pending *next;
	for (struct pending *pending = client->active; pending; pending = next) {
		next = pending->next;
		if (now_us >= pending->deadline_us) {
			pending_complete(pending, pending->state == PENDING_SENT ? ST_LOST : ST_DEADLINE_EXCEEDED);
			continue;
		}
		if (pending->state == PENDING_SENT)
			continue;
		if (now_us - pending->queued_us > QUEUE_WAIT_US) {
			pending->retry_after_ms = 1000;
			pending_complete(pending, ST_UNAVAILABLE);
			continue;
		}
		pending_dispatch(pending, now_us);
	}
	if (client->active)
		loop_timer_set(client->sweep, now_us + SWEEP_US);
}

/* ---- the call, on the caller's thread or fiber ---- */

static void pending_fill_header(struct pending *pending, struct client_call *call)
{
	Bus__Header *header = &pending->header;
	bus__header__init(header);
	header->has_version = header->has_kind = header->has_call_id = header->has_method = 1;
	header->version = BUS_VERSION;
	header->kind = BUS__KIND__KIND_REQUEST;
	header->method = pending->method->id;
	header->has_timeout_ms = header->has_attempt = 1;
	header->attempt = 1;
	if (pending->method->write) {
		if (id_is_zero(&call->operation))
			call->operation = id_new();
		header->has_operation_id = 1;
		header->operation_id = (ProtobufCBinaryData){ID_SIZE, call->operation.bytes};
		header->has_operation_hash = !!call->operation_hash;
		header->operation_hash = (ProtobufCBinaryData){SHA256_SIZE, (uint8_t *)call->operation_hash};
	}
	header->has_trace_id = 1;
	header->trace_id = (ProtobufCBinaryData){16, call->trace};
	if (!id_is_zero(&call->project)) {
		header->has_project_id = 1;
		header->project_id = (ProtobufCBinaryData){ID_SIZE, call->project.bytes};
	}
	header->actor = (char *)call->actor;
}

static enum status client_take_reply(struct pending *pending, struct client_call *call, struct arena *arena,
                                     ProtobufCMessage **ret_reply)
{
	enum status status = pending->status;
	if (status != ST_OK) {
		call->ret_retry_after_ms = pending->retry_after_ms;
		call->ret_field = pending->field[0] ? arena_strdup(arena, pending->field) : NULL;
		call->ret_reason = pending->reason[0] ? arena_strdup(arena, pending->reason) : NULL;
		return status;
	}
	ProtobufCMessage *reply = bus_body(&pending->reply, pending->method->reply, arena);
	if (!reply)
		return ST_INTERNAL;
	*ret_reply = reply;
	return ST_OK;
}

/* Sends. When it fails there is nothing to wait for. */
static enum status pending_begin(struct pending *pending, struct client_call *call, const ProtobufCMessage *request,
                                 struct arena *arena)
{
	struct client *client = pending->client;
	int64_t now_us = clock_monotonic_us();
	pending->deadline_us =
	    call->deadline_us ? call->deadline_us : now_us + (int64_t)pending->method->timeout_ms * US_PER_MS;
	if (pending->deadline_us - now_us < 2 * RESERVE_US)
		return ST_DEADLINE_EXCEEDED;
	pending->body = bus_pack(request, arena);
	if (!pending->body.data)
		return ST_CONTENT_TOO_LARGE;
	bus_message_init(&pending->reply);
	pending_fill_header(pending, call);
	wait_init(&pending->wait, client->loop);
	if (loop_on_thread(client->loop))
		client_submit(pending);
	else
		loop_post(client->loop, client_submit, pending);
	return ST_OK;
}

static enum status pending_end(struct pending *pending, struct client_call *call, struct arena *arena,
                               ProtobufCMessage **ret_reply)
{
	/* The loop's sweep ends the call at its deadline; there is no other way out of this wait. */
	while (!wait_for(&pending->wait, WAIT_FOREVER))
		;
	enum status status = client_take_reply(pending, call, arena, ret_reply);
	bus_message_close(&pending->reply);
	return status;
}

/* A call of the method, to any replica: of call->process, when every service answers it. False when nobody here may make it. */
static bool pending_prepare(struct pending *pending, struct client *client, const struct client_call *call,
                            uint32_t method)
{
	const struct method *entry = method_find(method);
	const struct process_info *process = entry ? process_find(entry->service) : NULL;
	if (entry && !process)
		process = &process_table[call->process];
	if (!process || !client->peers[process->number].endpoints)
		return false;
	*pending =
	    (struct pending){.client = client, .peer = &client->peers[process->number], .method = entry, .pinned = -1};
	return true;
}

enum status client_send(struct client *client, struct client_call *call, uint32_t method,
                        const ProtobufCMessage *request, struct arena *arena, ProtobufCMessage **ret_reply)
{
	struct pending pending;
	if (!pending_prepare(&pending, client, call, method))
		return ST_UNIMPLEMENTED;
	enum status status = pending_begin(&pending, call, request, arena);
	return status == ST_OK ? pending_end(&pending, call, arena, ret_reply) : status;
}

void client_begin(struct client *client, struct client_part *part)
{
	struct pending *pending = arena_alloc(part->arena, sizeof(*pending));
	part->pending = NULL;
	part->reply = NULL;
	part->status = ST_RESOURCE_EXHAUSTED;
	if (!pending)
		return;
	part->status = pending_prepare(pending, client, &part->call, part->method)
	                   ? pending_begin(pending, &part->call, part->request, part->arena)
	                   : ST_UNIMPLEMENTED;
	if (part->status == ST_OK)
		part->pending = pending;
}

void client_end(struct client_part *part)
{
	if (part->pending)
		part->status = pending_end(part->pending, &part->call, part->arena, &part->reply);
	part->pending = NULL;
}

void client_send_many(struct client *client, struct client_part *parts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		client_begin(client, &parts[i]);
	for (size_t i = 0; i < count; i++)
		client_end(&parts[i]);
}

enum status client_send_replica(struct client *client, unsigned process, unsigned index, uint32_t method,
                                struct arena *arena, ProtobufCMessage **ret_reply)
{
	const struct method *entry = method_find(method);
	if (!entry || process >= 8 || !client->peers[process].endpoints)
		return ST_UNIMPLEMENTED;
	struct client_call call = {0};
	ProtobufCMessage *empty = arena_alloc(arena, entry->request->sizeof_message);
	if (!empty)
		return ST_INTERNAL;
	protobuf_c_message_init(entry->request, empty);
	struct pending pending = {
	    .client = client, .peer = &client->peers[process], .method = entry, .pinned = (int)index};
	enum status status = pending_begin(&pending, &call, empty, arena);
	return status == ST_OK ? pending_end(&pending, &call, arena, ret_reply) : status;
}

unsigned client_replicas_up(struct client *client, unsigned process)
{
	return client->peers[process].up;
}

/* ---- life ---- */

/* An endpoint that cannot be read is left out; bus_config refuses it before. */
static void peer_read_endpoints(struct peer *peer, const char *list)
{
	peer->endpoints = calloc(ENDPOINTS_MAX, sizeof(*peer->endpoints));
	if (!peer->endpoints)
		abort();
	while (list && peer->endpoint_count < ENDPOINTS_MAX) {
		if (endpoint_next(&list, &peer->endpoints[peer->endpoint_count]) == ST_OK)
			peer->endpoint_count++;
	}
}

struct client *client_new(const struct client_options *options)
{
	struct client *client = calloc(1, sizeof(*client));
	if (!client)
		abort();
	client->loop = options->loop;
	client->events = &replica_events;
	client->self = process_find(options->self);
	client->curve = options->curve_secret;
	if (client->curve) {
		memcpy(client->curve_public, options->curve_public, 41);
		memcpy(client->curve_secret, options->curve_secret, 41);
	}
	for (unsigned i = 0; i < process_count && i < 8; i++) {
		struct peer *peer = &client->peers[i];
		peer->client = client;
		peer->process = &process_table[i];
		if (!options->endpoints[i])
			continue;
		peer_read_endpoints(peer, options->endpoints[i]);
		if (client->curve)
			peer->server_key = strdup(options->server_keys[i]);
	}
	for (unsigned i = 0; i < SLOTS_MAX; i++)
		client->free_slots[i] = SLOTS_MAX - 1 - i;
	client->free_count = SLOTS_MAX;
	client->retry_tokens = RETRY_TOKENS_MAX;
	client->scratch = arena_new(64 * 1024);
	client->sweep = loop_timer_new(client->loop, client_sweep, client);
	replica_start(client);
	return client;
}

void client_free(struct client **client_ref)
{
	struct client *client = *client_ref;
	if (!client)
		return;
	replica_stop(client);
	loop_timer_free(&client->sweep);
	arena_free(&client->scratch);
	for (unsigned i = 0; i < 8; i++) {
		free(client->peers[i].endpoints);
		free((char *)client->peers[i].server_key);
	}
	secret_wipe(client->curve_secret, sizeof(client->curve_secret));
	free(client);
	*client_ref = NULL;
}

void client_subscribe(struct client *client, unsigned process, const void *topic, size_t topic_len,
                      void (*fn)(void *arg, const void *data, size_t len_bytes), void *arg)
{
	if (client->subscription_count == SUBSCRIPTIONS_MAX)
		abort();
	struct subscription *subscription = &client->subscriptions[client->subscription_count++];
	*subscription = (struct subscription){.client = client, .peer = &client->peers[process], .fn = fn, .arg = arg};
	subscription->socket = zmq_socket(loop_zmq_context(client->loop), ZMQ_SUB);
	bus_socket_prepare(subscription->socket, 0);
	if (zmq_setsockopt(subscription->socket, ZMQ_SUBSCRIBE, topic, topic_len) != 0)
		abort();
	if (client->curve)
		bus_socket_curve_client(subscription->socket, client->curve_public, client->curve_secret,
		                        subscription->peer->server_key);
	replica_subscribe(subscription);
}
