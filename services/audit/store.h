/* The ledger's statements: one function per statement. Results live in the arena. See db.h for statuses. */
#pragma once

#include "db/db.h"
#include "rules.h"

/* Last number and hash of a project; seq 0 and a zero hash for a project without entries. */
struct head {
	struct id project;
	int64_t seq;
	uint8_t hash[SHA256_SIZE];
};

/* What a statement needs besides its values. deadline_us: monotonic. */
struct store_call {
	struct db *db;
	struct arena *arena;
	int64_t deadline_us;
};

struct item {
	struct entry entry;
	size_t head;    /* index into the batch's heads */
	bool duplicate; /* already in the ledger, or twice in the batch */
};

/* Items of an Append and the projects that they touch. */
struct batch {
	const char *source;
	struct item *items;
	size_t count;
	struct head *heads;
	size_t head_count;
	int64_t position; /* of the stream */
};

/* Reads in one snapshot the stream's position, the projects' heads and which items are already there. An item whose outbox
 * id is taken by another event gives ST_CONFLICT. Resets the items' duplicate marks first. */
MUST_USE enum status store_load_heads(const struct store_call *call, struct batch *batch);

/* Inserts the items that are no duplicates with the numbers they carry and moves heads and stream, if the stream's position
 * still is old_position; *ret_won says so. ST_ALREADY_EXISTS: some outbox id is already there. */
MUST_USE enum status store_append_batch(const struct store_call *call, const struct batch *batch, int64_t old_position,
                                        bool *ret_won);

/* Rows of a read, oldest first. */
struct page {
	struct entry *entries;
	size_t count;
	int64_t head; /* newest seq (read of a project) or position (read of the stream) in the same snapshot */
	int64_t next; /* continue after this */
};

/* Entries of a project with seq > after, at most limit and about AUDIT_READ_MAX_BYTES. All columns are filled. */
MUST_USE enum status store_read_entries(const struct store_call *call, const struct id *project, int64_t after,
                                        int limit, struct page *ret_page);

/* Which part of the stream to read. */
struct stream_filter {
	int64_t after;
	int limit;
	const int16_t *types; /* NULL = all */
	size_t type_count;
	bool revoking; /* without types: only what takes access away, and entries of older versions that may */
};
/* Entries of all projects; only project, seq, position, event and hash are filled. A filter by types looks at no more than
 * STORE_SCAN_MAX positions; page.next tells how far it came. */
#define STORE_SCAN_MAX 20000
MUST_USE enum status store_read_stream(const struct store_call *call, const struct stream_filter *filter,
                                       struct page *ret_page);

/* Position just before the first entry (that takes access away, when the filter says so) that is not older than since_us; the
 * stream's newest position when there is none. */
MUST_USE enum status store_find_since(const struct store_call *call, const struct stream_filter *filter,
                                      int64_t since_us, int64_t *ret_position);

/* The head row of a project and, in the same snapshot, the newest seq that table `event` holds. */
MUST_USE enum status store_get_head(const struct store_call *call, const struct id *project, struct head *ret_head,
                                    int64_t *ret_newest);
