/* Parameters of statements in Postgres's binary format. */
#include "db/db_internal.h"

#include <endian.h>
#include <string.h>

enum {
	OID_BOOL = 16,
	OID_BYTEA = 17,
	OID_INT8 = 20,
	OID_INT2 = 21,
	OID_INT4 = 23,
	OID_TEXT = 25,
	OID_BOOL_ARRAY = 1000,
	OID_BYTEA_ARRAY = 1001,
	OID_INT2_ARRAY = 1005,
	OID_TEXT_ARRAY = 1009,
	OID_INT8_ARRAY = 1016,
	OID_UUID = 2950,
	OID_UUID_ARRAY = 2951,
	OID_JSONB = 3802,
};

const int db_binary_formats[DB_ARGS_MAX] = {[0 ... DB_ARGS_MAX - 1] = 1};

static void db_arg_add(struct db_args *args, uint32_t type, const void *value, size_t len_bytes)
{
	if (args->count == DB_ARGS_MAX || len_bytes > INT32_MAX) {
		args->failed = true;
		return;
	}
	args->types[args->count] = type;
	args->values[args->count] = value;
	args->lengths[args->count] = (int)len_bytes;
	args->count++;
}

/* The value is kept in the args themselves. */
static void db_arg_add_copy(struct db_args *args, uint32_t type, const void *value, size_t len_bytes)
{
	if (args->count == DB_ARGS_MAX) {
		args->failed = true;
		return;
	}
	void *place = &args->scratch[args->count];
	memcpy(place, value, len_bytes);
	db_arg_add(args, type, place, len_bytes);
}

void db_arg_raw(struct db_args *args, uint32_t type, const void *value, size_t len_bytes, bool copy)
{
	if (copy)
		db_arg_add_copy(args, type, value, len_bytes);
	else
		db_arg_add(args, type, value, len_bytes);
}

void db_arg_id(struct db_args *args, const struct id *id)
{
	db_arg_add(args, OID_UUID, id ? id->bytes : NULL, id ? ID_SIZE : 0);
}

void db_arg_text(struct db_args *args, const char *text)
{
	db_arg_add(args, OID_TEXT, text, text ? strlen(text) : 0);
}

void db_arg_bytes(struct db_args *args, const void *data, size_t len_bytes)
{
	db_arg_add(args, OID_BYTEA, data, data ? len_bytes : 0);
}

void db_arg_int8(struct db_args *args, int64_t value)
{
	uint64_t network = htobe64((uint64_t)value);
	db_arg_add_copy(args, OID_INT8, &network, sizeof(network));
}

void db_arg_int8_or_null(struct db_args *args, bool present, int64_t value)
{
	if (present)
		db_arg_int8(args, value);
	else
		db_arg_add(args, OID_INT8, NULL, 0);
}

void db_arg_int4(struct db_args *args, int32_t value)
{
	uint32_t network = htobe32((uint32_t)value);
	db_arg_add_copy(args, OID_INT4, &network, sizeof(network));
}

void db_arg_int2(struct db_args *args, int16_t value)
{
	uint16_t network = htobe16((uint16_t)value);
	db_arg_add_copy(args, OID_INT2, &network, sizeof(network));
}

void db_arg_bool(struct db_args *args, bool value)
{
	uint8_t byte = value;
	db_arg_add_copy(args, OID_BOOL, &byte, sizeof(byte));
}

void db_arg_jsonb(struct db_args *args, struct arena *arena, const char *json)
{
	if (!json) {
		db_arg_add(args, OID_JSONB, NULL, 0);
		return;
	}
	size_t len = strlen(json);
	char *value = arena_alloc(arena, len + 1);
	if (!value) {
		args->failed = true;
		return;
	}
	value[0] = 1; /* version of jsonb's binary form */
	memcpy(value + 1, json, len);
	db_arg_add(args, OID_JSONB, value, len + 1);
}

/* ---- arrays: dimensions, flags, element type, then length and bytes of each ---- */

#define ARRAY_HEADER_BYTES 20 /* dimensions, has NULL, element type, count, lower bound */

static void array_put_int4(struct db_array *array, int32_t value)
{
	uint32_t network = htobe32((uint32_t)value);
	memcpy(array->end, &network, sizeof(network));
	array->end += sizeof(network);
}

void db_array_put(struct db_array *array, const void *data, size_t len_bytes)
{
	if (!data) {
		array_put_int4(array, -1);
		return;
	}
	array_put_int4(array, (int32_t)len_bytes);
	memcpy(array->end, data, len_bytes);
	array->end += len_bytes;
}

/* Room for count elements of content_bytes in all. False: marked as failed. */
bool db_array_begin(struct db_array *array, struct db_args *args, struct arena *arena, size_t count,
                    size_t content_bytes)
{
	array->size = ARRAY_HEADER_BYTES + count * 4 + content_bytes;
	array->data = array->size <= INT32_MAX ? arena_alloc(arena, array->size) : NULL;
	array->end = array->data;
	if (!array->data)
		args->failed = true;
	return array->data;
}

void db_array_put_header(struct db_array *array, uint32_t element, size_t count, bool has_null)
{
	array_put_int4(array, count > 0); /* an empty array has no dimension */
	array_put_int4(array, has_null);
	array_put_int4(array, (int32_t)element);
	if (count > 0) {
		array_put_int4(array, (int32_t)count);
		array_put_int4(array, 1);
	}
}

void db_array_end(struct db_array *array, struct db_args *args, uint32_t type)
{
	db_arg_add(args, type, array->data, (size_t)(array->end - array->data));
}

void db_arg_ids(struct db_args *args, struct arena *arena, const struct id *ids, size_t count)
{
	struct db_array array;
	if (!db_array_begin(&array, args, arena, count, count * ID_SIZE))
		return;
	db_array_put_header(&array, OID_UUID, count, false);
	for (size_t i = 0; i < count; i++)
		db_array_put(&array, ids[i].bytes, ID_SIZE);
	db_array_end(&array, args, OID_UUID_ARRAY);
}

void db_arg_texts(struct db_args *args, struct arena *arena, const char *const *texts, size_t count)
{
	struct db_array array;
	size_t content = 0;
	bool has_null = false;
	for (size_t i = 0; i < count; i++) {
		content += texts[i] ? strlen(texts[i]) : 0;
		has_null = has_null || !texts[i];
	}
	if (!db_array_begin(&array, args, arena, count, content))
		return;
	db_array_put_header(&array, OID_TEXT, count, has_null);
	for (size_t i = 0; i < count; i++)
		db_array_put(&array, texts[i], texts[i] ? strlen(texts[i]) : 0);
	db_array_end(&array, args, OID_TEXT_ARRAY);
}

void db_arg_int8s(struct db_args *args, struct arena *arena, const int64_t *values, size_t count)
{
	struct db_array array;
	if (!db_array_begin(&array, args, arena, count, count * sizeof(int64_t)))
		return;
	db_array_put_header(&array, OID_INT8, count, false);
	for (size_t i = 0; i < count; i++) {
		uint64_t network = htobe64((uint64_t)values[i]);
		db_array_put(&array, &network, sizeof(network));
	}
	db_array_end(&array, args, OID_INT8_ARRAY);
}

void db_arg_int2s(struct db_args *args, struct arena *arena, const int16_t *values, size_t count)
{
	struct db_array array;
	if (!db_array_begin(&array, args, arena, count, count * sizeof(int16_t)))
		return;
	db_array_put_header(&array, OID_INT2, count, false);
	for (size_t i = 0; i < count; i++) {
		uint16_t network = htobe16((uint16_t)values[i]);
		db_array_put(&array, &network, sizeof(network));
	}
	db_array_end(&array, args, OID_INT2_ARRAY);
}

void db_arg_bools(struct db_args *args, struct arena *arena, const bool *values, size_t count)
{
	struct db_array array;
	if (!db_array_begin(&array, args, arena, count, count))
		return;
	db_array_put_header(&array, OID_BOOL, count, false);
	for (size_t i = 0; i < count; i++) {
		uint8_t byte = values[i];
		db_array_put(&array, &byte, sizeof(byte));
	}
	db_array_end(&array, args, OID_BOOL_ARRAY);
}

void db_arg_bytes_array(struct db_args *args, struct arena *arena, const struct db_blob *values, size_t count)
{
	struct db_array array;
	size_t content = 0;
	bool has_null = false;
	for (size_t i = 0; i < count; i++) {
		content += values[i].data ? values[i].len : 0;
		has_null = has_null || !values[i].data;
	}
	if (!db_array_begin(&array, args, arena, count, content))
		return;
	db_array_put_header(&array, OID_BYTEA, count, has_null);
	for (size_t i = 0; i < count; i++)
		db_array_put(&array, values[i].data, values[i].len);
	db_array_end(&array, args, OID_BYTEA_ARRAY);
}
