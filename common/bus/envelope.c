/* Messages on the bus: socket options, the frame and its two parts. */
#include "bus/envelope.h"

#include "base/secret.h"
#include "bus/bus_frame.h"

#include <stdlib.h>
#include <string.h>

#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93 /* behind ZMQ_BUILD_DRAFT_API in zmq.h 4.3.4, but in the library */
#endif

#define BUS_BODY_MAX_BYTES (BUS_MESSAGE_MAX_BYTES - 4096) /* leaves room for the header */

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
	/* Without a limit: ZeroMQ ends the process when the connection of a full queue breaks and a heartbeat comes before the queue
	 * is read. What waits is bounded by the calls in progress, and by how long the loop may stand still. */
	option_int(socket, ZMQ_RCVHWM, 0);
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

void bus_message_init(struct bus_message *message)
{
	zmq_msg_init(&message->route);
	zmq_msg_init(&message->frame);
	message->head_at = message->body_at = 0;
}

enum status bus_receive(void *socket, bool router, struct bus_message *ret_message)
{
	bus_message_init(ret_message);
	enum status status = ST_NOT_FOUND;
	if (zmq_msg_recv(router ? &ret_message->route : &ret_message->frame, socket, ZMQ_DONTWAIT) < 0)
		goto out;
	status = ST_MALFORMED_REQUEST;
	if (router &&
	    (!zmq_msg_more(&ret_message->route) || zmq_msg_recv(&ret_message->frame, socket, ZMQ_DONTWAIT) < 0))
		goto out;
	bool more = zmq_msg_more(&ret_message->frame);
	if (more && router)
		frames_skip(socket);
	if (!more && bus_frame_split(zmq_msg_data(&ret_message->frame), zmq_msg_size(&ret_message->frame),
	                             &ret_message->head_at, &ret_message->body_at))
		status = ST_OK;
out:
	if (status != ST_OK)
		bus_message_close(ret_message);
	return status;
}

void bus_message_move(struct bus_message *to, struct bus_message *from)
{
	zmq_msg_move(&to->route, &from->route);
	zmq_msg_move(&to->frame, &from->frame);
	to->head_at = from->head_at;
	to->body_at = from->body_at;
	from->head_at = from->body_at = 0;
}

void bus_message_close(struct bus_message *message)
{
	secret_wipe(zmq_msg_data(&message->frame),
	            zmq_msg_size(&message->frame)); /* passwords and tokens travel here */
	zmq_msg_close(&message->route);
	zmq_msg_close(&message->frame);
}

Bus__Header *bus_header(struct bus_message *message, struct arena *arena)
{
	const uint8_t *data = zmq_msg_data(&message->frame);
	Bus__Header *header =
	    bus__header__unpack(arena_protobuf(arena), message->body_at - message->head_at, data + message->head_at);
	return header && header->version == BUS_VERSION && header->has_kind ? header : NULL;
}

ProtobufCMessage *bus_body(struct bus_message *message, const ProtobufCMessageDescriptor *type, struct arena *arena)
{
	const uint8_t *data = zmq_msg_data(&message->frame);
	return protobuf_c_message_unpack(type, arena_protobuf(arena), zmq_msg_size(&message->frame) - message->body_at,
	                                 data + message->body_at);
}

struct bus_packed bus_pack(const ProtobufCMessage *message, struct arena *arena)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *data = len <= BUS_BODY_MAX_BYTES ? arena_alloc(arena, len ? len : 1) : NULL;
	if (!data)
		return BUS_NO_BODY;
	protobuf_c_message_pack(message, data);
	return (struct bus_packed){data, len};
}

static bool frame_send(void *socket, zmq_msg_t *frame, int flags)
{
	if (zmq_msg_send(frame, socket, flags | ZMQ_DONTWAIT) >= 0)
		return true;
	zmq_msg_close(frame);
	return false;
}

bool bus_send(void *socket, zmq_msg_t *route, const Bus__Header *header, struct bus_packed body)
{
	zmq_msg_t frame, to;
	uint8_t prefix[BUS_FRAME_PREFIX_MAX];
	size_t head_len = bus__header__get_packed_size(header), prefix_len = bus_frame_prefix(head_len, prefix);
	if (prefix_len == 0 || zmq_msg_init_size(&frame, prefix_len + head_len + body.len) != 0)
		return false;
	uint8_t *data = zmq_msg_data(&frame);
	memcpy(data, prefix, prefix_len);
	bus__header__pack(header, data + prefix_len);
	if (body.len > 0)
		memcpy(data + prefix_len + head_len, body.data, body.len);
	if (!route)
		return frame_send(socket, &frame, 0);
	zmq_msg_init(&to);
	if (zmq_msg_copy(&to, route) == 0 && frame_send(socket, &to, ZMQ_SNDMORE))
		return frame_send(socket, &frame, 0);
	zmq_msg_close(&frame);
	return false;
}
