/* The feed's two sockets: a DEALER to one replica of audit at a time, a SUB to all of them. One thread only. */
#pragma once

#include "feed_wire.h"

#include <czmq.h>

struct feed_link;

/* endpoints as in denizen_feed_options; secret is copied. NULL when an endpoint or a key is malformed. */
struct feed_link *feed_link_new(const char *endpoints, const char *server_key, const char *public_key,
                                const char *secret_key);
void feed_link_free(struct feed_link **link);

/* Subscribes to the hints of a project, now and after each reconnect. */
void feed_link_set_topic(struct feed_link *link, const uint8_t topic[FEED_TOPIC_BYTES]);

/* Resolves the endpoints' names and connects; keeps what is connected and still valid. False when no name resolves. */
bool feed_link_refresh(struct feed_link *link);
/* Drops the DEALER; the next send goes to the next replica. */
void feed_link_rotate(struct feed_link *link);
/* Closes the sockets. */
void feed_link_close(struct feed_link *link);

/* Takes the frame. False when there is no connection or it is full. */
bool feed_link_send(struct feed_link *link, struct feed_frame frame);

/* Waits up to wait_ms. At most one of the results is set, to be destroyed by the caller. A message of several frames is none of
 * the ledger's: its socket is dropped unread until the next feed_link_rotate or feed_link_refresh. */
void feed_link_wait(struct feed_link *link, int wait_ms, zframe_t **ret_reply, zframe_t **ret_hint);

/* Address of the replica in use, "" when none. */
const char *feed_link_address(const struct feed_link *link);
