/* The relay: moves committed outbox rows of this service to the ledger (audit.Append), oldest first, at least once.
 *
 * Every service schema has
 *   outbox(id bigint generated always as identity primary key, project_id uuid not null, event bytea not null, revokes boolean not null)
 *   relay_lease(name text primary key, holder uuid, epoch bigint not null, expires_at timestamptz)
 *   operation(project_id uuid, operation_id uuid, method int4, request_hash bytea, reply bytea, at_us int8,
 *             primary key (project_id, operation_id))
 * created by common/ledger/schema, which each service's migrations repeat.
 * One leader per schema, fenced by relay_lease; any replica may take over when the lease has run out. A replica that does not lead
 * nudges the leader through audit: an Append without items, which audit publishes under outbox_topic(). */
#pragma once

#include "bus/client.h"
#include "common.pb-c.h"
#include "db/db.h"
#include "loop/loop.h"

#define OUTBOX_TOPIC_SIZE 16

struct outbox;

/* Starts the relay as a fiber of the loop (posted; call before loop_run). source: process name. */
struct outbox *outbox_start(struct loop *loop, struct db *db, struct client *client, const char *source);
void outbox_poke(struct outbox *outbox); /* rows were committed; any thread */
/* The topic of nudges to the relay of a source: "outbox:" and its name, filled up with NUL. */
void outbox_topic(const char *source, uint8_t ret_topic[OUTBOX_TOPIC_SIZE]);
void outbox_stop(struct outbox *outbox); /* gives the lease back; loop's thread or a fiber */
void outbox_free(struct outbox **outbox);

/* What waits in the schema's outbox and takes access away, as the database has it at a moment after the call began; strings of the reply lie in the
 * arena. reply->complete is false when more waits than one reply holds. Statuses of db_run. In a fiber. */
MUST_USE enum status outbox_read_waiting(struct db *db, struct arena *arena, int64_t deadline_us,
                                         Common__ReadOutboxReply *reply);

/* For tests: replaces client_send. Before loop_run. */
typedef enum status (*outbox_send_fn)(struct client *client, struct client_call *call, uint32_t method,
                                      const ProtobufCMessage *request, struct arena *arena,
                                      ProtobufCMessage **ret_reply);
void outbox_set_sender(struct outbox *outbox, outbox_send_fn send);
