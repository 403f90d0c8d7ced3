/* Messages on the bus: socket options, one frame (bus_frame.h) in and out. Used by client.c and service.c only.
 * One frame, because each frame is a box of CURVE and a message of its own inside ZeroMQ. */
#pragma once

#include "base/arena.h"
#include "base/status.h"
#include "envelope.pb-c.h"

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
	zmq_msg_t route; /* routing id; empty unless it came from a ROUTER */
	zmq_msg_t frame;
	size_t head_at, body_at; /* where they begin in frame; the body is empty in control messages */
};
void bus_message_init(struct bus_message *message);
/* Receives the next message without waiting. ST_NOT_FOUND: nothing there; ST_MALFORMED_REQUEST: not a bus message; nothing to close
 * in both cases. A ROUTER is read on: extra frames were dropped. A DEALER that gave a malformed message must be closed and not be
 * read again: ZeroMQ ends the process when a connection with IMMEDIATE breaks between two frames of a message. */
MUST_USE enum status bus_receive(void *socket, bool router, struct bus_message *ret_message);
/* Into an initialised message; from is initialised and empty afterwards. */
void bus_message_move(struct bus_message *to, struct bus_message *from);
void bus_message_close(struct bus_message *message);

/* Header of a received message, in the arena. NULL when it is not one of our version. */
Bus__Header *bus_header(struct bus_message *message, struct arena *arena);
/* The body as a message of that type, in the arena. NULL when it is none. */
ProtobufCMessage *bus_body(struct bus_message *message, const ProtobufCMessageDescriptor *type, struct arena *arena);

/* A packed body in an arena; data NULL without memory or above BUS_MESSAGE_MAX_BYTES. */
struct bus_packed {
	const void *data;
	size_t len;
};
struct bus_packed bus_pack(const ProtobufCMessage *message, struct arena *arena);
#define BUS_NO_BODY ((struct bus_packed){NULL, 0})

/* Sends a frame without waiting. route NULL on a DEALER; it is copied. body: BUS_NO_BODY = none.
 * False when the peer is gone, its pipe is full, or without memory. */
bool bus_send(void *socket, zmq_msg_t *route, const Bus__Header *header, struct bus_packed body);
