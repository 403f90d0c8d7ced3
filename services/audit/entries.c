/* Pages of the ledger: cut by count and by bytes. */
#include "entries.h"

/* What every statement that reads a page gives. */
struct page_row {
	int64_t head;
	Audit__Rows__Entry *entry; /* NULL: there are none */
};
_Static_assert(sizeof(struct page_row) == sizeof(struct sql_read_project_row), "rows of one shape");
_Static_assert(sizeof(struct page_row) == sizeof(struct sql_read_stream_row), "rows of one shape");

/* Runs the statement; next is not set. *ret_bytes: of the events. */
MUST_USE static enum status read_page(struct sql_scope *scope, const struct db_stmt *stmt, const void *params,
                                      struct page *ret_page, size_t *ret_bytes)
{
	struct page_row *rows;
	size_t count, bytes = 0;
	enum status status = sql_all(scope, stmt, params, &rows, &count);
	if (status != ST_OK)
		return status;
	if (count < 1)
		return ST_INTERNAL;
	struct page page = {.entries = arena_alloc(scope->arena, count * sizeof(*page.entries)), .head = rows[0].head};
	if (!page.entries)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < count && rows[i].entry; i++) {
		page.entries[page.count++] = rows[i].entry;
		bytes += rows[i].entry->event.len;
	}
	*ret_page = page;
	*ret_bytes = bytes;
	return ST_OK;
}

enum status entries_read_project(struct sql_scope *scope, const struct id *project, int64_t after, int limit,
                                 struct page *ret_page)
{
	const struct sql_read_project params = {
	    .project_id = project, .after = after, .limit = limit, .bytes = AUDIT_READ_MAX_BYTES};
	size_t bytes;
	enum status status = read_page(scope, &sql_read_project, &params, ret_page, &bytes);
	if (status != ST_OK)
		return status;
	ret_page->next = ret_page->count ? ret_page->entries[ret_page->count - 1]->seq : after;
	return ST_OK;
}

/* How far a read came: to its last entry when it was cut by count or bytes, else to the end of what it looked at. */
static int64_t stream_next(const struct stream_filter *filter, const struct page *page, size_t bytes)
{
	bool cut = page->count == (size_t)filter->limit || bytes >= AUDIT_READ_MAX_BYTES;
	int64_t end = page->head;
	if (cut)
		return page->entries[page->count - 1]->position;
	if (filter->types.count && end - filter->after > ENTRIES_SCAN_MAX)
		end = filter->after + ENTRIES_SCAN_MAX;
	return end > filter->after ? end : filter->after;
}

enum status entries_read_stream(struct sql_scope *scope, const struct stream_filter *filter, struct page *ret_page)
{
	const struct sql_read_stream all = {filter->after, filter->limit, AUDIT_READ_MAX_BYTES};
	const struct sql_read_stream_revoking revoking = {filter->after, filter->limit, AUDIT_READ_MAX_BYTES};
	const struct sql_read_stream_types types = {.after = filter->after,
	                                            .limit = filter->limit,
	                                            .bytes = AUDIT_READ_MAX_BYTES,
	                                            .types = filter->types,
	                                            .until = filter->after + ENTRIES_SCAN_MAX};
	size_t bytes;
	enum status status;
	if (filter->types.count)
		status = read_page(scope, &sql_read_stream_types, &types, ret_page, &bytes);
	else if (filter->revoking)
		status = read_page(scope, &sql_read_stream_revoking, &revoking, ret_page, &bytes);
	else
		status = read_page(scope, &sql_read_stream, &all, ret_page, &bytes);
	if (status != ST_OK)
		return status;
	ret_page->next = stream_next(filter, ret_page, bytes);
	return ST_OK;
}

enum status entries_find_since(struct sql_scope *scope, bool revoking, int64_t since_us, int64_t *ret_position)
{
	struct sql_find_since_row row;
	struct sql_find_since_revoking_row revoking_row;
	enum status status = revoking ? sql_one(scope, &sql_find_since_revoking,
	                                        &(struct sql_find_since_revoking){since_us}, &revoking_row)
	                              : sql_one(scope, &sql_find_since, &(struct sql_find_since){since_us}, &row);
	if (status == ST_OK)
		*ret_position = revoking ? revoking_row.position : row.position;
	return status;
}
