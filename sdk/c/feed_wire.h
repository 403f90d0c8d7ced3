/* The feed's messages: bus envelope (proto/envelope.proto) and audit.ReadEvents, to and from plain structs. */
#pragma once

#include "audit.pb-c.h"
#include "bus/bus_frame.h"
#include "denizen_feed.h"
#include "envelope.pb-c.h"

#include <stdbool.h>

#define FEED_TOPIC_BYTES BUS_TOPIC_BYTES

/* Reads prj_ + 26 characters base32 (TypeID). False when malformed. */
bool feed_parse_project(const char *text, uint8_t ret_bytes[FEED_TOPIC_BYTES]);

/* One frame to send; free(data). data NULL without memory. */
struct feed_frame {
	uint8_t *data;
	size_t len;
};

struct feed_ask {
	uint64_t call_id;
	unsigned timeout_ms;
	int64_t after;
	unsigned limit;
	const char *project_id; /* NULL = the key's */
};
/* The whole request. */
struct feed_frame feed_pack_request(const struct feed_ask *ask);

/* A received reply; the header is freed with bus__header__free_unpacked. False when it is none. */
struct feed_reply {
	Bus__Header *header;
	const uint8_t *body; /* inside the frame */
	size_t body_len;
};
bool feed_read_reply(const uint8_t *frame, size_t len, struct feed_reply *ret_reply);

/* The newest seq that a received hint tells of. False when it is none. */
bool feed_read_hint(const uint8_t *frame, size_t len, int64_t *ret_seq);

/* A batch of events made from a reply; free with feed_events_free. False without memory. */
struct feed_events {
	struct denizen_feed_event *events;
	struct denizen_feed_change *changes;
	int64_t *seqs;
	size_t count;
};
bool feed_events_new(const Audit__ReadEventsReply *reply, struct feed_events *ret_events);
void feed_events_free(struct feed_events *events);
