/* Statements over projects and keys. */
#include "store.h"
#include "store_row.h"

#include <string.h>

enum status store_project_get(struct store *store, struct project *ret_project)
{
	static const struct db_stmt stmt = {
	    "project_get", "SELECT name, platform, created_at_us FROM project WHERE project_id = $1", DB_READ};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	enum status status = store_run(store, &stmt, &args, &rows);
	if (status == ST_OK && rows.count == 0)
		status = ST_NOT_FOUND;
	if (status == ST_OK)
		*ret_project =
		    (struct project){store->project, db_text(&rows, 0, 0), db_bool(&rows, 0, 1), db_int(&rows, 0, 2)};
	return status;
}

enum status store_project_platform(struct store *store, struct id *ret_project)
{
	static const struct db_stmt stmt = {"project_platform", "SELECT project_id FROM project WHERE platform",
	                                    DB_READ};
	struct db_args args = {0};
	struct db_rows rows = {0};
	enum status status = store_run(store, &stmt, &args, &rows);
	if (status == ST_OK && rows.count == 0)
		status = ST_NOT_FOUND;
	if (status == ST_OK)
		*ret_project = db_id(&rows, 0, 0);
	return status;
}

enum status store_project_list(struct store *store, const struct id *after, int limit, struct project_page *ret_page)
{
	static const struct db_stmt stmt = {
	    "project_list",
	    "WITH t AS (SELECT count(*)::int8 AS n FROM project), "
	    "s AS (SELECT * FROM project WHERE project_id > $1 ORDER BY project_id LIMIT $2) "
	    "SELECT t.n, s.project_id, s.name, s.platform, s.created_at_us FROM t LEFT JOIN s ON true ORDER BY 2",
	    DB_READ};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, after);
	db_arg_int8(&args, limit);
	enum status status = store_run(store, &stmt, &args, &rows);
	if (status != ST_OK)
		return status;
	struct project *projects = arena_alloc(store->arena, (size_t)(rows.count + 1) * sizeof(*projects));
	size_t count = 0;
	if (!projects)
		return ST_RESOURCE_EXHAUSTED;
	for (int row = 0; row < rows.count; row++)
		if (!db_null(&rows, row, 1))
			projects[count++] = (struct project){db_id(&rows, row, 1), db_text(&rows, row, 2),
			                                     db_bool(&rows, row, 3), db_int(&rows, row, 4)};
	*ret_page = (struct project_page){projects, count, db_int(&rows, 0, 0)};
	return ST_OK;
}

/* Key id, kind, name, scopes, prefix, version, created, expires. */
static void args_add_key(struct db_args *args, struct arena *arena, const struct key *key)
{
	db_arg_id(args, &key->id);
	db_arg_int2(args, key->kind);
	db_arg_text(args, key->name);
	db_arg_texts(args, arena, (const char *const *)key->scopes, key->scope_count);
	db_arg_text(args, key->prefix);
	db_arg_int8(args, key->version);
	db_arg_int8(args, key->created_at_us);
	db_arg_int8_or_null(args, key->expires_at_us != 0, key->expires_at_us);
}

enum status store_project_create(struct store *store, const struct store_new_project *created,
                                 const struct store_effects *effects)
{
	static const struct db_stmt stmt = {
	    "project_create",
	    "WITH w AS (INSERT INTO project (project_id, name, platform, "
	    "created_at_us) VALUES ($2, $3, $4, $5) RETURNING 1), "
	    "k AS (INSERT INTO api_key (project_id, key_id, kind, name, scopes, "
	    "prefix, version, created_at_us, expires_at_us) "
	    "SELECT $2, $6, $7, $8, $9, $10, $11, $12, $13 FROM w), "
	    "s AS (INSERT INTO key_secret (secret_hash, project_id, key_id, "
	    "expires_at_us) SELECT $14, $2, $6, $13 FROM w), "
	    "o AS (INSERT INTO outbox (project_id, event, revokes) SELECT $2, e.event, $22 FROM w, "
	    "(VALUES (1, $15), (2, $21)) e (n, event) ORDER BY e.n), " SQL_OPERATION("$16", "$17", "$18", "$19",
	                                                                             "$20") " SELECT 1 FROM w",
	    DB_WRITE};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	db_arg_id(&args, &created->project->id);
	db_arg_text(&args, created->project->name);
	db_arg_bool(&args, created->project->platform);
	db_arg_int8(&args, created->project->created_at_us);
	args_add_key(&args, store->arena, created->key);
	db_arg_bytes(&args, created->secret_hash, SHA256_SIZE);
	store_arg_effects(&args, effects);
	db_arg_bytes(&args, created->key_event, created->key_event_len);
	db_arg_bool(&args, effects->revokes);
	return store_run(store, &stmt, &args, &rows);
}

enum status store_key_create(struct store *store, const struct key *key, const uint8_t secret_hash[SHA256_SIZE],
                             const struct store_effects *effects)
{
	static const struct db_stmt stmt = {
	    "key_create",
	    "WITH w AS (INSERT INTO api_key (project_id, key_id, kind, name, scopes, prefix, version, created_at_us, "
	    "expires_at_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING 1), "
	    "s AS (INSERT INTO key_secret (secret_hash, project_id, key_id, expires_at_us) SELECT $10, $1, $2, $9 FROM "
	    "w), " SQL_OUTBOX("$11", "$17") ", " SQL_OPERATION("$12", "$13", "$14", "$15", "$16") " SELECT 1 FROM w",
	    DB_WRITE};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	args_add_key(&args, store->arena, key);
	db_arg_bytes(&args, secret_hash, SHA256_SIZE);
	store_arg_effects(&args, effects);
	db_arg_bool(&args, effects->revokes);
	return store_run(store, &stmt, &args, &rows);
}

#define KEY_COLUMNS "k.key_id, k.kind, k.name, k.scopes, k.prefix, k.version, k.created_at_us, k.expires_at_us"

static enum status key_from_row(struct store *store, const struct db_rows *rows, int row, int first,
                                struct key *ret_key)
{
	struct key key = {.id = db_id(rows, row, first)};
	key.kind = (int16_t)db_int(rows, row, first + 1);
	key.name = db_text(rows, row, first + 2);
	enum status status = db_text_array(rows, row, first + 3, store->arena, &key.scopes, &key.scope_count);
	key.prefix = db_text(rows, row, first + 4);
	key.version = db_int(rows, row, first + 5);
	key.created_at_us = db_int(rows, row, first + 6);
	key.expires_at_us = db_int(rows, row, first + 7);
	if (status == ST_OK)
		*ret_key = key;
	return status;
}

enum status store_key_get(struct store *store, const struct id *key_id, struct key *ret_key)
{
	static const struct db_stmt stmt = {"key_get",
	                                    "SELECT " KEY_COLUMNS " FROM api_key k WHERE k.project_id = $1 "
	                                    "AND k.key_id = $2 AND k.revoked_at_us IS NULL",
	                                    DB_READ};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	db_arg_id(&args, key_id);
	enum status status = store_run(store, &stmt, &args, &rows);
	if (status == ST_OK && rows.count == 0)
		status = ST_NOT_FOUND;
	return status == ST_OK ? key_from_row(store, &rows, 0, 0, ret_key) : status;
}

enum status store_key_list(struct store *store, const struct id *before, int limit, struct key_page *ret_page)
{
	static const struct db_stmt stmt = {
	    "key_list",
	    "WITH t AS (SELECT count(*)::int8 AS n FROM api_key WHERE project_id = $1 AND revoked_at_us IS NULL), "
	    "k AS (SELECT * FROM api_key WHERE project_id = $1 AND revoked_at_us IS NULL AND key_id < $2 "
	    "ORDER BY key_id DESC LIMIT $3) "
	    "SELECT t.n, " KEY_COLUMNS " FROM t LEFT JOIN k ON true ORDER BY k.key_id DESC",
	    DB_READ};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	db_arg_id(&args, before);
	db_arg_int8(&args, limit);
	enum status status = store_run(store, &stmt, &args, &rows);
	if (status != ST_OK)
		return status;
	struct key *keys = arena_alloc(store->arena, (size_t)(rows.count + 1) * sizeof(*keys));
	size_t count = 0;
	if (!keys)
		return ST_RESOURCE_EXHAUSTED;
	for (int row = 0; row < rows.count && status == ST_OK; row++)
		if (!db_null(&rows, row, 1))
			status = key_from_row(store, &rows, row, 1, &keys[count++]);
	if (status != ST_OK)
		return status;
	*ret_page = (struct key_page){keys, count, db_int(&rows, 0, 0)};
	return ST_OK;
}

enum status store_key_revoke(struct store *store, const struct id *key_id, int64_t at_us,
                             const struct store_effects *effects)
{
	static const struct db_stmt stmt = {
	    "key_revoke",
	    "WITH w AS (UPDATE api_key SET revoked_at_us = $3, version = version + 1 WHERE project_id = $1 AND key_id "
	    "= $2 "
	    "AND revoked_at_us IS NULL RETURNING 1), "
	    "s AS (DELETE FROM key_secret USING w WHERE project_id = $1 AND key_id = $2), " SQL_OUTBOX(
	        "$4", "$10") ", " SQL_OPERATION("$5", "$6", "$7", "$8", "$9") " SELECT 1 FROM w",
	    DB_WRITE};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	db_arg_id(&args, key_id);
	db_arg_int8(&args, at_us);
	store_arg_effects(&args, effects);
	db_arg_bool(&args, effects->revokes);
	enum status status = store_run(store, &stmt, &args, &rows);
	return status == ST_OK && rows.count == 0 ? ST_NOT_FOUND : status;
}

enum status store_key_rotate(struct store *store, const struct key *key, const uint8_t secret_hash[SHA256_SIZE],
                             int64_t old_until_us, const struct store_effects *effects)
{
	static const struct db_stmt stmt = {
	    "key_rotate",
	    "WITH w AS (UPDATE api_key SET prefix = $3, version = $4 + 1 WHERE project_id = $1 AND key_id = $2 "
	    "AND version = $4 AND revoked_at_us IS NULL RETURNING 1), "
	    "d AS (UPDATE key_secret SET expires_at_us = least(coalesce(expires_at_us, $6), $6) FROM w "
	    "WHERE project_id = $1 AND key_id = $2), "
	    "s AS (INSERT INTO key_secret (secret_hash, project_id, key_id, expires_at_us) SELECT $5, $1, $2, $7 FROM "
	    "w), " SQL_OUTBOX("$8", "$14") ", " SQL_OPERATION("$9", "$10", "$11", "$12", "$13") " SELECT 1 FROM w",
	    DB_WRITE};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	db_arg_id(&args, &key->id);
	db_arg_text(&args, key->prefix);
	db_arg_int8(&args, key->version);
	db_arg_bytes(&args, secret_hash, SHA256_SIZE);
	db_arg_int8(&args, old_until_us);
	db_arg_int8_or_null(&args, key->expires_at_us != 0, key->expires_at_us);
	store_arg_effects(&args, effects);
	db_arg_bool(&args, effects->revokes);
	enum status status = store_run(store, &stmt, &args, &rows);
	return status == ST_OK && rows.count == 0 ? ST_ABORTED : status;
}

enum status store_key_resolve(struct store *store, const uint8_t secret_hash[SHA256_SIZE], int64_t now_us,
                              struct key_owner *ret_owner)
{
	static const struct db_stmt stmt = {
	    "key_resolve",
	    "SELECT s.project_id, s.key_id, k.scopes, s.expires_at_us, p.platform FROM key_secret s "
	    "JOIN api_key k ON k.project_id = s.project_id AND k.key_id = s.key_id "
	    "JOIN project p ON p.project_id = s.project_id "
	    "WHERE s.secret_hash = $1 AND k.revoked_at_us IS NULL AND coalesce(s.expires_at_us > $2, true)",
	    DB_READ};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_bytes(&args, secret_hash, SHA256_SIZE);
	db_arg_int8(&args, now_us);
	enum status status = store_run(store, &stmt, &args, &rows);
	if (status == ST_OK && rows.count == 0)
		status = ST_NOT_FOUND;
	if (status != ST_OK)
		return status;
	struct key_owner owner = {.project = db_id(&rows, 0, 0), .key = db_id(&rows, 0, 1)};
	status = db_text_array(&rows, 0, 2, store->arena, &owner.scopes, &owner.scope_count);
	owner.expires_at_us = db_int(&rows, 0, 3);
	owner.platform = db_bool(&rows, 0, 4);
	if (status == ST_OK)
		*ret_owner = owner;
	return status;
}
