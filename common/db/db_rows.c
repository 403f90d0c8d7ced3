/* Results: handed over to the arena of whoever waits, and their values in Postgres's binary format. */
#include "db/db_internal.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define OID_JSONB 3802

/* ---- handing over ---- */

static void result_clear(void *result)
{
	PQclear(result);
}

enum status db_deliver(PGresult *result, enum status status, struct arena *arena, struct db_rows *ret_rows)
{
	bool wanted = ret_rows && arena && (status == ST_OK || status == ST_ALREADY_EXISTS);
	if (!result || !wanted) {
		PQclear(result);
		return status;
	}
	if (!arena_defer(arena, result_clear, result)) {
		PQclear(result);
		return status == ST_OK ? ST_RESOURCE_EXHAUSTED : status;
	}
	const char *affected = PQcmdTuples(result);
	*ret_rows = (struct db_rows){
	    .count = PQntuples(result),
	    .affected = affected[0] ? strtoll(affected, NULL, 10) : 0,
	    .result = result,
	    .constraint = status == ST_OK ? NULL : PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME),
	};
	return status;
}

enum status db_deliver_shared(struct db_shared *shared, int row, struct arena *arena, struct db_rows *ret_rows)
{
	if (row < 0 || !ret_rows || !arena) {
		if (ret_rows)
			*ret_rows = (struct db_rows){0};
		db_shared_release(shared);
		return ST_OK;
	}
	if (!arena_defer(arena, db_shared_release, shared)) {
		db_shared_release(shared);
		return ST_RESOURCE_EXHAUSTED;
	}
	*ret_rows = (struct db_rows){.count = 1, .result = shared->result, .first_row = row, .first_column = 1};
	return ST_OK;
}

/* ---- values ---- */

static bool db_cell(const struct db_rows *rows, int row, int column, const char **ret_data, int *ret_len)
{
	PGresult *result = rows->result;
	assert(row >= 0 && row < rows->count && column >= 0 && rows->first_column + column < PQnfields(result));
	row += rows->first_row;
	column += rows->first_column;
	if (PQgetisnull(result, row, column))
		return false;
	*ret_data = PQgetvalue(result, row, column);
	*ret_len = PQgetlength(result, row, column);
	return true;
}

bool db_null(const struct db_rows *rows, int row, int column)
{
	const char *data;
	int len;
	return !db_cell(rows, row, column, &data, &len);
}

struct id db_id(const struct db_rows *rows, int row, int column)
{
	struct id id = {0};
	const char *data;
	int len;
	if (db_cell(rows, row, column, &data, &len)) {
		assert(len == ID_SIZE);
		memcpy(id.bytes, data, ID_SIZE);
	}
	return id;
}

const char *db_text(const struct db_rows *rows, int row, int column)
{
	const char *data;
	int len;
	return db_cell(rows, row, column, &data, &len) ? data : NULL;
}

const void *db_bytes(const struct db_rows *rows, int row, int column, size_t *ret_len)
{
	const char *data;
	int len;
	if (!db_cell(rows, row, column, &data, &len)) {
		*ret_len = 0;
		return NULL;
	}
	*ret_len = (size_t)len;
	return data;
}

int64_t db_int(const struct db_rows *rows, int row, int column)
{
	const char *data;
	int len;
	if (!db_cell(rows, row, column, &data, &len))
		return 0;
	uint16_t two;
	uint32_t four;
	uint64_t eight;
	switch (len) {
	case 2:
		memcpy(&two, data, sizeof(two));
		return (int16_t)be16toh(two);
	case 4:
		memcpy(&four, data, sizeof(four));
		return (int32_t)be32toh(four);
	case 8:
		memcpy(&eight, data, sizeof(eight));
		return (int64_t)be64toh(eight);
	default:
		assert(!"column is not int2, int4 or int8");
		return 0;
	}
}

bool db_bool(const struct db_rows *rows, int row, int column)
{
	const char *data;
	int len;
	return db_cell(rows, row, column, &data, &len) && len == 1 && data[0] != 0;
}

const char *db_json(const struct db_rows *rows, int row, int column)
{
	const char *data;
	int len;
	if (!db_cell(rows, row, column, &data, &len))
		return NULL;
	bool versioned = PQftype(rows->result, rows->first_column + column) == OID_JSONB && len > 0;
	return versioned ? data + 1 : data;
}

static bool cursor_int4(const char **at, const char *end, int32_t *ret_value)
{
	uint32_t network;
	if (end - *at < (ptrdiff_t)sizeof(network))
		return false;
	memcpy(&network, *at, sizeof(network));
	*at += sizeof(network);
	*ret_value = (int32_t)be32toh(network);
	return true;
}

/* Count of a one-dimensional array; leaves *at on the first element. */
static bool cursor_array(const char **at, const char *end, int32_t *ret_count)
{
	int32_t dimensions, has_null, element, lower;
	if (!cursor_int4(at, end, &dimensions) || !cursor_int4(at, end, &has_null) || !cursor_int4(at, end, &element))
		return false;
	if (dimensions == 0) {
		*ret_count = 0;
		return true;
	}
	return dimensions == 1 && cursor_int4(at, end, ret_count) && cursor_int4(at, end, &lower) && *ret_count >= 0;
}

enum status db_text_array(const struct db_rows *rows, int row, int column, struct arena *arena, char ***ret_texts,
                          size_t *ret_count)
{
	const char *at;
	int len;
	int32_t count = 0;
	if (!db_cell(rows, row, column, &at, &len)) {
		*ret_texts = NULL;
		*ret_count = 0;
		return ST_OK;
	}
	const char *end = at + len;
	if (!cursor_array(&at, end, &count) || count > len)
		return ST_INTERNAL;
	char **texts = arena_alloc(arena, ((size_t)count + 1) * sizeof(*texts));
	if (!texts)
		return ST_RESOURCE_EXHAUSTED;
	for (int32_t i = 0; i < count; i++) {
		int32_t size;
		if (!cursor_int4(&at, end, &size) || size > end - at)
			return ST_INTERNAL;
		texts[i] = size < 0 ? NULL : arena_strndup(arena, at, (size_t)size);
		if (size >= 0 && !texts[i])
			return ST_RESOURCE_EXHAUSTED;
		at += size < 0 ? 0 : size;
	}
	*ret_texts = texts;
	*ret_count = (size_t)count;
	return ST_OK;
}
