/* Statements over the schema of custom attributes. */
#include "store.h"
#include "store_row.h"

enum status store_schema_get(struct store *store, int64_t *ret_version, const char **ret_definitions)
{
	static const struct db_stmt stmt = {
	    "schema_get", "SELECT version, definitions FROM attribute_schema WHERE project_id = $1", DB_READ};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	enum status status = store_run(store, &stmt, &args, &rows);
	if (status != ST_OK)
		return status;
	*ret_version = rows.count ? db_int(&rows, 0, 0) : 0;
	*ret_definitions = rows.count ? db_json(&rows, 0, 1) : "[]";
	return ST_OK;
}

enum status store_schema_put(struct store *store, int64_t version, const char *definitions,
                             const struct store_effects *effects)
{
	static const struct db_stmt stmt = {
	    "schema_put",
	    "WITH w AS (INSERT INTO attribute_schema AS t (project_id, version, definitions) SELECT $1, $2, $3 "
	    "WHERE $2 = 1 OR EXISTS (SELECT 1 FROM attribute_schema WHERE project_id = $1) "
	    "ON CONFLICT (project_id) DO UPDATE SET version = excluded.version, definitions = excluded.definitions "
	    "WHERE t.version = excluded.version - 1 RETURNING 1), " SQL_OUTBOX("$4", "$10") ", " SQL_OPERATION(
	        "$5", "$6", "$7", "$8", "$9") " SELECT 1 FROM w",
	    DB_WRITE};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	db_arg_int8(&args, version);
	db_arg_jsonb(&args, store->arena, definitions);
	store_arg_effects(&args, effects);
	db_arg_bool(&args, effects->revokes);
	enum status status = store_run(store, &stmt, &args, &rows);
	return status == ST_OK && rows.count == 0 ? ST_ABORTED : status;
}
