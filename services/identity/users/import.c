/* Import: a batch of rows, each checked by itself, all new ones written in one statement. */
#include "base/clock.h"
#include "credentials/password.h"
#include "identity_sql.gen.h"
#include "rules.h"
#include "users/user.h"
#include "users/value_map.h"

#include <string.h>

#define ROWS_MAX 500

enum { FOUND_LOGIN, FOUND_EXTERNAL, FOUND_OPERATION }; /* kind of import_find */

/* ---- one import ---- */

struct row {
	Identity__Rows__User user;
	struct logins logins;
	char *hash;   /* of a plain password, made once */
	struct id id; /* of the user, new or found */
	bool fresh;   /* to be inserted */
};
struct import {
	struct call *call;
	const Identity__ImportUsersRequest *request;
	struct row *rows;
	Identity__ImportResult *results, **list;
	size_t value_count; /* login and external ids of fresh rows */
};

/* The login ids and the external id: what one user only may have. */
static size_t row_value_count(const struct row *row)
{
	return row->logins.count + (!!row->user.external_id);
}

/* Notes the refusal that is recorded in the call as the row's result. */
static void row_refuse(struct import *import, size_t i, enum status status)
{
	Identity__ImportResult *result = &import->results[i];
	result->status = (char *)"error";
	result->code = (char *)status_name((int)status);
	result->field = (char *)import->call->field;
	result->detail = (char *)import->call->reason;
	import->call->field = import->call->reason = NULL;
}

static enum status row_check_password(struct call *call, const Identity__ImportRow *input)
{
	struct password_info info;
	rules_reason reason = input->password ? rules_password_check(input->password) : NULL;
	if (reason)
		return call_fail(call, ST_INVALID_ARGUMENT, "password", "%s", reason);
	if (input->password && input->password_hash)
		return call_fail(call, ST_INVALID_ARGUMENT, "password_hash",
		                 "A row has a password or its hash, not both");
	if (input->password_hash && !password_inspect(input->password_hash, &info))
		return call_fail(call, ST_INVALID_ARGUMENT, "password_hash",
		                 "It is not a hash of an accepted algorithm within the accepted cost");
	return ST_OK;
}

static enum status row_from_input(struct import *import, const struct attributes *schema, size_t i, int64_t now_us)
{
	struct call *call = import->call;
	const Identity__ImportRow *input = import->request->rows[i];
	struct row *row = &import->rows[i];
	Identity__Rows__User user;
	if (input->has_created_at_us && (input->created_at_us <= 0 || input->created_at_us > now_us))
		return call_fail(call, ST_INVALID_ARGUMENT, "created_at", "It must not be in the future");
	enum status status = row_check_password(call, input);
	if (status == ST_OK)
		status = user_begin(call, now_us, &user);
	if (status == ST_OK)
		status = user_apply(call, &input->base, schema, &user);
	if (status == ST_OK)
		status = user_derive(call, &user);
	if (status != ST_OK)
		return status;
	user_set_password(&user, input->password ? row->hash : input->password_hash);
	row->user = user;
	row->id = id_from_bytes(user.user_id);
	row->logins = user_logins(call->arena, &user);
	row->fresh = row->logins.list;
	import->value_count += row_value_count(row);
	return row->logins.list ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

/* Checks every row; a bad one gets its result and does not stop the others. */
static enum status import_check_rows(struct import *import, const struct attributes *schema)
{
	int64_t now_us = clock_wall_us();
	import->value_count = 0;
	for (size_t i = 0; i < import->request->n_rows; i++) {
		identity__import_result__init(&import->results[i]);
		import->results[i].has_line = true;
		import->results[i].line =
		    (import->request->has_first_line ? import->request->first_line : 1) + (uint32_t)i;
		import->rows[i].fresh = false;
		enum status status = row_from_input(import, schema, i, now_us);
		if (status == ST_INVALID_ARGUMENT)
			row_refuse(import, i, status);
		else if (status != ST_OK)
			return status;
	}
	return ST_OK;
}

/* All values of the fresh rows as one look-up. */
static bool import_lookup(struct import *import, struct sql_import_find *ret_params)
{
	const char **logins = arena_alloc(import->call->arena, (import->value_count + 1) * sizeof(*logins));
	const char **external_ids = arena_alloc(import->call->arena, (import->value_count + 1) * sizeof(*external_ids));
	if (!logins || !external_ids)
		return false;
	*ret_params = (struct sql_import_find){.logins = {logins, 0}, .external_ids = {external_ids, 0}};
	for (size_t i = 0; i < import->request->n_rows; i++) {
		const struct row *row = &import->rows[i];
		if (!row->fresh)
			continue;
		for (size_t j = 0; j < row->logins.count; j++)
			logins[ret_params->logins.count++] = row->logins.list[j];
		if (row->user.external_id)
			external_ids[ret_params->external_ids.count++] = row->user.external_id;
	}
	return true;
}

/* The slot of one of the row's values: its login ids, then its external id. */
static const struct value_slot *row_slot(const struct value_map *taken, const struct row *row, size_t value)
{
	if (value == row->logins.count)
		return value_map_slot(taken, VALUE_EXTERNAL, row->user.external_id);
	return value_map_slot(taken, VALUE_LOGIN, row->logins.list[value]);
}

/* A row that has only something in common with a user is not that user: to call it `exists` would lose it unseen. */
static enum status row_refuse_taken(struct import *import, const struct row *row, const struct value_slot *slot,
                                    size_t i)
{
	bool email = slot->kind == VALUE_LOGIN && row->user.email && strcmp(slot->value, row->user.email) == 0;
	const char *field = slot->kind == VALUE_EXTERNAL ? "external_id" : email ? "email" : "login_ids";
	const char *owner = call_id_text(import->call, "usr", slot->owner);
	if (!owner)
		return ST_RESOURCE_EXHAUSTED;
	row_refuse(import, i,
	           call_fail(import->call, ST_ALREADY_EXISTS, field,
	                     "It belongs to %s, who does not have every login id and external id of this row", owner));
	return ST_OK;
}

static enum status row_claim(struct import *import, const struct value_map *taken, size_t i)
{
	struct row *row = &import->rows[i];
	Identity__ImportResult *result = &import->results[i];
	const struct value_slot *first = NULL;
	size_t values = row_value_count(row), owned = 0;
	for (size_t j = 0; j < values; j++) {
		const struct value_slot *slot = row_slot(taken, row, j);
		if (slot->value && !first)
			first = slot;
		owned += slot->value && id_equal(slot->owner, first->owner);
	}
	row->fresh = !first;
	if (first && owned < values)
		return row_refuse_taken(import, row, first, i);
	result->status = (char *)(first ? "exists" : "created");
	result->id = call_id_text(import->call, "usr", first ? first->owner : &row->id);
	for (size_t j = 0; !first && j < row->logins.count; j++)
		value_map_put(taken, VALUE_LOGIN, row->logins.list[j], &row->id);
	if (!first && row->user.external_id)
		value_map_put(taken, VALUE_EXTERNAL, row->user.external_id, &row->id);
	return result->id ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

/* Finds which rows exist: in the database, or before in this batch. */
static enum status import_match_rows(struct import *import)
{
	struct call *call = import->call;
	struct sql_import_find params;
	struct sql_import_find_row *found;
	struct value_map taken;
	size_t count;
	if (!import_lookup(import, &params))
		return ST_RESOURCE_EXHAUSTED;
	params.operation_id = &call->operation;
	enum status status = call_all(call, &sql_import_find, &params, &found, &count);
	if (status != ST_OK)
		return status;
	if (!value_map_init(call->arena, count + import->value_count, &taken))
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < count; i++) {
		if (found[i].kind == FOUND_OPERATION)
			return ST_ALREADY_EXISTS; /* this very batch was written before: its reply is on record */
		value_map_put(&taken, found[i].kind == FOUND_EXTERNAL ? VALUE_EXTERNAL : VALUE_LOGIN, found[i].value,
		              &found[i].user_id);
	}
	for (size_t i = 0; i < import->request->n_rows && status == ST_OK; i++)
		if (import->rows[i].fresh)
			status = row_claim(import, &taken, i);
	return status;
}

/* Hashes the plain passwords of fresh rows, once for all attempts. */
static enum status import_hash_passwords(struct import *import)
{
	struct call *call = import->call;
	size_t count = 0, rows = import->request->n_rows;
	struct pool_request *requests = arena_alloc(call->arena, (rows + 1) * sizeof(*requests));
	size_t *owners = arena_alloc(call->arena, (rows + 1) * sizeof(*owners));
	enum status *statuses = arena_alloc(call->arena, (rows + 1) * sizeof(*statuses));
	if (!requests || !owners || !statuses)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < rows; i++) {
		const char *password = import->request->rows[i]->password;
		if (!import->rows[i].fresh || !password || import->rows[i].hash)
			continue;
		owners[count] = i;
		requests[count++] = (struct pool_request){
		    .project = call->project, .password = password, .deadline_us = call->deadline_us};
	}
	if (count == 0)
		return ST_OK;
	struct pool_reply *replies = arena_alloc(call->arena, count * sizeof(*replies));
	if (!replies)
		return ST_RESOURCE_EXHAUSTED;
	pool_run_many(identity_state(call)->pool, requests, count, statuses, replies);
	for (size_t i = 0; i < count; i++) {
		if (statuses[i] != ST_OK)
			return statuses[i];
		struct row *row = &import->rows[owners[i]];
		row->hash = replies[i].hash;
		user_set_password(&row->user, row->hash);
	}
	return ST_OK;
}

/* ---- the write ---- */

/* The fresh rows as parameters of one statement, and their events. */
struct batch {
	const ProtobufCMessage **users;
	const char **logins;
	struct id *login_users;
	struct db_blob *events;
	size_t count, login_count;
};

static enum status batch_alloc(struct import *import, struct batch *ret_batch)
{
	struct arena *arena = import->call->arena;
	size_t rows = import->request->n_rows + 1, values = import->value_count + 1;
	ret_batch->users = arena_alloc(arena, rows * sizeof(*ret_batch->users));
	ret_batch->events = arena_alloc(arena, rows * sizeof(*ret_batch->events));
	ret_batch->logins = arena_alloc(arena, values * sizeof(*ret_batch->logins));
	ret_batch->login_users = arena_alloc(arena, values * sizeof(*ret_batch->login_users));
	bool ok = ret_batch->users && ret_batch->events && ret_batch->logins && ret_batch->login_users;
	return ok ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

static enum status batch_add(struct change *change, const struct row *row, struct batch *batch)
{
	Events__Event event;
	/* Without the values: a change feed of millions of them would be the import once more. */
	if (user_event_begin(change->call, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_CREATED, &row->user, &event) != ST_OK)
		return ST_RESOURCE_EXHAUSTED;
	struct packed packed = call_event(change->call, &event);
	batch->events[batch->count] = (struct db_blob){packed.data, packed.len};
	batch->users[batch->count++] = &row->user.base;
	for (size_t i = 0; i < row->logins.count; i++) {
		batch->logins[batch->login_count] = row->logins.list[i];
		batch->login_users[batch->login_count++] = row->id;
	}
	return packed.data ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

static enum status import_write(struct change *change, int64_t schema_version)
{
	struct import *import = change->arg;
	struct batch batch = {0};
	enum status status = batch_alloc(import, &batch);
	for (size_t i = 0; i < import->request->n_rows && status == ST_OK; i++)
		if (import->rows[i].fresh)
			status = batch_add(change, &import->rows[i], &batch);
	if (status != ST_OK || batch.count == 0)
		return status;
	change_events(change, batch.events, batch.count);
	struct sql_import_insert params = {.users = {batch.users, batch.count},
	                                   .logins = {batch.logins, batch.login_count},
	                                   .login_users = {batch.login_users, batch.login_count},
	                                   .schema_version = schema_version};
	status = change_write(change, &sql_import_insert, &params);
	/* Somebody took a value in between: look again. */
	bool taken =
	    status == ST_ALREADY_EXISTS && change->conflict &&
	    (strcmp(change->conflict, "login_id_pkey") == 0 || strcmp(change->conflict, "users_external_id") == 0);
	return taken ? ST_ABORTED : status;
}

static enum status import_try(struct change *change)
{
	struct import *import = change->arg;
	Identity__ImportUsersReply *reply = change->reply;
	struct attributes schema;
	reply->results = import->list;
	reply->n_results = import->request->n_rows;
	enum status status = identity_schema(import->call, change->attempt > 0, &schema);
	if (status == ST_OK)
		status = import_check_rows(import, &schema);
	if (status == ST_OK)
		status = import_match_rows(import);
	if (status == ST_OK)
		status = import_hash_passwords(import);
	return status == ST_OK ? import_write(change, schema.version) : status;
}

enum status h_import_users(struct call *call, const Identity__ImportUsersRequest *request,
                           Identity__ImportUsersReply *reply)
{
	struct import import = {.call = call, .request = request};
	size_t rows = request->n_rows;
	if (rows > ROWS_MAX)
		return call_fail(call, ST_INVALID_ARGUMENT, "rows", "A batch has at most %d rows", ROWS_MAX);
	import.rows = arena_alloc(call->arena, (rows + 1) * sizeof(*import.rows));
	import.results = arena_alloc(call->arena, (rows + 1) * sizeof(*import.results));
	import.list = arena_alloc(call->arena, (rows + 1) * sizeof(*import.list));
	if (!import.rows || !import.results || !import.list)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < rows; i++)
		import.list[i] = &import.results[i];
	return change_run(call, request, reply, import_try, &import);
}
