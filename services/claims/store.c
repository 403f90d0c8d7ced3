/* The schema `claims`: its statements. */
#include "store.h"

#include <string.h>

static void args_add_operation(struct db_args *args, const struct operation *operation)
{
	db_arg_id(args, &operation->id);
	db_arg_int4(args, (int32_t)operation->method);
	db_arg_bytes(args, operation->request_hash, SHA256_SIZE);
	db_arg_bytes(args, operation->reply, operation->reply_len);
	db_arg_int8(args, operation->at_us);
}

static enum status copy_bytes(const struct db_rows *rows, int row, int column, void *ret_bytes, size_t size_bytes)
{
	size_t len;
	const void *bytes = db_bytes(rows, row, column, &len);
	if (bytes == NULL || len != size_bytes)
		return ST_INTERNAL;
	memcpy(ret_bytes, bytes, len);
	return ST_OK;
}

/* ---- custom claims ---- */

static const struct db_stmt read_claims = {
    "claims_read",
    "SELECT document, version, updated_at_us FROM user_claims WHERE project_id = $1 AND user_id = $2 AND NOT deleted",
    DB_READ,
};

enum status store_read_claims(const struct store *store, const struct id *project, const struct id *user,
                              struct claims_row *ret_row)
{
	struct db_args args = {0};
	struct db_rows rows;
	db_arg_id(&args, project);
	db_arg_id(&args, user);
	enum status status = db_run(store->db, &read_claims, &args, store->arena, store->deadline_us, &rows);
	if (status != ST_OK)
		return status;
	*ret_row = (struct claims_row){.document = "{}"};
	if (rows.count == 1)
		*ret_row = (struct claims_row){db_text(&rows, 0, 0), db_int(&rows, 0, 1), db_int(&rows, 0, 2)};
	return ST_OK;
}

static const struct db_stmt write_claims = {
    "claims_write",
    "WITH w AS ("
    "  INSERT INTO user_claims AS u (project_id, user_id, document, version, updated_at_us)"
    "  VALUES ($1, $2, $3, $4, $5)"
    "  ON CONFLICT (project_id, user_id) DO UPDATE"
    "  SET document = excluded.document, version = excluded.version, updated_at_us = excluded.updated_at_us"
    "  WHERE u.version = excluded.version - 1 AND NOT u.deleted"
    "  RETURNING project_id),"
    " o AS (INSERT INTO outbox (project_id, event, revokes) SELECT project_id, $6, $12 FROM w),"
    " p AS (INSERT INTO operation (project_id, operation_id, method, request_hash, reply, at_us)"
    "  SELECT project_id, $7, $8, $9, $10, $11 FROM w)"
    " SELECT 1 FROM w",
    DB_WRITE,
};

enum status store_write_claims(const struct store *store, const struct claims_write *write)
{
	struct db_args args = {0};
	struct db_rows rows;
	db_arg_id(&args, &write->project);
	db_arg_id(&args, &write->user);
	db_arg_text(&args, write->row.document);
	db_arg_int8(&args, write->row.version);
	db_arg_int8(&args, write->row.updated_at_us);
	db_arg_bytes(&args, write->event.data, write->event.len);
	args_add_operation(&args, &write->operation);
	db_arg_bool(&args, write->event.revokes);
	enum status status = db_run(store->db, &write_claims, &args, store->arena, store->deadline_us, &rows);
	if (status == ST_OK && rows.count == 0)
		status = ST_ABORTED;
	return status;
}

static const struct db_stmt note_operation = {
    "claims_note_operation",
    "INSERT INTO operation (project_id, operation_id, method, request_hash, reply, at_us)"
    " VALUES ($1, $2, $3, $4, $5, $6)",
    DB_WRITE,
};

enum status store_note_operation(const struct store *store, const struct id *project, const struct operation *operation)
{
	struct db_args args = {0};
	db_arg_id(&args, project);
	args_add_operation(&args, operation);
	return db_run(store->db, &note_operation, &args, store->arena, store->deadline_us, NULL);
}

static const struct db_stmt read_mint = {
    "claims_read_mint",
    "SELECT k.kid, k.x, k.y, k.sealed_private, u.document FROM signing_key k"
    " LEFT JOIN user_claims u ON u.project_id = k.project_id AND u.user_id = $2 AND NOT u.deleted"
    " WHERE k.project_id = $1 AND k.state = 'active'",
    DB_READ,
};

enum status store_read_mint(const struct store *store, const struct id *project, const struct id *user,
                            struct mint_row *ret_row)
{
	struct db_args args = {0};
	struct db_rows rows;
	struct mint_row row = {0};
	db_arg_id(&args, project);
	db_arg_id(&args, user);
	enum status status = db_run(store->db, &read_mint, &args, store->arena, store->deadline_us, &rows);
	if (status != ST_OK)
		return status;
	if (rows.count == 0)
		return ST_NOT_FOUND;
	const char *kid = db_text(&rows, 0, 0);
	if (strlen(kid) >= sizeof(row.key.kid) || copy_bytes(&rows, 0, 1, row.key.x, sizeof(row.key.x)) != ST_OK ||
	    copy_bytes(&rows, 0, 2, row.key.y, sizeof(row.key.y)) != ST_OK ||
	    copy_bytes(&rows, 0, 3, row.key.sealed, sizeof(row.key.sealed)) != ST_OK)
		return ST_INTERNAL;
	memcpy(row.key.kid, kid, strlen(kid) + 1);
	row.document = db_text(&rows, 0, 4);
	*ret_row = row;
	return ST_OK;
}

/* ---- signing keys ---- */

static const struct db_stmt list_keys = {
    "claims_list_keys",
    "SELECT kid, algorithm, state, x, y, created_at_us, retires_at_us FROM signing_key"
    " WHERE project_id = $1 AND (state <> 'retiring' OR retires_at_us > $2)"
    " ORDER BY state = 'active' DESC, state = 'next' DESC, created_at_us DESC, kid",
    DB_READ,
};

enum status store_list_keys(const struct store *store, const struct id *project, int64_t now_us,
                            struct key_row **ret_keys, size_t *ret_count)
{
	struct db_args args = {0};
	struct db_rows rows;
	db_arg_id(&args, project);
	db_arg_int8(&args, now_us);
	enum status status = db_run(store->db, &list_keys, &args, store->arena, store->deadline_us, &rows);
	if (status != ST_OK)
		return status;
	struct key_row *keys = arena_alloc(store->arena, ((size_t)rows.count + 1) * sizeof(*keys));
	if (keys == NULL)
		return ST_INTERNAL;
	for (int i = 0; i < rows.count; i++) {
		keys[i].kid = db_text(&rows, i, 0);
		keys[i].algorithm = db_text(&rows, i, 1);
		keys[i].state = db_text(&rows, i, 2);
		if (copy_bytes(&rows, i, 3, keys[i].x, sizeof(keys[i].x)) != ST_OK ||
		    copy_bytes(&rows, i, 4, keys[i].y, sizeof(keys[i].y)) != ST_OK)
			return ST_INTERNAL;
		keys[i].created_at_us = db_int(&rows, i, 5);
		keys[i].retires = !db_null(&rows, i, 6);
		keys[i].retires_at_us = db_int(&rows, i, 6);
	}
	*ret_keys = keys;
	*ret_count = (size_t)rows.count;
	return ST_OK;
}

static void args_add_key(struct db_args *args, const struct sealed_key *key)
{
	db_arg_text(args, key->kid);
	db_arg_bytes(args, key->sealed, sizeof(key->sealed));
	db_arg_bytes(args, key->x, sizeof(key->x));
	db_arg_bytes(args, key->y, sizeof(key->y));
}

/* One statement: of replicas that come at once, one makes both. */
static const struct db_stmt create_keys = {
    "claims_create_keys",
    "INSERT INTO signing_key (project_id, algorithm, created_at_us, state, kid, sealed_private, x, y)"
    " VALUES ($1, 'ES256', $2, 'active', $3, $4, $5, $6), ($1, 'ES256', $2, 'next', $7, $8, $9, $10)"
    " ON CONFLICT DO NOTHING",
    DB_WRITE,
};

enum status store_create_keys(const struct store *store, const struct id *project, const struct sealed_key keys[2],
                              int64_t now_us)
{
	struct db_args args = {0};
	db_arg_id(&args, project);
	db_arg_int8(&args, now_us);
	args_add_key(&args, &keys[0]);
	args_add_key(&args, &keys[1]);
	return db_run(store->db, &create_keys, &args, store->arena, store->deadline_us, NULL);
}

/* Writers of a project's keys queue up at its next key, which all of them take first (`up`): whoever comes second finds it gone or
 * active, and does nothing. Each part reads from the one before, so a key has left its unique index before another enters it. */
static const struct db_stmt replace_key = {
    "claims_replace_key",
    "WITH up AS (SELECT project_id FROM signing_key WHERE project_id = $1 AND kid = $3 AND state = 'next' FOR UPDATE),"
    " old AS (UPDATE signing_key k SET state = 'retiring', sealed_private = NULL, retires_at_us = $9 FROM up"
    "  WHERE k.project_id = up.project_id AND k.kid = $4 AND k.state = 'active' RETURNING k.project_id),"
    " risen AS (UPDATE signing_key k SET state = 'active' FROM old"
    "  WHERE k.project_id = old.project_id AND k.kid = $3 RETURNING k.project_id),"
    " w AS (INSERT INTO signing_key (project_id, algorithm, created_at_us, state, kid, sealed_private, x, y)"
    "  SELECT project_id, 'ES256', $2, 'next', $5, $6, $7, $8 FROM risen RETURNING project_id),"
    " gone AS (DELETE FROM signing_key k USING w"
    "  WHERE k.project_id = w.project_id AND k.state = 'retiring' AND k.retires_at_us <= $2),"
    " o AS (INSERT INTO outbox (project_id, event, revokes) SELECT project_id, $10, $16 FROM w),"
    " p AS (INSERT INTO operation (project_id, operation_id, method, request_hash, reply, at_us)"
    "  SELECT project_id, $11, $12, $13, $14, $15 FROM w)"
    " SELECT 1 FROM w",
    DB_WRITE,
};

enum status store_replace_key(const struct store *store, const struct key_change *change)
{
	struct db_args args = {0};
	struct db_rows rows;
	db_arg_id(&args, &change->project);
	db_arg_int8(&args, change->now_us);
	db_arg_text(&args, change->next_kid);
	db_arg_text(&args, change->active_kid);
	args_add_key(&args, &change->key);
	db_arg_int8(&args, change->retires_at_us);
	db_arg_bytes(&args, change->event.data, change->event.len);
	args_add_operation(&args, &change->operation);
	db_arg_bool(&args, change->event.revokes);
	enum status status = db_run(store->db, &replace_key, &args, store->arena, store->deadline_us, &rows);
	if (status == ST_OK && rows.count == 0)
		status = ST_ABORTED;
	return status;
}

/* ---- the ledger: these statements run over all projects, as the stream does ---- */

static const struct db_stmt load_position = {
    "claims_load_position",
    "SELECT position FROM follow_position WHERE name = 'ledger'",
    DB_READ,
};

enum status store_load_claims_position(const struct store *store, int64_t *ret_position)
{
	struct db_args args = {0};
	struct db_rows rows;
	enum status status = db_run(store->db, &load_position, &args, store->arena, store->deadline_us, &rows);
	if (status == ST_OK)
		*ret_position = rows.count == 1 ? db_int(&rows, 0, 0) : 0;
	return status;
}

static const struct db_stmt drop_users = {
    "claims_drop_users",
    "WITH moved AS ("
    "  UPDATE follow_position SET position = $1 WHERE name = 'ledger' AND position < $1 RETURNING position)"
    " INSERT INTO user_claims (project_id, user_id, document, version, updated_at_us, deleted)"
    " SELECT DISTINCT d.project_id, d.user_id, '{}', 1, $4, true"
    "  FROM moved, unnest($2::uuid[], $3::uuid[]) AS d (project_id, user_id)"
    " ON CONFLICT (project_id, user_id) DO UPDATE"
    " SET document = '{}', updated_at_us = excluded.updated_at_us, deleted = true",
    DB_WRITE,
};

enum status store_drop_users(const struct store *store, const struct dropped_users *dropped, int64_t next)
{
	struct db_args args = {0};
	db_arg_int8(&args, next);
	db_arg_ids(&args, store->arena, dropped->projects, dropped->count);
	db_arg_ids(&args, store->arena, dropped->users, dropped->count);
	db_arg_int8(&args, dropped->at_us);
	return db_run(store->db, &drop_users, &args, store->arena, store->deadline_us, NULL);
}

static const struct db_stmt purge_dropped = {
    "claims_purge_dropped",
    "DELETE FROM user_claims WHERE deleted AND updated_at_us < $1",
    DB_WRITE,
};

enum status store_purge_dropped(const struct store *store, int64_t before_us)
{
	struct db_args args = {0};
	db_arg_int8(&args, before_us);
	return db_run(store->db, &purge_dropped, &args, store->arena, store->deadline_us, NULL);
}
