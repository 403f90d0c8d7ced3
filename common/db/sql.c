/* Parameters from structs and messages, rows into structs and messages: by the tables that the generator writes. */
#include "db/sql.h"

#include "base/log.h"
#include "db/db_internal.h"

#include <endian.h>
#include <string.h>

/* By enum db_type: the type's number in Postgres and that of its array; for arrays the type of an element and its size in C. */
static const struct type {
	uint32_t oid, array_oid;
	uint8_t element; /* enum db_type; 0 = no array */
	uint8_t element_size;
} types[] = {
    [DB_UUID] = {2950, 2951, 0, 0},
    [DB_TEXT] = {25, 1009, 0, 0},
    [DB_BYTEA] = {17, 1001, 0, 0},
    [DB_JSONB] = {3802, 0, 0, 0},
    [DB_INT8] = {20, 1016, 0, 0},
    [DB_INT4] = {23, 1007, 0, 0},
    [DB_INT2] = {21, 1005, 0, 0},
    [DB_BOOL] = {16, 1000, 0, 0},
    [DB_UUIDS] = {2951, 0, DB_UUID, sizeof(struct id)},
    [DB_TEXTS] = {1009, 0, DB_TEXT, sizeof(const char *)},
    [DB_INT8S] = {1016, 0, DB_INT8, sizeof(int64_t)},
    [DB_INT2S] = {1005, 0, DB_INT2, sizeof(int16_t)},
    [DB_BOOLS] = {1000, 0, DB_BOOL, sizeof(bool)},
    [DB_BYTEAS] = {1001, 0, DB_BYTEA, sizeof(struct db_blob)},
};

/* ---- where values are ---- */

struct source {
	const void *at;  /* the value; NULL = SQL NULL */
	size_t count;    /* texts of a message: how many */
	bool in_message; /* bytes and booleans have protobuf-c's types */
};

/* Whether an optional field that is no text is set: it has a flag then. */
static bool field_is_set(const ProtobufCFieldDescriptor *field, const char *message)
{
	return field->quantifier_offset == 0 || *(const protobuf_c_boolean *)(message + field->quantifier_offset);
}

static struct source source_of_field(const ProtobufCMessage *message, const struct db_param *param)
{
	const ProtobufCFieldDescriptor *field = &param->message->fields[param->field];
	const char *base = (const char *)message;
	struct source source = {.in_message = true};
	if (!message)
		return source;
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		source.count = *(const size_t *)(base + field->quantifier_offset);
	else if (field->type != PROTOBUF_C_TYPE_STRING && !field_is_set(field, base))
		return source;
	source.at = base + field->offset;
	return source;
}

/* A parameter of one row: member of a struct or field of a message. */
static struct source source_of_param(const char *holder, const struct db_param *param)
{
	const void *member = holder + param->offset;
	if (param->field >= 0)
		return source_of_field(*(const ProtobufCMessage *const *)member, param);
	bool pointer = param->nullable || param->type == DB_UUID;
	return (struct source){.at = pointer ? *(const void *const *)member : member};
}

/* ---- a value in Postgres's binary format ---- */

struct value {
	const void *data; /* NULL = SQL NULL */
	size_t len;
	uint64_t scratch;
};

static struct value value_int(int64_t number, size_t len)
{
	struct value value = {.len = len};
	uint64_t network = htobe64((uint64_t)number);
	memcpy(&value.scratch, (const char *)&network + sizeof(network) - len, len);
	return value;
}

static struct value value_bytes(const struct source *source)
{
	if (!source->in_message) {
		const struct db_blob *blob = source->at;
		return (struct value){.data = blob->data, .len = blob->data ? blob->len : 0};
	}
	const ProtobufCBinaryData *bytes = source->at;
	return (struct value){.data = bytes->data ? (const void *)bytes->data : "", .len = bytes->len};
}

static struct value value_text(const char *text)
{
	return (struct value){.data = text, .len = text ? strlen(text) : 0};
}

/* One byte, the version of jsonb's binary form, then the text. */
static struct value value_jsonb(const char *text, struct arena *arena, bool *failed)
{
	struct value value = {.len = text ? strlen(text) + 1 : 0};
	char *copy = text ? arena_alloc(arena, value.len) : NULL;
	*failed = *failed || (text && !copy);
	if (!copy)
		return (struct value){0};
	copy[0] = 1;
	memcpy(copy + 1, text, value.len - 1);
	value.data = copy;
	return value;
}

/* An integer's data stays NULL: it is in scratch. */
static struct value value_of(enum db_type type, const struct source *source, struct arena *arena, bool *failed)
{
	switch (type) {
	case DB_UUID:
		return source->in_message ? value_bytes(source) : (struct value){.data = source->at, .len = ID_SIZE};
	case DB_BYTEA:
		return value_bytes(source);
	case DB_TEXT:
		return value_text(*(const char *const *)source->at);
	case DB_JSONB:
		return value_jsonb(*(const char *const *)source->at, arena, failed);
	case DB_INT8:
		return value_int(*(const int64_t *)source->at, 8);
	case DB_INT4:
		return value_int(*(const int32_t *)source->at, 4);
	case DB_INT2:
		return value_int(source->in_message ? *(const int32_t *)source->at : *(const int16_t *)source->at, 2);
	default:
		return value_int(
		    source->in_message ? *(const protobuf_c_boolean *)source->at : *(const bool *)source->at, 1);
	}
}

static bool type_in_scratch(enum db_type type)
{
	return type == DB_INT8 || type == DB_INT4 || type == DB_INT2 || type == DB_BOOL;
}

static void bind_scalar(struct db_args *args, struct arena *arena, enum db_type type, const struct source *source)
{
	if (!source->at) {
		db_arg_raw(args, types[type].oid, NULL, 0, false);
		return;
	}
	struct value value = value_of(type, source, arena, &args->failed);
	bool scratch = type_in_scratch(type);
	db_arg_raw(args, types[type].oid, scratch ? &value.scratch : value.data, value.len, scratch);
}

/* ---- arrays ---- */

/* Gives the elements of an array one after another. */
struct elements {
	size_t count;
	const char *at; /* of C values */
	size_t size;
	const struct db_messages *messages; /* or of messages */
	const struct db_param *param;
	struct arena *arena;
};

/* A repeated text as one text with line ends between. *ret_text is what the source points to. */
static struct source element_joined(const struct source *texts, struct arena *arena, const char **ret_text)
{
	const char *const *list = *(const char *const *const *)texts->at;
	size_t len = 1;
	for (size_t i = 0; i < texts->count; i++)
		len += strlen(list[i]) + 1;
	char *joined = arena_alloc(arena, len), *end = joined;
	for (size_t i = 0; joined && i < texts->count; i++) {
		if (i > 0)
			*end++ = '\n';
		end = stpcpy(end, list[i]);
	}
	*ret_text = joined;
	return (struct source){.at = ret_text};
}

static struct source element_at(const struct elements *elements, size_t index, const char **ret_text)
{
	if (!elements->messages)
		return (struct source){.at = elements->at + index * elements->size};
	struct source source = source_of_field(elements->messages->list[index], elements->param);
	bool repeated = elements->param->message->fields[elements->param->field].label == PROTOBUF_C_LABEL_REPEATED;
	return repeated ? element_joined(&source, elements->arena, ret_text) : source;
}

static void bind_elements(struct db_args *args, enum db_type type, const struct elements *elements)
{
	size_t content = 0;
	bool has_null = false, scratch = type_in_scratch(type);
	struct value *values = arena_alloc(elements->arena, (elements->count + 1) * sizeof(*values));
	if (!values) {
		args->failed = true;
		return;
	}
	for (size_t i = 0; i < elements->count; i++) {
		const char *text;
		struct source source = element_at(elements, i, &text);
		if (source.at)
			values[i] = value_of(type, &source, elements->arena, &args->failed);
		if (source.at && scratch)
			values[i].data = &values[i].scratch;
		content += values[i].data ? values[i].len : 0;
		has_null = has_null || !values[i].data;
	}
	struct db_array array;
	if (!db_array_begin(&array, args, elements->arena, elements->count, content))
		return;
	db_array_put_header(&array, types[type].oid, elements->count, has_null);
	for (size_t i = 0; i < elements->count; i++)
		db_array_put(&array, values[i].data, values[i].len);
	db_array_end(&array, args, types[type].array_oid);
}

static void bind_param(struct db_args *args, const struct sql_scope *scope, const char *holder,
                       const struct db_param *param)
{
	struct elements elements = {.param = param, .arena = scope->arena};
	if (param->many) {
		elements.messages = (const struct db_messages *)(const void *)(holder + param->offset);
		elements.count = elements.messages->count;
		bind_elements(args, param->type == DB_TEXTS ? DB_TEXT : (enum db_type)param->type, &elements);
		return;
	}
	struct source source = source_of_param(holder, param);
	const struct type *type = &types[param->type];
	if (!type->element) {
		bind_scalar(args, scope->arena, (enum db_type)param->type, &source);
		return;
	}
	const struct db_texts *list = source.at; /* all arrays have its layout */
	elements.size = type->element_size;
	if (source.in_message) {
		elements.at = source.at ? *(const char *const *)source.at : NULL;
		elements.count = source.count;
	} else {
		elements.at = (const char *)list->list;
		elements.count = list->count;
	}
	bind_elements(args, (enum db_type)type->element, &elements);
}

static enum status scope_bind(const struct sql_scope *scope, const struct db_stmt *stmt, const void *params,
                              struct db_args *args)
{
	const void *const holders[] = {
	    [DB_FROM_SCOPE] = scope, [DB_FROM_EFFECTS] = scope->effects, [DB_FROM_PARAMS] = params};
	for (unsigned i = 0; i < stmt->param_count; i++) {
		const struct db_param *param = &stmt->params[i];
		if (!holders[param->source]) {
			log_event(LOG_ERROR, "a statement lacks its parameters", "stmt", stmt->name, NULL);
			return ST_INTERNAL;
		}
		bind_param(args, scope, holders[param->source], param);
	}
	return args->failed ? ST_RESOURCE_EXHAUSTED : ST_OK;
}

/* ---- rows ---- */

/* Where one cell of a result goes. */
struct cell {
	const struct db_rows *rows;
	int row, column;
	struct arena *arena;
};

static enum status read_texts(const struct cell *cell, char ***ret_texts, size_t *ret_count)
{
	return db_text_array(cell->rows, cell->row, cell->column, cell->arena, ret_texts, ret_count);
}

static enum status read_field(const struct cell *cell, const struct db_column *column, ProtobufCMessage *message)
{
	const ProtobufCFieldDescriptor *field = &column->message->fields[column->field];
	char *base = (char *)message, *place = base + field->offset;
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return read_texts(cell, (char ***)(void *)place, (size_t *)(void *)(base + field->quantifier_offset));
	if (db_null(cell->rows, cell->row, cell->column))
		return ST_OK;
	size_t len;
	const void *bytes;
	switch (column->type) {
	case DB_TEXT:
		*(const char **)(void *)place = db_text(cell->rows, cell->row, cell->column);
		return ST_OK; /* a text has no flag */
	case DB_JSONB:
		*(const char **)(void *)place = db_json(cell->rows, cell->row, cell->column);
		return ST_OK;
	case DB_UUID:
	case DB_BYTEA:
		bytes = db_bytes(cell->rows, cell->row, cell->column, &len);
		*(ProtobufCBinaryData *)(void *)place = (ProtobufCBinaryData){len, (uint8_t *)bytes};
		break;
	case DB_INT8:
		*(int64_t *)(void *)place = db_int(cell->rows, cell->row, cell->column);
		break;
	case DB_BOOL:
		*(protobuf_c_boolean *)(void *)place = db_bool(cell->rows, cell->row, cell->column);
		break;
	default:
		*(int32_t *)(void *)place = (int32_t)db_int(cell->rows, cell->row, cell->column);
	}
	*(protobuf_c_boolean *)(void *)(base + field->quantifier_offset) = true;
	return ST_OK;
}

static enum status read_member(const struct cell *cell, const struct db_column *column, char *ret_row)
{
	void *place = ret_row + column->offset;
	struct db_texts *texts = place;
	struct db_blob *blob = place;
	switch (column->type) {
	case DB_UUID:
		*(struct id *)place = db_id(cell->rows, cell->row, cell->column);
		break;
	case DB_TEXT:
		*(const char **)place = db_text(cell->rows, cell->row, cell->column);
		break;
	case DB_JSONB:
		*(const char **)place = db_json(cell->rows, cell->row, cell->column);
		break;
	case DB_BYTEA:
		blob->data = db_bytes(cell->rows, cell->row, cell->column, &blob->len);
		break;
	case DB_INT8:
		*(int64_t *)place = db_int(cell->rows, cell->row, cell->column);
		break;
	case DB_INT4:
		*(int32_t *)place = (int32_t)db_int(cell->rows, cell->row, cell->column);
		break;
	case DB_INT2:
		*(int16_t *)place = (int16_t)db_int(cell->rows, cell->row, cell->column);
		break;
	case DB_TEXTS:
		return read_texts(cell, (char ***)(void *)&texts->list, &texts->count);
	default:
		*(bool *)place = db_bool(cell->rows, cell->row, cell->column);
	}
	return ST_OK;
}

/* A message begins: it exists when its first column is not NULL. */
static enum status read_message(const struct cell *cell, const struct db_column *column, ProtobufCMessage **ret_message)
{
	*ret_message = NULL;
	if (db_null(cell->rows, cell->row, cell->column))
		return ST_OK;
	ProtobufCMessage *message = arena_alloc(cell->arena, column->message->sizeof_message);
	if (!message)
		return ST_RESOURCE_EXHAUSTED;
	protobuf_c_message_init(column->message, message);
	*ret_message = message;
	return ST_OK;
}

static enum status read_row(const struct db_stmt *stmt, struct cell cell, char *ret_row)
{
	enum status status = ST_OK;
	for (unsigned i = 0; i < stmt->column_count && status == ST_OK; i++) {
		const struct db_column *column = &stmt->columns[i];
		ProtobufCMessage **message = (ProtobufCMessage **)(void *)(ret_row + column->offset);
		cell.column = (int)i;
		if (!column->message)
			status = read_member(&cell, column, ret_row);
		else if (column->first)
			status = read_message(&cell, column, message);
		if (status == ST_OK && column->message && *message)
			status = read_field(&cell, column, *message);
	}
	return status;
}

/* ---- running ---- */

static enum status scope_run(struct sql_scope *scope, const struct db_stmt *stmt, const void *params,
                             struct db_rows *ret_rows)
{
	struct db_args args;
	args.count = 0;
	args.failed = false;
	scope->conflict = NULL;
	enum status status = scope_bind(scope, stmt, params, &args);
	if (status != ST_OK)
		return status;
	if (scope->tx)
		status = db_tx_run(scope->tx, stmt, &args, scope->arena, ret_rows);
	else
		status = db_run(scope->db, stmt, &args, scope->arena, scope->deadline_us, ret_rows);
	if (status == ST_ALREADY_EXISTS)
		scope->conflict = ret_rows->constraint;
	return status;
}

enum status sql_run(struct sql_scope *scope, const struct db_stmt *stmt, const void *params, int64_t *ret_rows)
{
	struct db_rows rows = {0};
	enum status status = scope_run(scope, stmt, params, &rows);
	if (status == ST_OK)
		*ret_rows = rows.count > 0 ? rows.count : rows.affected;
	return status;
}

enum status sql_one(struct sql_scope *scope, const struct db_stmt *stmt, const void *params, void *ret_row)
{
	struct db_rows rows = {0};
	enum status status = scope_run(scope, stmt, params, &rows);
	if (status != ST_OK)
		return status;
	if (rows.count == 0)
		return ST_NOT_FOUND;
	memset(ret_row, 0, stmt->row_size_bytes);
	return read_row(stmt, (struct cell){&rows, 0, 0, scope->arena}, ret_row);
}

enum status sql_all(struct sql_scope *scope, const struct db_stmt *stmt, const void *params, void *ret_rows,
                    size_t *ret_count)
{
	struct db_rows rows = {0};
	enum status status = scope_run(scope, stmt, params, &rows);
	if (status != ST_OK)
		return status;
	char *list = arena_alloc(scope->arena, ((size_t)rows.count + 1) * stmt->row_size_bytes);
	if (!list)
		return ST_RESOURCE_EXHAUSTED;
	for (int row = 0; row < rows.count; row++) {
		status = read_row(stmt, (struct cell){&rows, row, 0, scope->arena},
		                  list + (size_t)row * stmt->row_size_bytes);
		if (status != ST_OK)
			return status;
	}
	*(void **)ret_rows = list;
	*ret_count = (size_t)rows.count;
	return ST_OK;
}
