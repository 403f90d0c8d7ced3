/* Connections to replicas: discovery, HELLO and WELCOME, pings, the socket monitor, subscriptions. */
#include "bus/client_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "bus/bus_frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_US (200 * US_PER_MS)
#define PING_AFTER_US (1 * US_PER_SEC)
#define SUSPECT_AFTER_US (3 * US_PER_SEC)
#define RECONNECT_AFTER_US (10 * US_PER_SEC)
#define RESOLVE_US (2 * US_PER_SEC) /* and with each tick while no replica is up */
#define RESOLVE_SPREAD_US (400 * US_PER_MS)

/* ---- state ---- */

static void replica_set_state(struct replica *replica, enum replica_state state)
{
	struct peer *peer = replica->peer;
	if (replica->state == state)
		return;
	bool was_up = replica->state == REPLICA_UP;
	replica->state = state;
	if (was_up)
		peer->up--;
	if (state == REPLICA_UP)
		peer->up++;
	static const char *const names[] = {"connecting", "up", "suspect", "draining"};
	log_event(LOG_INFO, "replica changed state", "peer", peer->process->name, "address", replica->address, "state",
	          names[state], NULL);
	if (state == REPLICA_UP)
		replica->client->events->on_up(replica->client, peer);
}

static bool replica_usable(const struct replica *replica)
{
	return replica->state == REPLICA_UP && !replica->leaving && replica->outstanding < replica->max_in_flight;
}

struct replica *replica_choose(struct peer *peer, const struct replica *avoid)
{
	struct replica *usable[REPLICAS_MAX];
	unsigned count = 0;
	for (unsigned i = 0; i < peer->replica_count; i++) {
		if (replica_usable(peer->replicas[i]) && peer->replicas[i] != avoid)
			usable[count++] = peer->replicas[i];
	}
	if (count == 0 && avoid) {
		/* Only the avoided one is left, if it is still there. */
		for (unsigned i = 0; i < peer->replica_count; i++) {
			if (peer->replicas[i] == avoid && replica_usable(avoid))
				return peer->replicas[i];
		}
	}
	if (count <= 1)
		return count ? usable[0] : NULL;
	static unsigned turn; /* the loop's thread only; a counter is random enough to break ties */
	unsigned first = turn++ % count, second = (first + 1 + turn / count % (count - 1)) % count;
	struct replica *a = usable[first], *b = usable[second];
	return a->outstanding * 4 + a->load <= b->outstanding * 4 + b->load ? a : b;
}

/* ---- messages ---- */

bool replica_send(struct replica *replica, const Bus__Header *header, struct bus_packed body)
{
	bool sent = bus_send(replica->dealer, NULL, header, body);
	loop_watch_used(replica->dealer_watch);
	return sent;
}

static bool replica_send_control(struct replica *replica, Bus__Kind kind)
{
	Bus__Header header = BUS__HEADER__INIT;
	header.has_version = header.has_kind = 1;
	header.version = BUS_VERSION;
	header.kind = kind;
	return replica_send(replica, &header, BUS_NO_BODY);
}

static void replica_on_welcome(struct replica *replica, struct bus_message *message)
{
	struct client *client = replica->client;
	Bus__Welcome *welcome = (Bus__Welcome *)bus_body(message, &bus__welcome__descriptor, client->scratch);
	if (!welcome || !welcome->process || strcmp(welcome->process, replica->peer->process->name) != 0) {
		log_event(LOG_WARN, "another process answers at a peer's address", "address", replica->address, NULL);
		return;
	}
	replica->max_in_flight = welcome->max_in_flight ? welcome->max_in_flight : 64;
	replica_set_state(replica, welcome->draining ? REPLICA_DRAINING : REPLICA_UP);
}

static void replica_on_message(struct replica *replica, struct bus_message *message)
{
	struct client *client = replica->client;
	arena_reset(client->scratch);
	Bus__Header *header = bus_header(message, client->scratch);
	if (!header)
		return;
	replica->heard_us = clock_monotonic_us();
	replica->pinged_us = 0;
	if (replica->state == REPLICA_SUSPECT)
		replica_set_state(replica, REPLICA_UP);
	switch (header->kind) {
	case BUS__KIND__KIND_REPLY:
		client->events->on_reply(client, replica, header, message);
		break;
	case BUS__KIND__KIND_WELCOME:
		replica_on_welcome(replica, message);
		break;
	case BUS__KIND__KIND_GOAWAY:
		replica_set_state(replica, REPLICA_DRAINING);
		break;
	default:
		break; /* PONG: being heard was the point */
	}
}

static bool replica_readable(void *arg)
{
	struct replica *replica = arg;
	for (bool any = false;; any = true) {
		struct bus_message message;
		if (replica->broken)
			return any;
		enum status status = bus_receive(replica->dealer, false, &message);
		if (status == ST_NOT_FOUND)
			return any;
		if (status != ST_OK) {
			replica->broken = true;
			continue;
		}
		replica_on_message(replica, &message);
		bus_message_close(&message);
	}
}

static void replica_on_connected(struct replica *replica)
{
	replica->connected = true;
	replica->heard_us = clock_monotonic_us();
	replica->pinged_us = 0;
	replica_send_control(replica, BUS__KIND__KIND_HELLO);
}

static void replica_on_disconnected(struct replica *replica)
{
	replica->connected = false;
	replica_set_state(replica, REPLICA_CONNECTING);
	replica->client->events->on_lost(replica->client, replica);
	replica->outstanding = 0;
}

static bool replica_monitor_readable(void *arg)
{
	struct replica *replica = arg;
	for (bool any = false;; any = true) {
		uint8_t data[6];
		char address[256];
		int got = zmq_recv(replica->monitor, data, sizeof(data), ZMQ_DONTWAIT);
		if (got < 0)
			return any;
		(void)zmq_recv(replica->monitor, address, sizeof(address), ZMQ_DONTWAIT);
		uint16_t event;
		memcpy(&event, data, sizeof(event));
		if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
			replica_on_connected(replica);
		else if (event == ZMQ_EVENT_DISCONNECTED)
			replica_on_disconnected(replica);
		else
			metric_add(
			    metric_counter("denizen_bus_handshake_failures_total", "", "Refused bus connections"), 1);
	}
}

/* ---- opening and closing ---- */

static void replica_open(struct replica *replica)
{
	struct client *client = replica->client;
	static unsigned serial;
	char name[64];
	snprintf(name, sizeof(name), "inproc://monitor-%u", ++serial);
	replica->dealer = zmq_socket(loop_zmq_context(client->loop), ZMQ_DEALER);
	bus_socket_prepare(replica->dealer, 0);
	int one = 1;
	zmq_setsockopt(replica->dealer, ZMQ_IMMEDIATE, &one, sizeof(one));
	if (client->curve)
		bus_socket_curve_client(replica->dealer, client->curve_public, client->curve_secret,
		                        replica->peer->server_key);
	zmq_socket_monitor(replica->dealer, name,
	                   ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED |
	                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
	replica->monitor = zmq_socket(loop_zmq_context(client->loop), ZMQ_PAIR);
	int zero = 0;
	zmq_setsockopt(replica->monitor, ZMQ_LINGER, &zero, sizeof(zero));
	zmq_connect(replica->monitor, name);
	replica->monitor_watch = loop_watch_socket(client->loop, replica->monitor, replica_monitor_readable, replica);
	replica->dealer_watch = loop_watch_socket(client->loop, replica->dealer, replica_readable, replica);
	if (zmq_connect(replica->dealer, replica->address) != 0)
		log_event(LOG_ERROR, "cannot connect", "address", replica->address, NULL);
	replica->heard_us = clock_monotonic_us();
	replica->broken = false;
}

static void replica_close(struct replica *replica)
{
	struct client *client = replica->client;
	replica_on_disconnected(replica);
	loop_unwatch(client->loop, &replica->dealer_watch);
	loop_unwatch(client->loop, &replica->monitor_watch);
	zmq_socket_monitor(replica->dealer, NULL, 0);
	zmq_close(replica->monitor);
	zmq_close(replica->dealer);
}

/* Connects or disconnects all subscriptions to a peer. */
static void subscriptions_change(struct peer *peer, int (*change)(void *socket, const char *address),
                                 const char *address)
{
	for (unsigned i = 0; i < peer->client->subscription_count; i++) {
		struct subscription *subscription = &peer->client->subscriptions[i];
		if (subscription->peer != peer)
			continue;
		change(subscription->socket, address);
		loop_watch_used(subscription->watch);
	}
}

static void replica_remove(struct peer *peer, unsigned index)
{
	struct replica *replica = peer->replicas[index];
	replica_close(replica);
	subscriptions_change(peer, zmq_disconnect, replica->pub_address);
	log_event(LOG_INFO, "replica left", "peer", peer->process->name, "address", replica->address, NULL);
	/* Calls keep the pointer of the replica they avoid: forget it there. */
	for (struct pending *pending = peer->client->active; pending; pending = pending->next) {
		if (pending->replica == replica)
			pending->replica = NULL;
	}
	free(replica);
	peer->replicas[index] = peer->replicas[--peer->replica_count];
}

/* ---- ticks ---- */

static void replica_tick(struct replica *replica, int64_t now_us)
{
	int64_t silent_us = now_us - replica->heard_us;
	if (replica->broken) {
		log_event(LOG_WARN, "replica sends what is no message: connecting anew", "address", replica->address,
		          NULL);
		replica_close(replica);
		replica_open(replica);
		return;
	}
	if (!replica->connected) {
		replica->heard_us = now_us;
		return;
	}
	if (replica->state == REPLICA_CONNECTING || replica->state == REPLICA_DRAINING)
		replica_send_control(replica, BUS__KIND__KIND_HELLO);
	if (silent_us > RECONNECT_AFTER_US) {
		log_event(LOG_WARN, "replica is silent: connecting anew", "address", replica->address, NULL);
		replica_close(replica);
		replica_open(replica);
		return;
	}
	if (silent_us > SUSPECT_AFTER_US && replica->state == REPLICA_UP) {
		replica_set_state(replica, REPLICA_SUSPECT);
		replica->client->events->on_lost(replica->client, replica);
	}
	if (silent_us > PING_AFTER_US && now_us - replica->pinged_us > PING_AFTER_US) {
		replica->pinged_us = now_us;
		replica_send_control(replica, BUS__KIND__KIND_PING);
	}
}

/* ---- discovery ---- */

static void replica_add(struct peer *peer, const char *address, const char *pub_address)
{
	struct replica *replica = calloc(1, sizeof(*replica));
	if (!replica)
		abort();
	replica->client = peer->client;
	replica->peer = peer;
	snprintf(replica->address, sizeof(replica->address), "%s", address);
	snprintf(replica->pub_address, sizeof(replica->pub_address), "%s", pub_address);
	peer->replicas[peer->replica_count++] = replica;
	replica_open(replica);
	subscriptions_change(peer, zmq_connect, pub_address);
}

/* A replica is, or still is, at this endpoint, whose host is an address now. */
static void peer_found(struct peer *peer, const struct endpoint *endpoint)
{
	char address[ENDPOINT_ADDRESS_SIZE], pub_address[ENDPOINT_ADDRESS_SIZE];
	endpoint_address(endpoint, false, address);
	endpoint_address(endpoint, true, pub_address);
	for (unsigned i = 0; i < peer->replica_count; i++) {
		if (strcmp(peer->replicas[i]->address, address) == 0) {
			peer->replicas[i]->leaving = false;
			return;
		}
	}
	if (peer->replica_count < REPLICAS_MAX)
		replica_add(peer, address, pub_address);
}

/* Makes the replicas of a peer those that were found. Where a name was not answered for, what is connected stays: a DNS outage is no
 * service outage. */
static void peer_on_resolved(void *arg, const struct resolved *resolved)
{
	struct peer *peer = arg;
	peer->asking = false;
	for (unsigned i = 0; i < peer->replica_count; i++)
		peer->replicas[i]->leaving = resolved->whole || (resolved->count > 0 && !peer->replicas[i]->connected);
	for (unsigned i = 0; i < peer->endpoint_count; i++) {
		if (peer->endpoints[i].local)
			peer_found(peer, &peer->endpoints[i]);
	}
	for (unsigned n = 0; n < resolved->count; n++) {
		struct endpoint endpoint = peer->endpoints[peer->asked[resolved->found[n].name]];
		snprintf(endpoint.host, sizeof(endpoint.host), "%s", resolved->found[n].text);
		peer_found(peer, &endpoint);
	}
}

static void peer_ask(struct peer *peer, int64_t now_us)
{
	const char *names[ENDPOINTS_MAX];
	unsigned count = 0;
	for (unsigned i = 0; i < peer->endpoint_count; i++) {
		if (peer->endpoints[i].local)
			continue;
		peer->asked[count] = i;
		names[count++] = peer->endpoints[i].host;
	}
	peer->ask_at_us = now_us + RESOLVE_US + now_us % RESOLVE_SPREAD_US;
	if (count > 0)
		peer->asking = resolver_ask(peer->client->resolver, names, count, peer_on_resolved, peer);
	else
		peer_on_resolved(peer, &(struct resolved){.whole = true});
}

/* ---- ticks and life ---- */

static void client_tick(void *arg)
{
	struct client *client = arg;
	int64_t now_us = clock_monotonic_us();
	for (unsigned p = 0; p < 8; p++) {
		struct peer *peer = &client->peers[p];
		for (unsigned i = peer->replica_count; i-- > 0;) {
			struct replica *replica = peer->replicas[i];
			if (replica->leaving && (replica->outstanding == 0 || !replica->connected))
				replica_remove(peer, i);
			else
				replica_tick(replica, now_us);
		}
		if (peer->endpoint_count > 0 && !peer->asking && (now_us >= peer->ask_at_us || peer->up == 0))
			peer_ask(peer, now_us);
	}
	loop_timer_set(client->tick, now_us + TICK_US);
}

void replica_start(struct client *client)
{
	int64_t now_us = clock_monotonic_us();
	client->tick = loop_timer_new(client->loop, client_tick, client);
	client->resolver = resolver_new(client->loop);
	for (unsigned p = 0; p < 8; p++) {
		if (client->peers[p].endpoint_count > 0)
			peer_ask(&client->peers[p], now_us);
	}
	loop_timer_set(client->tick, now_us + TICK_US);
}

void replica_stop(struct client *client)
{
	resolver_free(&client->resolver);
	for (unsigned p = 0; p < 8; p++) {
		while (client->peers[p].replica_count > 0)
			replica_remove(&client->peers[p], 0);
	}
	for (unsigned i = 0; i < client->subscription_count; i++) {
		loop_unwatch(client->loop, &client->subscriptions[i].watch);
		zmq_close(client->subscriptions[i].socket);
	}
	loop_timer_free(&client->tick);
}

/* ---- subscriptions ---- */

static bool subscription_readable(void *arg)
{
	struct subscription *subscription = arg;
	zmq_msg_t frame;
	bool any = false;
	zmq_msg_init(&frame);
	while (zmq_msg_recv(&frame, subscription->socket, ZMQ_DONTWAIT) >= 0) {
		size_t len = zmq_msg_size(&frame);
		if (len >= BUS_TOPIC_BYTES)
			subscription->fn(subscription->arg, (uint8_t *)zmq_msg_data(&frame) + BUS_TOPIC_BYTES,
			                 len - BUS_TOPIC_BYTES);
		any = true;
	}
	zmq_msg_close(&frame);
	return any;
}

void replica_subscribe(struct subscription *subscription)
{
	struct client *client = subscription->client;
	subscription->watch =
	    loop_watch_socket(client->loop, subscription->socket, subscription_readable, subscription);
	for (unsigned i = 0; i < subscription->peer->replica_count; i++)
		zmq_connect(subscription->socket, subscription->peer->replicas[i]->pub_address);
}
