/* The schema `claims`: custom claims, signing keys, position in the ledger. One function per statement. */
#pragma once

#include "keyring.h"
#include "process/process.h"

/* Where a statement runs, where its results live, and until when it may take. */
struct store {
	struct db *db;
	struct arena *arena;
	int64_t deadline_us; /* monotonic; 0 = the gate's default */
};

/* All functions give the statuses of db_run, and those that they name. Results are in the arena. */

/* ---- custom claims ---- */
struct claims_row {
	const char *document; /* compact JSON object; "{}" without a row */
	int64_t version;      /* 0 without a row */
	int64_t updated_at_us;
};
MUST_USE enum status store_read_claims(const struct store *store, const struct id *project, const struct id *user,
                                       struct claims_row *ret_row);

/* Stores `row` as the successor of version row->version - 1, with its event and operation. ST_ABORTED when that version is
 * no longer the current one, or the user was deleted. */
struct claims_write {
	struct id project, user;
	struct claims_row row;
	struct operation operation;
	struct packed event;
};
MUST_USE enum status store_write_claims(const struct store *store, const struct claims_write *write);

/* Remembers the answer to a write that changed nothing: its repetition is answered, and not done after somebody's change.
 * ST_ALREADY_EXISTS when it was done before. */
MUST_USE enum status store_note_operation(const struct store *store, const struct id *project,
                                          const struct operation *operation);

/* What a token needs, in one read: the project's signing key and the user's claims. ST_NOT_FOUND: no key yet. */
struct mint_row {
	struct sealed_key key;
	const char *document; /* NULL = none */
};
MUST_USE enum status store_read_mint(const struct store *store, const struct id *project, const struct id *user,
                                     struct mint_row *ret_row);

/* ---- signing keys ---- */
struct key_row {
	const char *kid, *algorithm, *state;
	uint8_t x[JWT_COORDINATE_SIZE], y[JWT_COORDINATE_SIZE];
	int64_t created_at_us;
	bool retires;
	int64_t retires_at_us;
};
/* The published keys at now_us: the one that signs, the next one, then those that still verify, newest first. */
MUST_USE enum status store_list_keys(const struct store *store, const struct id *project, int64_t now_us,
                                     struct key_row **ret_keys, size_t *ret_count);

/* Makes keys[0] the project's active key unless it has one, and keys[1] its next key unless it has one; either way it has both
 * afterwards. */
MUST_USE enum status store_create_keys(const struct store *store, const struct id *project,
                                       const struct sealed_key keys[2], int64_t now_us);

/* The next key signs from now on and `key` becomes the next one; the active one verifies until retires_at_us and loses its private
 * part; keys whose time is over are removed. ST_ABORTED when the keys are not those that were named, as after another's change. */
struct key_change {
	struct id project;
	const char *next_kid, *active_kid;
	struct sealed_key key;
	int64_t now_us, retires_at_us;
	struct operation operation;
	struct packed event;
};
MUST_USE enum status store_replace_key(const struct store *store, const struct key_change *change);

/* ---- the ledger ---- */
MUST_USE enum status store_load_claims_position(const struct store *store, int64_t *ret_position);

/* Drops the claims of deleted users and moves the position to `next` in one statement; nothing happens when another
 * replica was there already. */
struct dropped_users {
	struct id *projects, *users; /* pairs */
	size_t count;
	int64_t at_us;
};
MUST_USE enum status store_drop_users(const struct store *store, const struct dropped_users *dropped, int64_t next);

/* Forgets that users were deleted before before_us. */
MUST_USE enum status store_purge_dropped(const struct store *store, int64_t before_us);
