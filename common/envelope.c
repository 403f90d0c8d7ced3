/* Messages on the bus: socket options, frames, the header. */
#include "envelope.h"

#include <stdlib.h>
#include <string.h>

#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93 /* behind ZMQ_BUILD_DRAFT_API in zmq.h 4.3.4, but in the library */
#endif

static void option_int(void *socket, int option, int value)
{
	if (zmq_setsockopt(socket, option, &value, sizeof(value)) != 0)
		abort(); /* an option that this library version refuses is our bug */
}

void bus_socket_prepare(void *socket, int linger_ms)
{
	int64_t max_bytes = BUS_MESSAGE_MAX_BYTES;
	if (!socket || zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max_bytes, sizeof(max_bytes)) != 0)
		abort();
	option_int(socket, ZMQ_LINGER, linger_ms);
	option_int(socket, ZMQ_SNDHWM, 10000);
	option_int(socket, ZMQ_RCVHWM, 10000);
	option_int(socket, ZMQ_HEARTBEAT_IVL, 500);
	option_int(socket, ZMQ_HEARTBEAT_TIMEOUT, 1500);
	option_int(socket, ZMQ_RECONNECT_IVL, 20);
	option_int(socket, ZMQ_RECONNECT_IVL_MAX, 500);
	option_int(socket, ZMQ_CONNECT_TIMEOUT, 1000);
	option_int(socket, ZMQ_HANDSHAKE_IVL, 5000);
	option_int(socket, ZMQ_TCP_KEEPALIVE, 1);
	option_int(socket, ZMQ_IPV6, 1);
}

static void option_text(void *socket, int option, const char *text)
{
	if (zmq_setsockopt(socket, option, text, strlen(text) + 1) != 0)
		abort();
}

void bus_socket_curve_server(void *socket, const char *secret)
{
	option_int(socket, ZMQ_CURVE_SERVER, 1);
	option_text(socket, ZMQ_CURVE_SECRETKEY, secret);
	if (zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, "denizen", 7) != 0)
		abort();
	option_int(socket, ZMQ_ZAP_ENFORCE_DOMAIN, 1);
}

void bus_socket_curve_client(void *socket, const char *own_public, const char *own_secret, const char *server_public)
{
	option_text(socket, ZMQ_CURVE_PUBLICKEY, own_public);
	option_text(socket, ZMQ_CURVE_SECRETKEY, own_secret);
	option_text(socket, ZMQ_CURVE_SERVERKEY, server_public);
}

/* Reads and drops what is left of a message. */
static void frames_skip(void *socket)
{
	int more = 1;
	size_t size = sizeof(more);
	while (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) == 0 && more) {
		zmq_msg_t frame;
		zmq_msg_init(&frame);
		if (zmq_msg_recv(&frame, socket, ZMQ_DONTWAIT) < 0)
			more = 0;
		zmq_msg_close(&frame);
		if (!more)
			return;
	}
}

enum status bus_receive(void *socket, bool router, struct bus_message *ret_message)
{
	struct bus_message message = {.has_route = router};
	zmq_msg_init(&message.route);
	zmq_msg_init(&message.head);
	zmq_msg_init(&message.body);
	zmq_msg_t *first = router ? &message.route : &message.head;
	enum status status = ST_NOT_FOUND;
	if (zmq_msg_recv(first, socket, ZMQ_DONTWAIT) < 0)
		goto out;
	status = ST_MALFORMED_REQUEST;
	if (router && (!zmq_msg_more(&message.route) || zmq_msg_recv(&message.head, socket, ZMQ_DONTWAIT) < 0))
		goto out;
	if (zmq_msg_more(&message.head) && zmq_msg_recv(&message.body, socket, ZMQ_DONTWAIT) < 0)
		goto out;
	if (zmq_msg_more(&message.body)) {
		frames_skip(socket);
		goto out;
	}
	status = ST_OK;
	*ret_message = message;
out:
	if (status != ST_OK)
		bus_message_close(&message);
	return status;
}

void bus_message_close(struct bus_message *message)
{
	zmq_msg_close(&message->route);
	zmq_msg_close(&message->head);
	zmq_msg_close(&message->body);
}

Bus__Header *bus_header(struct bus_message *message, struct arena *arena)
{
	Bus__Header *header =
	    bus__header__unpack(arena_protobuf(arena), zmq_msg_size(&message->head), zmq_msg_data(&message->head));
	return header && header->version == BUS_VERSION && header->has_kind ? header : NULL;
}

static bool frame_send(void *socket, zmq_msg_t *frame, int flags)
{
	if (zmq_msg_send(frame, socket, flags | ZMQ_DONTWAIT) >= 0)
		return true;
	zmq_msg_close(frame);
	return false;
}

bool bus_send(void *socket, zmq_msg_t *route, const Bus__Header *header, zmq_msg_t *body)
{
	zmq_msg_t frame;
	bool sent = false;
	if (route) {
		zmq_msg_init(&frame);
		if (zmq_msg_copy(&frame, route) != 0 || !frame_send(socket, &frame, ZMQ_SNDMORE))
			goto out;
	}
	if (zmq_msg_init_size(&frame, bus__header__get_packed_size(header)) != 0)
		goto out;
	bus__header__pack(header, zmq_msg_data(&frame));
	if (!frame_send(socket, &frame, body ? ZMQ_SNDMORE : 0))
		goto out;
	if (!body)
		return true;
	return frame_send(socket, body, 0);
out:
	if (body)
		zmq_msg_close(body);
	return sent;
}

bool bus_body(const ProtobufCMessage *message, zmq_msg_t *ret_body)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	if (size > BUS_MESSAGE_MAX_BYTES - 4096 || zmq_msg_init_size(ret_body, size) != 0)
		return false;
	protobuf_c_message_pack(message, zmq_msg_data(ret_body));
	return true;
}
