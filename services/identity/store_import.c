/* Statements of the import: one read that finds what exists, one write for all rows of a batch. */
#include "store.h"
#include "store_row.h"

#include <string.h>

enum status store_import_find(struct store *store, const struct user_lookup *lookup, const struct id *operation,
                              struct import_found *ret_found)
{
	static const struct db_stmt stmt = {
	    "import_find",
	    "SELECT 0::int2, v, m.user_id FROM unnest($2) v, " SQL_LOGIN_OWNER(
	        "v") " "
	             "UNION ALL SELECT 1::int2, e, m.user_id FROM unnest($3) e, " SQL_EXTERNAL_OWNER(
	                 "e") " "
	                      "UNION ALL SELECT 2::int2, '', operation_id FROM operation WHERE project_id = $1 AND "
	                      "operation_id = $4",
	    DB_READ};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	db_arg_texts(&args, store->arena, lookup->logins, lookup->login_count);
	db_arg_texts(&args, store->arena, lookup->external_ids, lookup->external_id_count);
	db_arg_id(&args, operation);
	enum status status = store_run(store, &stmt, &args, &rows);
	if (status != ST_OK)
		return status;
	struct import_found found = {.matches =
	                                 arena_alloc(store->arena, (size_t)(rows.count + 1) * sizeof(*found.matches))};
	if (!found.matches)
		return ST_RESOURCE_EXHAUSTED;
	for (int row = 0; row < rows.count; row++) {
		int64_t kind = db_int(&rows, row, 0);
		if (kind == 2)
			found.done = true;
		else
			found.matches[found.count++] =
			    (struct import_match){kind == 1, db_text(&rows, row, 1), db_id(&rows, row, 2)};
	}
	*ret_found = found;
	return ST_OK;
}

/* ---- columns as arrays ---- */

enum {
	TEXTS_EMAIL,
	TEXTS_PHONE,
	TEXTS_NAME,
	TEXTS_GIVEN,
	TEXTS_FAMILY,
	TEXTS_PICTURE,
	TEXTS_EXTERNAL,
	TEXTS_LOGINS,
	TEXTS_ATTRIBUTES,
	TEXTS_HASH,
	TEXTS_COLUMNS
};

struct import_columns {
	struct id *ids;
	int16_t *statuses;
	bool *email_verified, *phone_verified;
	int64_t *created_at_us;
	const char **texts[TEXTS_COLUMNS];
};

/* Additional login ids hold no control characters, so a line end separates them. NULL without memory. */
static const char *logins_join(struct arena *arena, const struct user *user)
{
	size_t len = 1;
	for (size_t i = 0; i < user->login_id_count; i++)
		len += strlen(user->login_ids[i]) + 1;
	char *joined = arena_alloc(arena, len), *at = joined;
	for (size_t i = 0; joined && i < user->login_id_count; i++) {
		if (i > 0)
			*at++ = '\n';
		at = stpcpy(at, user->login_ids[i]);
	}
	return joined;
}

static bool columns_alloc(struct arena *arena, size_t count, struct import_columns *ret_columns)
{
	struct import_columns columns = {
	    .ids = arena_alloc(arena, count * sizeof(*columns.ids)),
	    .statuses = arena_alloc(arena, count * sizeof(*columns.statuses)),
	    .email_verified = arena_alloc(arena, count * sizeof(bool)),
	    .phone_verified = arena_alloc(arena, count * sizeof(bool)),
	    .created_at_us = arena_alloc(arena, count * sizeof(*columns.created_at_us)),
	};
	bool ok = columns.ids && columns.statuses && columns.email_verified && columns.phone_verified &&
	          columns.created_at_us;
	for (int i = 0; i < TEXTS_COLUMNS; i++) {
		columns.texts[i] = arena_alloc(arena, count * sizeof(*columns.texts[i]));
		ok = ok && columns.texts[i];
	}
	*ret_columns = columns;
	return ok;
}

static bool columns_fill(struct arena *arena, const struct store_import *import, struct import_columns *ret_columns)
{
	struct import_columns columns;
	if (!columns_alloc(arena, import->count, &columns))
		return false;
	for (size_t i = 0; i < import->count; i++) {
		const struct user *user = &import->users[i];
		columns.ids[i] = user->id;
		columns.statuses[i] = user->status;
		columns.email_verified[i] = user->email_verified;
		columns.phone_verified[i] = user->phone_verified;
		columns.created_at_us[i] = user->created_at_us;
		columns.texts[TEXTS_EMAIL][i] = user->email;
		columns.texts[TEXTS_PHONE][i] = user->phone;
		columns.texts[TEXTS_NAME][i] = user->name;
		columns.texts[TEXTS_GIVEN][i] = user->given_name;
		columns.texts[TEXTS_FAMILY][i] = user->family_name;
		columns.texts[TEXTS_PICTURE][i] = user->picture;
		columns.texts[TEXTS_EXTERNAL][i] = user->external_id;
		columns.texts[TEXTS_LOGINS][i] = logins_join(arena, user);
		columns.texts[TEXTS_ATTRIBUTES][i] = user->attributes;
		columns.texts[TEXTS_HASH][i] = user->password_hash;
	}
	*ret_columns = columns;
	return true;
}

enum status store_import_insert(struct store *store, const struct store_import *import,
                                const struct store_effects *effects)
{
	static const struct db_stmt stmt = {
	    "import_insert",
	    "WITH w AS (INSERT INTO users (project_id, user_id, status, email_verified, phone_verified, created_at_us, "
	    "email, "
	    "phone, name, given_name, family_name, picture, external_id, login_ids, attributes, password_hash, "
	    "search_text, "
	    "version, epoch, updated_at_us, email_key) "
	    "SELECT $1, r.id, r.status, r.ev, r.pv, r.created, r.email, r.phone, r.name, r.given, r.family, r.picture, "
	    "r.external, string_to_array(r.logins, E'\\n'), r.attributes, r.hash, r.search, 1, 0, $27, "
	    "coalesce(r.email, '') FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) "
	    "AS r (id, status, ev, pv, created, email, phone, name, given, family, picture, external, logins, "
	    "attributes, "
	    "hash, search) WHERE " SQL_SCHEMA_IS(
	        "$21") " RETURNING user_id, status), "
	               "o AS (INSERT INTO outbox (project_id, event, revokes) SELECT $1, e, $28 FROM unnest($20) e "
	               "WHERE EXISTS "
	               "(SELECT 1 FROM w)), "
	               "c AS (INSERT INTO user_count AS t (project_id, status, shard, n) "
	               "SELECT $1, status, (get_byte(uuid_send(user_id), 15) & 15)::int2, count(*) FROM w GROUP BY 2, "
	               "3 ORDER BY 2, 3 "
	               "ON CONFLICT (project_id, status, shard) DO UPDATE SET n = t.n + excluded.n), "
	               "p AS (INSERT INTO operation (project_id, operation_id, method, request_hash, reply, at_us) "
	               "SELECT $1, $23, $24, $25, $26, $27 WHERE $22::bytea IS NULL AND EXISTS (SELECT 1 FROM w)), "
	               "l AS (INSERT INTO login_id (project_id, value, user_id) SELECT $1, v.value, v.user_id "
	               "FROM unnest($18, $19) v (value, user_id) WHERE EXISTS (SELECT 1 FROM w)) "
	               "SELECT count(*)::int8 FROM w",
	    DB_WRITE};
	struct db_args args = {0};
	struct db_rows rows = {0};
	struct import_columns columns;
	if (!columns_fill(store->arena, import, &columns))
		return ST_RESOURCE_EXHAUSTED;
	db_arg_id(&args, &store->project);
	db_arg_ids(&args, store->arena, columns.ids, import->count);
	db_arg_int2s(&args, store->arena, columns.statuses, import->count);
	db_arg_bools(&args, store->arena, columns.email_verified, import->count);
	db_arg_bools(&args, store->arena, columns.phone_verified, import->count);
	db_arg_int8s(&args, store->arena, columns.created_at_us, import->count);
	for (int i = 0; i < TEXTS_COLUMNS; i++)
		db_arg_texts(&args, store->arena, columns.texts[i], import->count);
	db_arg_texts(&args, store->arena, import->search_texts, import->count);
	db_arg_texts(&args, store->arena, import->logins, import->login_count);
	db_arg_ids(&args, store->arena, import->login_users, import->login_count);
	db_arg_bytes_array(&args, store->arena, import->events, import->count);
	db_arg_int8(&args, import->schema_version);
	store_arg_effects(&args, effects);
	db_arg_bool(&args, effects->revokes);
	enum status status = store_run(store, &stmt, &args, &rows);
	return status == ST_OK && db_int(&rows, 0, 0) == 0 ? ST_ABORTED : status;
}
