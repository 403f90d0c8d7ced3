/* Reading entries of the ledger, oldest first. */
#pragma once

#include "audit_sql.gen.h"
#include "rules.h"

/* Entries of a read, in the scope's arena. */
struct page {
	Audit__Rows__Entry **entries;
	size_t count;
	int64_t head; /* newest seq (of a project) or position (of the stream) in the same snapshot */
	int64_t next; /* continue after this */
};

/* Entries of a project with seq > after, at most limit and about AUDIT_READ_MAX_BYTES. */
MUST_USE enum status entries_read_project(struct sql_scope *scope, const struct id *project, int64_t after, int limit,
                                          struct page *ret_page);

/* Which part of the stream to read. */
struct stream_filter {
	int64_t after;
	int limit;
	struct db_int2s types; /* none = all */
	bool revoking;         /* without types: only what takes access away, and entries of older versions that may */
};
/* Entries of all projects; only project, seq, position, event and hash are filled. A filter by types looks at no more than
 * ENTRIES_SCAN_MAX positions; page.next tells how far it came. */
#define ENTRIES_SCAN_MAX 20000
MUST_USE enum status entries_read_stream(struct sql_scope *scope, const struct stream_filter *filter,
                                         struct page *ret_page);

/* Position just before the first entry (that takes access away, when revoking) that is not older than since_us; the stream's newest position
 * when there is none. */
MUST_USE enum status entries_find_since(struct sql_scope *scope, bool revoking, int64_t since_us,
                                        int64_t *ret_position);
