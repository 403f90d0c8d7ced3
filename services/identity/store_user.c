/* Statements over one user. Every write is one statement: row, login ids, counter, event, operation.
 *
 * Postgres runs the parts that nothing reads from the last to the first: the login ids come last in the text so that the wait
 * for a unique value is over before the counter's row is locked, and that lock is held shortly. */
#include "store.h"
#include "store_row.h"

#include <string.h>

enum status store_row_user(const struct db_rows *rows, int row, int first, struct arena *arena, struct user *ret_user)
{
	int at = first;
	struct user user = {.id = db_id(rows, row, at)};
	user.status = (int16_t)db_int(rows, row, ++at);
	user.email = db_text(rows, row, ++at);
	user.email_verified = db_bool(rows, row, ++at);
	user.phone = db_text(rows, row, ++at);
	user.phone_verified = db_bool(rows, row, ++at);
	user.name = db_text(rows, row, ++at);
	user.given_name = db_text(rows, row, ++at);
	user.family_name = db_text(rows, row, ++at);
	user.picture = db_text(rows, row, ++at);
	user.external_id = db_text(rows, row, ++at);
	enum status status = db_text_array(rows, row, ++at, arena, &user.login_ids, &user.login_id_count);
	user.attributes = db_text(rows, row, ++at);
	user.has_password = db_bool(rows, row, ++at);
	user.version = db_int(rows, row, ++at);
	user.epoch = db_int(rows, row, ++at);
	user.created_at_us = db_int(rows, row, ++at);
	user.updated_at_us = db_int(rows, row, ++at);
	if (status == ST_OK)
		*ret_user = user;
	return status;
}

/* The one row of a result, with the password hash in the column behind. */
static enum status user_from_result(struct store *store, const struct db_rows *rows, bool with_hash,
                                    struct user *ret_user)
{
	if (rows->count == 0)
		return ST_NOT_FOUND;
	enum status status = store_row_user(rows, 0, 0, store->arena, ret_user);
	if (status == ST_OK && with_hash)
		ret_user->password_hash = db_text(rows, 0, USER_COLUMNS);
	return status;
}

enum status store_user_show(struct store *store, const struct id *user_id, struct user *ret_user)
{
	static const struct db_stmt together = {
	    "user_show_together",
	    "SELECT k.n, " USER_SHOWN("u") " FROM " DB_TOGETHER_PAIRS " k (project_id, user_id, n) "
	                                   "JOIN users u ON u.project_id = k.project_id AND u.user_id = k.user_id",
	    DB_READ};
	static const struct db_stmt stmt = {
	    "user_show", "SELECT " USER_SHOWN("u") " FROM users u WHERE u.project_id = $1 AND u.user_id = $2", DB_READ,
	    &together};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	db_arg_id(&args, user_id);
	enum status status = store_run(store, &stmt, &args, &rows);
	return status == ST_OK ? user_from_result(store, &rows, false, ret_user) : status;
}

enum status store_user_get(struct store *store, const struct id *user_id, struct user *ret_user)
{
	static const struct db_stmt stmt = {
	    "user_get",
	    "SELECT " USER_SHOWN("u") ", u.password_hash FROM users u WHERE u.project_id = $1 AND u.user_id = $2",
	    DB_READ};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	db_arg_id(&args, user_id);
	enum status status = store_run(store, &stmt, &args, &rows);
	return status == ST_OK ? user_from_result(store, &rows, true, ret_user) : status;
}

enum status store_user_by_login(struct store *store, const char *login, struct user *ret_user)
{
	static const struct db_stmt stmt = {
	    "user_by_login",
	    "SELECT " USER_SHOWN("u") ", u.password_hash FROM login_id l "
	                              "JOIN users u ON u.project_id = l.project_id AND u.user_id = l.user_id "
	                              "WHERE l.project_id = $1 AND l.value = $2",
	    DB_READ};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	db_arg_text(&args, login);
	enum status status = store_run(store, &stmt, &args, &rows);
	return status == ST_OK ? user_from_result(store, &rows, true, ret_user) : status;
}

/* $2..$20: the columns that a create and an update have in common. */
static void args_add_user(struct db_args *args, struct store *store, const struct store_user_write *write)
{
	const struct user *user = write->user;
	db_arg_id(args, &store->project);
	db_arg_id(args, &user->id);
	db_arg_int2(args, user->status);
	db_arg_text(args, user->email);
	db_arg_bool(args, user->email_verified);
	db_arg_text(args, user->phone);
	db_arg_bool(args, user->phone_verified);
	db_arg_text(args, user->name);
	db_arg_text(args, user->given_name);
	db_arg_text(args, user->family_name);
	db_arg_text(args, user->picture);
	db_arg_text(args, user->external_id);
	db_arg_texts(args, store->arena, (const char *const *)user->login_ids, user->login_id_count);
	db_arg_text(args, user->attributes);
	db_arg_text(args, user->password_hash);
	db_arg_int8(args, user->version);
	db_arg_int8(args, user->epoch);
	db_arg_int8(args, user->updated_at_us);
	db_arg_text(args, user->email ? user->email : "");
	db_arg_text(args, write->search_text);
	db_arg_int2(args, write->shard);
	db_arg_texts(args, store->arena, write->logins_added, write->logins_added_count);
	db_arg_int8(args, write->schema_version);
}

enum status store_user_create(struct store *store, const struct store_user_write *write,
                              const struct store_effects *effects)
{
	static const struct db_stmt stmt = {
	    "user_create",
	    "WITH w AS (INSERT INTO users (project_id, user_id, status, email, email_verified, phone, phone_verified, "
	    "name, "
	    "given_name, family_name, picture, external_id, login_ids, attributes, password_hash, version, epoch, "
	    "created_at_us, updated_at_us, email_key, search_text) "
	    "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $30, $18, $19, $20 "
	    "WHERE " SQL_SCHEMA_IS(
	        "$23") " RETURNING 1), "
	               "c AS (INSERT INTO user_count AS t (project_id, status, shard, n) SELECT $1, $3, $21, 1 FROM w "
	               "ON CONFLICT (project_id, status, shard) DO UPDATE SET n = t.n + 1), " SQL_OUTBOX(
	                   "$24",
	                   "$31") ", " SQL_OPERATION("$25", "$26", "$27", "$28",
	                                             "$29") ", "
	                                                    "l AS (INSERT INTO login_id (project_id, value, user_id) "
	                                                    "SELECT $1, v, $2 FROM w, unnest($22) v) "
	                                                    "SELECT 1 FROM w",
	    DB_WRITE};
	struct db_args args = {0};
	struct db_rows rows = {0};
	args_add_user(&args, store, write);
	store_arg_effects(&args, effects);
	db_arg_int8(&args, write->user->created_at_us);
	db_arg_bool(&args, effects->revokes);
	enum status status = store_run(store, &stmt, &args, &rows);
	return status == ST_OK && rows.count == 0 ? ST_ABORTED : status;
}

enum status store_user_update(struct store *store, const struct store_user_write *write,
                              const struct store_effects *effects)
{
	static const struct db_stmt stmt = {
	    "user_update",
	    "WITH w AS (UPDATE users SET status = $3, email = $4, email_verified = $5, phone = $6, phone_verified = "
	    "$7, "
	    "name = $8, given_name = $9, family_name = $10, picture = $11, external_id = $12, login_ids = $13, "
	    "attributes = $14, password_hash = $15, version = $16, epoch = $17, updated_at_us = $18, email_key = $19, "
	    "search_text = $20 WHERE project_id = $1 AND user_id = $2 AND version = $30 AND epoch = $31 "
	    "AND password_hash IS NOT DISTINCT FROM $34 AND " SQL_SCHEMA_IS(
	        "$23") " RETURNING 1), "
	               "c AS (INSERT INTO user_count AS t (project_id, status, shard, n) "
	               "SELECT $1, s.status, $21, s.n FROM w, (VALUES ($3, 1), ($32, -1)) s (status, n) WHERE $3 <> "
	               "$32 "
	               "ORDER BY s.status ON CONFLICT (project_id, status, shard) DO UPDATE SET n = t.n + "
	               "excluded.n), " SQL_OUTBOX("$24", "$35") ", " SQL_OPERATION(
	                   "$25", "$26", "$27", "$28",
	                   "$29") ", "
	                          "d AS (DELETE FROM login_id USING w WHERE cardinality($33) > 0 AND project_id = $1 "
	                          "AND value = ANY ($33) "
	                          "AND user_id = $2), "
	                          "l AS (INSERT INTO login_id (project_id, value, user_id) SELECT $1, v, $2 FROM w, "
	                          "unnest($22) v) "
	                          "SELECT 1 FROM w",
	    DB_WRITE};
	struct db_args args = {0};
	struct db_rows rows = {0};
	args_add_user(&args, store, write);
	store_arg_effects(&args, effects);
	db_arg_int8(&args, write->before->version);
	db_arg_int8(&args, write->before->epoch);
	db_arg_int2(&args, write->before->status);
	db_arg_texts(&args, store->arena, write->logins_removed, write->logins_removed_count);
	db_arg_text(&args, write->before->password_hash);
	db_arg_bool(&args, effects->revokes);
	enum status status = store_run(store, &stmt, &args, &rows);
	return status == ST_OK && rows.count == 0 ? ST_ABORTED : status;
}

enum status store_user_delete(struct store *store, const struct user *before, int16_t shard,
                              const struct store_effects *effects)
{
	static const struct db_stmt stmt = {
	    "user_delete",
	    "WITH w AS (DELETE FROM users WHERE project_id = $1 AND user_id = $2 AND version = $3 AND epoch = $4 "
	    "RETURNING 1), "
	    "c AS (INSERT INTO user_count AS t (project_id, status, shard, n) SELECT $1, $5, $6, -1 FROM w "
	    "ON CONFLICT (project_id, status, shard) DO UPDATE SET n = t.n - 1), " SQL_OUTBOX(
	        "$7", "$15") ", " SQL_OPERATION("$8", "$9", "$10", "$11",
	                                        "$12") ", "
	                                               "l AS (DELETE FROM login_id USING w WHERE project_id = $1 AND "
	                                               "value = $13 AND user_id = $2), "
	                                               "m AS (DELETE FROM login_id USING w WHERE cardinality($14) > 0 "
	                                               "AND project_id = $1 AND value = "
	                                               "ANY ($14) "
	                                               "AND user_id = $2) "
	                                               "SELECT 1 FROM w",
	    DB_WRITE};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	db_arg_id(&args, &before->id);
	db_arg_int8(&args, before->version);
	db_arg_int8(&args, before->epoch);
	db_arg_int2(&args, before->status);
	db_arg_int2(&args, shard);
	store_arg_effects(&args, effects);
	db_arg_text(&args, before->email);
	db_arg_texts(&args, store->arena, (const char *const *)before->login_ids, before->login_id_count);
	db_arg_bool(&args, effects->revokes);
	enum status status = store_run(store, &stmt, &args, &rows);
	return status == ST_OK && rows.count == 0 ? ST_ABORTED : status;
}

enum status store_user_bump_epoch(struct store *store, const struct user *before, const struct store_effects *effects)
{
	static const struct db_stmt stmt = {
	    "user_bump_epoch",
	    "WITH w AS (UPDATE users SET epoch = $3 + 1 WHERE project_id = $1 AND user_id = $2 AND epoch = $3 "
	    "RETURNING 1), " SQL_OUTBOX("$4", "$10") ", " SQL_OPERATION("$5", "$6", "$7", "$8",
	                                                                "$9") " SELECT 1 FROM w",
	    DB_WRITE};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	db_arg_id(&args, &before->id);
	db_arg_int8(&args, before->epoch);
	store_arg_effects(&args, effects);
	db_arg_bool(&args, effects->revokes);
	enum status status = store_run(store, &stmt, &args, &rows);
	return status == ST_OK && rows.count == 0 ? ST_ABORTED : status;
}

enum status store_user_rehash(struct store *store, const struct user *user, const char *new_hash)
{
	static const struct db_stmt stmt = {
	    "user_rehash",
	    "UPDATE users SET password_hash = $4 WHERE project_id = $1 AND user_id = $2 AND password_hash = $3",
	    DB_WRITE};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	db_arg_id(&args, &user->id);
	db_arg_text(&args, user->password_hash);
	db_arg_text(&args, new_hash);
	enum status status = store_run(store, &stmt, &args, &rows);
	return status == ST_OK && rows.affected == 0 ? ST_ABORTED : status;
}
