/* Import: a batch of rows, each checked by itself, all new ones written in one statement. */
#include "base/clock.h"
#include "ledger/event.h"
#include "password.h"
#include "record.h"
#include "rules.h"
#include "service.h"

#include <string.h>

#define ROWS_MAX 500
#define TRIES 5

/* ---- values that are taken: by users in the database or by rows before in the batch ---- */

struct taken {
	const char *value; /* NULL = free slot */
	bool external_id;  /* else a login id */
	struct id user;
};
struct taken_set {
	struct taken *slots;
	size_t mask;
};

static bool taken_init(struct arena *arena, size_t values, struct taken_set *ret_set)
{
	size_t slots = 64;
	while (slots < 2 * values)
		slots *= 2;
	ret_set->slots = arena_alloc(arena, slots * sizeof(*ret_set->slots));
	ret_set->mask = slots - 1;
	return ret_set->slots != NULL;
}

/* The slot of the value, or the free one where it belongs. */
static struct taken *taken_slot(const struct taken_set *set, bool external_id, const char *value)
{
	uint64_t hash = external_id ? 0x9e3779b97f4a7c15 : 0xcbf29ce484222325; /* FNV-1a */
	for (const unsigned char *at = (const unsigned char *)value; *at; at++)
		hash = (hash ^ *at) * 0x100000001b3;
	size_t i = hash & set->mask;
	while (set->slots[i].value &&
	       (set->slots[i].external_id != external_id || strcmp(set->slots[i].value, value) != 0))
		i = (i + 1) & set->mask;
	return &set->slots[i];
}

static void taken_add(const struct taken_set *set, bool external_id, const char *value, const struct id *user)
{
	*taken_slot(set, external_id, value) = (struct taken){value, external_id, *user};
}

/* ---- one import ---- */

struct row {
	struct user user;
	struct logins logins;
	const char *hash; /* of a plain password, made once */
	bool fresh;       /* to be inserted */
};
struct import {
	struct call *call;
	const Identity__ImportUsersRequest *request;
	struct row *rows;
	Identity__ImportResult *results;
	size_t value_count; /* login and external ids of fresh rows */
};

/* The login ids and the external id: what one user only may have. */
static size_t row_value_count(const struct row *row)
{
	return row->logins.count + (row->user.external_id != NULL);
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
	struct record_input fields = RECORD_INPUT(input);
	struct row *row = &import->rows[i];
	struct user user = {.id = id_new(), .status = USER_ACTIVE, .created_at_us = now_us, .updated_at_us = now_us};
	enum status status = row_check_password(call, input);
	if (status == ST_OK && input->has_created_at_us && (input->created_at_us <= 0 || input->created_at_us > now_us))
		status = call_fail(call, ST_INVALID_ARGUMENT, "created_at", "It must not be in the future");
	if (status == ST_OK)
		status = record_apply(call, &fields, schema, &user);
	if (status != ST_OK)
		return status;
	if (input->has_created_at_us)
		user.created_at_us = input->created_at_us;
	user.password_hash = input->password ? row->hash : input->password_hash;
	user.version = 1;
	row->user = user;
	row->logins = record_logins(call->arena, &user);
	row->fresh = row->logins.list != NULL;
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
static bool import_lookup(struct import *import, struct user_lookup *ret_lookup)
{
	const char **logins = arena_alloc(import->call->arena, (import->value_count + 1) * sizeof(*logins));
	const char **external_ids = arena_alloc(import->call->arena, (import->value_count + 1) * sizeof(*external_ids));
	if (!logins || !external_ids)
		return false;
	*ret_lookup = (struct user_lookup){.logins = logins, .external_ids = external_ids};
	for (size_t i = 0; i < import->request->n_rows; i++) {
		const struct row *row = &import->rows[i];
		if (!row->fresh)
			continue;
		for (size_t j = 0; j < row->logins.count; j++)
			logins[ret_lookup->login_count++] = row->logins.list[j];
		if (row->user.external_id)
			external_ids[ret_lookup->external_id_count++] = row->user.external_id;
	}
	return true;
}

/* The slot of one of the row's values: its login ids, then its external id. */
static const struct taken *row_slot(const struct taken_set *set, const struct row *row, size_t value)
{
	if (value == row->logins.count)
		return taken_slot(set, true, row->user.external_id);
	return taken_slot(set, false, row->logins.list[value]);
}

/* A row that has only something in common with a user is not that user: to call it `exists` would lose it unseen. */
static enum status row_refuse_taken(struct import *import, const struct row *row, const struct taken *taken, size_t i)
{
	bool email = !taken->external_id && row->user.email && strcmp(taken->value, row->user.email) == 0;
	const char *field = taken->external_id ? "external_id" : email ? "email" : "login_ids";
	const char *owner = identity_id_text(import->call, "usr", &taken->user);
	if (!owner)
		return ST_RESOURCE_EXHAUSTED;
	row_refuse(import, i,
	           call_fail(import->call, ST_ALREADY_EXISTS, field,
	                     "It belongs to %s, who does not have every login id and external id of this row", owner));
	return ST_OK;
}

static enum status row_claim(struct import *import, const struct taken_set *set, size_t i)
{
	struct row *row = &import->rows[i];
	Identity__ImportResult *result = &import->results[i];
	const struct taken *taken = NULL;
	size_t values = row_value_count(row), owned = 0;
	for (size_t j = 0; j < values; j++) {
		const struct taken *slot = row_slot(set, row, j);
		if (slot->value && !taken)
			taken = slot;
		owned += slot->value && id_equal(&slot->user, &taken->user);
	}
	row->fresh = taken == NULL;
	if (taken && owned < values)
		return row_refuse_taken(import, row, taken, i);
	result->status = (char *)(taken ? "exists" : "created");
	result->id = identity_id_text(import->call, "usr", taken ? &taken->user : &row->user.id);
	for (size_t j = 0; !taken && j < row->logins.count; j++)
		taken_add(set, false, row->logins.list[j], &row->user.id);
	if (!taken && row->user.external_id)
		taken_add(set, true, row->user.external_id, &row->user.id);
	return result->id ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

/* Finds which rows exist: in the database, or before in this batch. */
static enum status import_match_rows(struct import *import)
{
	struct call *call = import->call;
	struct store store = identity_store(call);
	struct user_lookup lookup;
	struct import_found found;
	struct taken_set set;
	if (!import_lookup(import, &lookup))
		return ST_RESOURCE_EXHAUSTED;
	enum status status = store_import_find(&store, &lookup, &call->operation, &found);
	if (status == ST_OK && found.done)
		return ST_ALREADY_EXISTS; /* this very batch was written before: its reply is on record */
	if (status != ST_OK)
		return status;
	if (!taken_init(call->arena, found.count + import->value_count, &set))
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < found.count; i++)
		taken_add(&set, found.matches[i].external_id, found.matches[i].value, &found.matches[i].user);
	for (size_t i = 0; i < import->request->n_rows && status == ST_OK; i++)
		if (import->rows[i].fresh)
			status = row_claim(import, &set, i);
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
		import->rows[owners[i]].hash = replies[i].hash;
		import->rows[owners[i]].user.password_hash = replies[i].hash;
	}
	return ST_OK;
}

/* ---- the write ---- */

static enum status batch_alloc(struct import *import, struct store_import *ret_batch)
{
	struct arena *arena = import->call->arena;
	size_t rows = import->request->n_rows + 1;
	ret_batch->users = arena_alloc(arena, rows * sizeof(*ret_batch->users));
	ret_batch->search_texts = arena_alloc(arena, rows * sizeof(*ret_batch->search_texts));
	ret_batch->events = arena_alloc(arena, rows * sizeof(*ret_batch->events));
	ret_batch->logins = arena_alloc(arena, (import->value_count + 1) * sizeof(*ret_batch->logins));
	ret_batch->login_users = arena_alloc(arena, (import->value_count + 1) * sizeof(*ret_batch->login_users));
	return ret_batch->users && ret_batch->search_texts && ret_batch->events && ret_batch->logins &&
	               ret_batch->login_users
	           ? ST_OK
	           : ST_RESOURCE_EXHAUSTED;
}

static enum status batch_add(struct import *import, const struct row *row, struct store_import *batch)
{
	struct call *call = import->call;
	Events__Event event;
	size_t i = batch->count;
	((struct user *)batch->users)[i] = row->user;
	((const char **)batch->search_texts)[i] = record_search_text(call->arena, &row->user);
	enum status status = record_event(call, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_CREATED, NULL, &row->user, &event);
	if (status != ST_OK || !batch->search_texts[i])
		return ST_RESOURCE_EXHAUSTED;
	struct packed packed = call_event(call, &event);
	((struct db_blob *)batch->events)[i] = (struct db_blob){packed.data, packed.len};
	for (size_t j = 0; j < row->logins.count; j++) {
		((const char **)batch->logins)[batch->login_count] = row->logins.list[j];
		((struct id *)batch->login_users)[batch->login_count++] = row->user.id;
	}
	batch->count++;
	return ST_OK;
}

static enum status import_write(struct import *import, int64_t schema_version, const ProtobufCMessage *reply)
{
	struct call *call = import->call;
	struct store store = identity_store(call);
	struct store_import batch = {.schema_version = schema_version};
	enum status status = batch_alloc(import, &batch);
	for (size_t i = 0; i < import->request->n_rows && status == ST_OK; i++)
		if (import->rows[i].fresh)
			status = batch_add(import, &import->rows[i], &batch);
	if (status != ST_OK || batch.count == 0)
		return status;
	struct store_effects effects = identity_effects(call, reply, NULL);
	effects.revokes = event_facts(EVENTS__EVENT_TYPE__EVENT_TYPE_USER_CREATED)->revokes;
	status = store_import_insert(&store, &batch, &effects);
	/* Somebody took a value in between: look again. */
	if (status == ST_ALREADY_EXISTS && store.conflict &&
	    (strcmp(store.conflict, "login_id_pkey") == 0 || strcmp(store.conflict, "users_external_id") == 0))
		status = ST_ABORTED;
	if (status == ST_OK)
		call_committed(call);
	return status;
}

static enum status import_try(struct import *import, bool fresh, const ProtobufCMessage *reply)
{
	struct attributes schema;
	enum status status = identity_schema(import->call, fresh, &schema);
	if (status == ST_OK)
		status = import_check_rows(import, &schema);
	if (status == ST_OK)
		status = import_match_rows(import);
	if (status == ST_OK)
		status = import_hash_passwords(import);
	return status == ST_OK ? import_write(import, schema.version, reply) : status;
}

enum status h_import_users(struct call *call, const Identity__ImportUsersRequest *request,
                           Identity__ImportUsersReply *reply)
{
	struct import import = {.call = call, .request = request};
	size_t rows = import.request->n_rows;
	enum status status = ST_ABORTED;
	if (rows > ROWS_MAX)
		return call_fail(call, ST_INVALID_ARGUMENT, "rows", "A batch has at most %d rows", ROWS_MAX);
	import.rows = arena_alloc(call->arena, (rows + 1) * sizeof(*import.rows));
	import.results = arena_alloc(call->arena, (rows + 1) * sizeof(*import.results));
	reply->results = arena_alloc(call->arena, (rows + 1) * sizeof(*reply->results));
	if (!import.rows || !import.results || !reply->results)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < rows; i++)
		reply->results[i] = &import.results[i];
	reply->n_results = rows;
	for (int i = 0; i < TRIES && status == ST_ABORTED; i++)
		status = import_try(&import, i > 0, &reply->base);
	return status;
}
