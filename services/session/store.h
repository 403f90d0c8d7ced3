/* The session service's SQL: one function per statement. Rows and strings read live in the arena of `struct store`.
 *
 * Statuses of all functions are those of db_run; a lost race is no error but a false result. Fibers and threads. */
#pragma once

#include "base/arena.h"
#include "base/secret.h"
#include "db/db.h"
#include "process/process.h"
#include "refresh.h"
#include "rules.h"
#include "throttle.h"

/* Where and for whom a statement runs. */
struct store {
	struct db *db;
	struct arena *arena;
	int64_t deadline_us; /* monotonic; 0 = 5 s */
	struct id project;
};

/* ---- sessions ---- */
struct session_row {
	struct id id, user;
	int64_t epoch;
	uint32_t generation;
	uint8_t current_hash[SHA256_SIZE];
	uint8_t previous_hash[SHA256_SIZE];
	bool has_previous;
	uint8_t salt[REFRESH_SALT_SIZE];
	uint8_t request_mac[SHA256_SIZE];
	int64_t rotated_at_us, created_at_us, last_used_at_us, expires_at_us, dies_at_us;
	int64_t ended_at_us;    /* 0 = not ended */
	const char *method;     /* "password" */
	const char *ip_address; /* NULL = not told */
	const char *user_agent; /* NULL = not told */
};
/* ST_NOT_FOUND when there is no row; ended and expired rows are returned. */
MUST_USE enum status store_read_session(const struct store *store, const struct id *session,
                                        struct session_row *ret_row);

/* Inserts the session with its event, remembers the network, forgets the failures from there and gives the place back. *ret_created is false when a
 * session with this id exists; nothing was changed then. */
MUST_USE enum status store_create_session(const struct store *store, const struct session_row *row,
                                          const struct throttle_place *place, const struct packed *event,
                                          bool *ret_created);

/* The one conditional update of a rotation: only while `presented_hash` is current, the session lives and has the epoch. */
struct store_rotation {
	struct id session;
	uint8_t presented_hash[SHA256_SIZE];
	uint8_t next_hash[SHA256_SIZE];
	uint8_t salt[REFRESH_SALT_SIZE];
	int64_t epoch;
	int64_t now_us;
	int64_t expires_at_us;
};
MUST_USE enum status store_rotate_token(const struct store *store, const struct store_rotation *rotation,
                                        bool *ret_rotated);

/* Ends a session that has not ended; event goes to the outbox in the same statement. */
struct store_ending {
	struct id session;
	int64_t now_us;
	const char *reason;
	struct packed event;
	const struct operation *operation; /* NULL: the call is not a request to end it */
};
MUST_USE enum status store_end_session(const struct store *store, const struct store_ending *ending, bool *ret_ended);
/* As store_end_session, but only while the hash is neither current nor the predecessor within the replay window. */
MUST_USE enum status store_end_reused(const struct store *store, const struct store_ending *ending,
                                      const uint8_t presented_hash[SHA256_SIZE], bool *ret_ended);
/* Ends a user's sessions older than the epoch, and records the operation even when there was none. */
MUST_USE enum status store_end_user(const struct store *store, const struct id *user, int64_t epoch,
                                    const struct store_ending *ending, int64_t *ret_ended);

/* A user's live sessions, newest first. */
struct store_list {
	struct id user;
	int64_t now_us;
	int64_t
	    before_at_us; /* sessions older than (before_at_us, before); INT64_MAX and a full id = from the newest */
	struct id before;
	uint32_t limit;
};
MUST_USE enum status store_list_sessions(const struct store *store, const struct store_list *list,
                                         struct session_row **ret_rows, size_t *ret_count, int64_t *ret_total);

/* ---- following the ledger ---- */
MUST_USE enum status store_load_users_position(const struct store *store, int64_t *ret_position);
/* Ends the sessions older than each user's epoch and moves the position to `next`, never back. Doing it twice is harmless. */
struct store_revocation {
	struct id project, user;
	int64_t epoch;
};
MUST_USE enum status store_apply_revocations(const struct store *store, const struct store_revocation *revocations,
                                             size_t count, int64_t next, int64_t now_us);

/* ---- house-keeping ---- */
/* Removes at most 1000 rows of each kind that count for nothing; *ret_more: call again. */
MUST_USE enum status store_purge_sessions(const struct store *store, bool *ret_more);
