/* The session service: its state and its handlers. */
#pragma once

#include "base/metrics.h"
#include "claims.pb-c.h"
#include "identity.pb-c.h"
#include "process/process.h"
#include "refresh.h"
#include "rules.h"
#include "session.pb-c.h"
#include "session/rows.pb-c.h"
#include "session_handlers.gen.h"
#include "session_sql.gen.h"
#include "throttle.h"

extern const struct service session_service;

/* An array of bytes as a parameter. */
#define BLOB(bytes) ((struct db_blob){(bytes), sizeof(bytes)})

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
};

/* A row, ended or not, in the call's arena. ST_NOT_FOUND when there is none. */
MUST_USE enum status service_find_session(struct call *call, const struct id *session,
                                          Session__Rows__Session **ret_row);
/* Whether it has ended or expired. */
bool service_session_is_over(const Session__Rows__Session *row, int64_t now_us);
/* Whether a column holds this hash; in constant time. */
bool service_is_hash(ProtobufCBinaryData column, const uint8_t hash[SHA256_SIZE]);
/* Fills an initialised message. */
MUST_USE enum status service_show_session(struct call *call, const Session__Rows__Session *row,
                                          Session__Session *ret_session);

/* What the user of a session may do now, from identity. ST_NOT_FOUND when the user is gone. */
MUST_USE enum status service_authorize(struct call *call, const struct id *user, Identity__Authorization **ret_auth);
/* Signs an access token for a session of the authorized user; it does not outlive the session, which expires at
 * expires_at_us. */
MUST_USE enum status service_mint(struct call *call, const struct id *session, int64_t expires_at_us,
                                  const Identity__Authorization *auth, Claims__MintReply **ret_token);
/* Fills the reply of a sign-in or refresh. ST_RESOURCE_EXHAUSTED when the arena is full. */
MUST_USE enum status service_answer_tokens(struct call *call, const Session__Rows__Session *row,
                                           const struct refresh_token *token, const Claims__MintReply *access,
                                           Session__TokenReply *reply);

/* Runs a write that commits the event (NULL = none) with {outbox} and no operation, and tells the relay. For what the caller did not ask
 * for, and where a stored reply would hold tokens; other writes are changes (process/change.h). *ret_rows: as sql_run. */
MUST_USE enum status service_write(struct call *call, const struct db_stmt *stmt, const void *params,
                                   const struct packed *event, int64_t *ret_rows);

/* Fills an initialised event of a session but for its type. ST_RESOURCE_EXHAUSTED when the arena is full. */
MUST_USE enum status service_fill_event(struct call *call, const Session__Rows__Session *row, const char *reason,
                                        Events__Event *ret_event);
/* The same, packed; without data when the arena is full. */
struct packed service_session_event(struct call *call, Events__EventType type, const Session__Rows__Session *row,
                                    const char *reason);

/* Removes rows of each kind that count for nothing; *ret_more: call again. */
MUST_USE enum status service_purge(struct sql_scope *scope, bool *ret_more);

/* ---- follow_users.c ---- */
/* Ends the sessions older than each user's epoch and moves the position in the ledger to `next`, never back. Twice is harmless. */
struct service_revocation {
	struct id project, user;
	int64_t epoch;
};
MUST_USE enum status service_revoke(struct sql_scope *scope, const struct service_revocation *revocations, size_t count,
                                    int64_t next);
/* Ends sessions of users whose epoch moved, as the ledger tells. Call from service.start. */
MUST_USE enum status follow_users_start(struct process *run);
