/* Messages on the bus: socket options, two frames in and out. Used by client.c and service.c only. */
#pragma once

#include "arena.h"
#include "envelope.pb-c.h"
#include "status.h"

#include <stdbool.h>
#include <zmq.h>

#define BUS_VERSION 1
#define BUS_MESSAGE_MAX_BYTES (4 * 1024 * 1024)

/* The options that every bus socket needs: linger, high-water marks, size limit, heartbeats, reconnects. */
void bus_socket_prepare(void *socket, int linger_ms);
/* CURVE as server (server_secret) or as client (own pair and the server's public key); Z85 texts. */
void bus_socket_curve_server(void *socket, const char *secret);
void bus_socket_curve_client(void *socket, const char *own_public, const char *own_secret, const char *server_public);

/* One received message. Close with bus_message_close. */
struct bus_message {
	zmq_msg_t route; /* routing id, ROUTER only */
	zmq_msg_t head;
	zmq_msg_t body; /* empty for control messages */
	bool has_route;
};
/* Receives the next message without waiting. Extra frames are read and dropped, and the message refused.
 * ST_NOT_FOUND: nothing there; ST_MALFORMED_REQUEST: not a bus message, skip it; nothing to close in both cases. */
MUST_USE enum status bus_receive(void *socket, bool router, struct bus_message *ret_message);
void bus_message_close(struct bus_message *message);

/* Header of a received message, in the arena. NULL when it is not one of our version. */
Bus__Header *bus_header(struct bus_message *message, struct arena *arena);

/* Sends [route][header][body] without waiting. Takes *body (NULL = control message without body) in any case.
 * route NULL on a DEALER; it is copied. False when the peer is gone or its pipe is full. */
bool bus_send(void *socket, zmq_msg_t *route, const Bus__Header *header, zmq_msg_t *body);

/* Packs a protobuf message into a new ZeroMQ message. False without memory or above BUS_MESSAGE_MAX_BYTES. */
bool bus_body(const ProtobufCMessage *message, zmq_msg_t *ret_body);
