/* The session service: its state and its handlers. */
#pragma once

#include "base/metrics.h"
#include "claims.pb-c.h"
#include "identity.pb-c.h"
#include "process/process.h"
#include "refresh.h"
#include "rules.h"
#include "session.pb-c.h"
#include "session_handlers.gen.h"
#include "store.h"
#include "throttle.h"

extern const struct service session_service;

/* service_run.state; loop's thread only. */
struct session_state {
	/* call_peer; a test without a bus puts its own here. */
	enum status (*peer)(struct call *call, uint32_t method, const ProtobufCMessage *request,
	                    ProtobufCMessage **ret_reply);
	struct refresh_keys keys;
	int64_t idle_us, lifetime_us;
	struct rules_limits limits;
	struct metric *throttled, *failed, *reused;
	struct loop_timer *purge_timer;
	bool purging; /* its fiber runs */
	bool stopping;
};

/* One handler per rpc of proto/session.proto. */

/* How a handler's statements run: on the process's database, in the call's arena, until its deadline. */
struct store service_session_store(const struct call *call);

/* The wire form of a row, in the call's arena; NULL without memory. */
Session__Session *service_show_session(struct call *call, const struct session_row *row);

/* What a user may do now, from identity. ST_NOT_FOUND when the user is gone. */
MUST_USE enum status service_authorize(struct call *call, const struct id *user, Identity__Authorization **ret_auth);
/* Signs an access token for a session of the authorized user; it does not outlive the session, which expires at
 * expires_at_us. */
MUST_USE enum status service_mint(struct call *call, const struct id *session, int64_t expires_at_us,
                                  const Identity__Authorization *auth, Claims__MintReply **ret_token);
/* Fills the reply of a sign-in or refresh. ST_RESOURCE_EXHAUSTED when the arena is full. */
MUST_USE enum status service_answer_tokens(struct call *call, const struct session_row *row,
                                           const struct refresh_token *token, const Claims__MintReply *access,
                                           Session__TokenReply *reply);

/* Runs a write that commits the event (NULL = none) with {outbox} and no operation, and tells the relay. */
MUST_USE enum status service_write(struct call *call, const struct db_stmt *stmt, const void *params,
                                   const struct packed *event);

/* Packed event of a session; reason may be NULL. */
struct packed service_session_event(struct call *call, Events__EventType type, const struct session_row *row,
                                    const char *reason);

/* follow_users.c: ends sessions of users whose epoch moved, as the ledger tells. Call from service.start. */
MUST_USE enum status follow_users_start(struct process *run);
