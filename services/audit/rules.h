/* What makes an entry of the ledger: its columns, its hash, its place in the chain. No input or output. */
#pragma once

#include "audit/rows.pb-c.h"
#include "base/arena.h"
#include "base/secret.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define AUDIT_BATCH_MAX 500 /* items of one Append */
#define AUDIT_EVENT_MAX_BYTES                                                                                          \
	(128 * 1024)        /* packed events.Event; the largest, a user changed in all fields, has some 75,000 */
#define AUDIT_READ_MAX 1000 /* entries of one reply */
#define AUDIT_READ_MAX_BYTES (1024 * 1024) /* sum of events of one reply, about: one more may begin below it */
#define AUDIT_WAIT_MAX_SEC 30

/* Last number and hash of a project; seq 0 and a zero hash for a project without entries. */
struct head {
	struct id project;
	int64_t seq;
	uint8_t hash[SHA256_SIZE];
};

/* Takes a hash out of a row; zeros, with which nothing verifies, when somebody cut it. */
void rules_take_hash(ProtobufCBinaryData bytes, uint8_t ret_hash[SHA256_SIZE]);

/* Hash of an entry: SHA-256 over
 *   previous hash (32; zeros for seq 1) | layout 0x01 | project_id (16) | seq (8) | position (8) |
 *   length of source (4) | source | outbox_id (8) | length of event (4) | event
 * with all numbers big-endian. The other columns are copies out of the event. */
void rules_hash_entry(const uint8_t previous[SHA256_SIZE], const Audit__Rows__Entry *entry,
                      uint8_t ret_hash[SHA256_SIZE]);

/* Fills type, revokes, subject, user_id and at_us from entry->event; strings are in the arena. Not ST_OK: *ret_reason says why
 * (static): ST_INVALID_ARGUMENT for an event that is too large, cannot be read within the arena, or lacks type or time. */
MUST_USE enum status rules_describe_entry(Audit__Rows__Entry *entry, struct arena *arena, const char **ret_reason);

/* Walk along a project's chain. Start with a zeroed struct, or with the seq and hash of a trusted entry. */
struct chain {
	struct id project;
	int64_t seq;               /* last entry that was checked */
	uint8_t hash[SHA256_SIZE]; /* its hash */
	int64_t checked;           /* entries recomputed */
	int64_t first_bad;         /* 0 = none yet */
	const char *reason;        /* static; set with first_bad */
};

/* Checks that entry is the next one of the chain, that its hash covers its content, and that every column is what the event
 * says. Returns false and sets first_bad and reason when not. arena is used for scratch. */
bool rules_check_entry(struct chain *chain, const Audit__Rows__Entry *entry, struct arena *arena);
