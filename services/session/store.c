/* Statements of the schema `session`. Every write is one statement: its effect, its event and its operation together. */
#include "store.h"

#include <string.h>

#define DAY_US (86400 * US_PER_SEC)
#define PURGE_ROWS 1000

/* The columns of a session, in the order of read_row. */
#define ROW_COLUMNS                                                                                                    \
	"session_id, user_id, epoch, generation, current_hash, previous_hash, salt, request_mac, rotated_at_us, "      \
	"created_at_us, last_used_at_us, expires_at_us, dies_at_us, ended_at_us, method, ip_address, user_agent"

/* The clock of counters and purges: one for all replicas, the database's. */
#define NOW_US "(extract(epoch FROM now()) * 1000000)::bigint"

static void arg_fixed(struct db_args *args, const void *bytes, size_t len)
{
	db_arg_bytes(args, bytes, len);
}

static void arg_operation(struct db_args *args, const struct operation *operation)
{
	db_arg_id(args, &operation->id);
	db_arg_int4(args, (int32_t)operation->method);
	db_arg_bytes(args, operation->request_hash, SHA256_SIZE);
	db_arg_bytes(args, operation->reply, operation->reply_len);
	db_arg_int8(args, operation->at_us);
}

/* Copies a bytea of a known size; a shorter one is filled with zeros. False for NULL. */
static bool copy_fixed(const struct db_rows *rows, int row, int column, void *ret_bytes, size_t size)
{
	size_t len = 0;
	const void *bytes = db_bytes(rows, row, column, &len);

	memset(ret_bytes, 0, size);
	if (bytes == NULL)
		return false;
	memcpy(ret_bytes, bytes, len < size ? len : size);
	return true;
}

static void read_row(const struct db_rows *rows, int row, int first, struct session_row *ret_row)
{
	struct session_row read = {
	    .id = db_id(rows, row, first),
	    .user = db_id(rows, row, first + 1),
	    .epoch = db_int(rows, row, first + 2),
	    .generation = (uint32_t)db_int(rows, row, first + 3),
	    .rotated_at_us = db_int(rows, row, first + 8),
	    .created_at_us = db_int(rows, row, first + 9),
	    .last_used_at_us = db_int(rows, row, first + 10),
	    .expires_at_us = db_int(rows, row, first + 11),
	    .dies_at_us = db_int(rows, row, first + 12),
	    .ended_at_us = db_int(rows, row, first + 13),
	    .method = db_text(rows, row, first + 14),
	    .ip_address = db_text(rows, row, first + 15),
	    .user_agent = db_text(rows, row, first + 16),
	};
	copy_fixed(rows, row, first + 4, read.current_hash, sizeof(read.current_hash));
	read.has_previous = copy_fixed(rows, row, first + 5, read.previous_hash, sizeof(read.previous_hash));
	copy_fixed(rows, row, first + 6, read.salt, sizeof(read.salt));
	copy_fixed(rows, row, first + 7, read.request_mac, sizeof(read.request_mac));
	*ret_row = read;
}

/* ---- sessions ---- */

static const struct db_stmt read_session = {
    "read_session", "SELECT " ROW_COLUMNS " FROM session WHERE project_id = $1 AND session_id = $2", DB_READ};

enum status store_read_session(const struct store *store, const struct id *session, struct session_row *ret_row)
{
	struct db_args args = {0};
	struct db_rows rows = {0};

	db_arg_id(&args, &store->project);
	db_arg_id(&args, session);
	enum status status = db_run(store->db, &read_session, &args, store->arena, store->deadline_us, &rows);
	if (status != ST_OK)
		return status;
	if (rows.count == 0)
		return ST_NOT_FOUND;
	read_row(&rows, 0, 0, ret_row);
	return ST_OK;
}

static const struct db_stmt create_session = {
    "create_session",
    "WITH w AS (INSERT INTO session (project_id, session_id, user_id, epoch, generation, current_hash, salt, "
    "request_mac, rotated_at_us, created_at_us, last_used_at_us, expires_at_us, dies_at_us, purge_at_us, method, "
    "ip_address, user_agent) "
    "VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $8, $8, $9, $10, $11, $12, $13, $14) "
    "ON CONFLICT (project_id, session_id) DO NOTHING RETURNING project_id), "
    "o AS (INSERT INTO outbox (project_id, event, revokes) SELECT project_id, $15, $21 FROM w), "
    "k AS (INSERT INTO known_network AS known (project_id, login_key, network_key, seen_at_us) "
    "SELECT project_id, $16, $17, $8 FROM w ON CONFLICT (project_id, login_key, network_key) "
    "DO UPDATE SET seen_at_us = EXCLUDED.seen_at_us WHERE known.seen_at_us < EXCLUDED.seen_at_us - $19), "
    "t AS (DELETE FROM throttle WHERE project_id = $1 AND key = $18 RETURNING 1), "
    "u AS (UPDATE throttle SET failures = GREATEST(failures - 1, 0), until_us = 0 "
    "WHERE project_id = $1 AND key = $20 AND (SELECT count(*) FROM t) >= 0) "
    "SELECT project_id FROM w",
    DB_WRITE};

enum status store_create_session(const struct store *store, const struct session_row *row,
                                 const struct throttle_place *place, const struct packed *event, bool *ret_created)
{
	struct db_args args = {0};
	struct db_rows rows = {0};

	db_arg_id(&args, &store->project);
	db_arg_id(&args, &row->id);
	db_arg_id(&args, &row->user);
	db_arg_int8(&args, row->epoch);
	arg_fixed(&args, row->current_hash, sizeof(row->current_hash));
	arg_fixed(&args, row->salt, sizeof(row->salt));
	arg_fixed(&args, row->request_mac, sizeof(row->request_mac));
	db_arg_int8(&args, row->created_at_us);
	db_arg_int8(&args, row->expires_at_us);
	db_arg_int8(&args, row->dies_at_us);
	db_arg_int8(&args, rules_purge_us(row->expires_at_us));
	db_arg_text(&args, row->method);
	db_arg_text(&args, row->ip_address);
	db_arg_text(&args, row->user_agent);
	db_arg_bytes(&args, event->data, event->len);
	arg_fixed(&args, place->keys.known, sizeof(place->keys.known));
	arg_fixed(&args, place->keys.network, sizeof(place->keys.network));
	arg_fixed(&args, place->keys.pair, sizeof(place->keys.pair));
	db_arg_int8(&args, DAY_US);
	db_arg_bytes(&args, place->by_user ? place->keys.user : NULL, sizeof(place->keys.user));
	db_arg_bool(&args, event->revokes);
	enum status status = db_run(store->db, &create_session, &args, store->arena, store->deadline_us, &rows);
	if (status == ST_OK)
		*ret_created = rows.count > 0;
	return status;
}

static const struct db_stmt rotate_token = {
    "rotate_token",
    "UPDATE session SET current_hash = $4, previous_hash = $3, salt = $5, generation = generation + 1, "
    "rotated_at_us = $6, last_used_at_us = $6, expires_at_us = $7, purge_at_us = $8 "
    "WHERE project_id = $1 AND session_id = $2 AND current_hash = $3 AND ended_at_us IS NULL "
    "AND expires_at_us > $6 AND epoch = $9",
    DB_WRITE};

enum status store_rotate_token(const struct store *store, const struct store_rotation *rotation, bool *ret_rotated)
{
	struct db_args args = {0};
	struct db_rows rows = {0};

	db_arg_id(&args, &store->project);
	db_arg_id(&args, &rotation->session);
	arg_fixed(&args, rotation->presented_hash, sizeof(rotation->presented_hash));
	arg_fixed(&args, rotation->next_hash, sizeof(rotation->next_hash));
	arg_fixed(&args, rotation->salt, sizeof(rotation->salt));
	db_arg_int8(&args, rotation->now_us);
	db_arg_int8(&args, rotation->expires_at_us);
	db_arg_int8(&args, rules_purge_us(rotation->expires_at_us));
	db_arg_int8(&args, rotation->epoch);
	enum status status = db_run(store->db, &rotate_token, &args, store->arena, store->deadline_us, &rows);
	if (status == ST_OK)
		*ret_rotated = rows.affected > 0;
	return status;
}

#define END_ONE                                                                                                        \
	"WITH w AS (UPDATE session SET ended_at_us = $3, end_reason = $4, purge_at_us = $5 "                           \
	"WHERE project_id = $1 AND session_id = $2 AND ended_at_us IS NULL"
#define END_EVENT(revokes)                                                                                             \
	" RETURNING project_id), o AS (INSERT INTO outbox (project_id, event, revokes) SELECT project_id, "            \
	"$6, " revokes " FROM w)"

static const struct db_stmt end_session = {"end_session", END_ONE END_EVENT("$7") " SELECT project_id FROM w",
                                           DB_WRITE};

static const struct db_stmt end_session_operation = {
    "end_session_operation",
    END_ONE " AND expires_at_us > $3" END_EVENT(
        "$12") ", p AS (INSERT INTO operation (project_id, operation_id, method, request_hash, reply, at_us) "
               "SELECT project_id, $7, $8, $9, $10, $11 FROM w) SELECT project_id FROM w",
    DB_WRITE};

static const struct db_stmt end_reused = {
    "end_reused",
    END_ONE " AND current_hash <> $7 AND (previous_hash IS DISTINCT FROM $7 OR rotated_at_us < $8)" END_EVENT(
        "$9") " SELECT project_id FROM w",
    DB_WRITE};

static void arg_ending(struct db_args *args, const struct store *store, const struct id *id,
                       const struct store_ending *ending)
{
	db_arg_id(args, &store->project);
	db_arg_id(args, id);
	db_arg_int8(args, ending->now_us);
	db_arg_text(args, ending->reason);
	db_arg_int8(args, rules_purge_us(ending->now_us));
	db_arg_bytes(args, ending->event.data, ending->event.len);
}

enum status store_end_session(const struct store *store, const struct store_ending *ending, bool *ret_ended)
{
	const struct db_stmt *stmt = ending->operation != NULL ? &end_session_operation : &end_session;
	struct db_args args = {0};
	struct db_rows rows = {0};

	arg_ending(&args, store, &ending->session, ending);
	if (ending->operation != NULL)
		arg_operation(&args, ending->operation);
	db_arg_bool(&args, ending->event.revokes);
	enum status status = db_run(store->db, stmt, &args, store->arena, store->deadline_us, &rows);
	if (status == ST_OK)
		*ret_ended = rows.count > 0;
	return status;
}

enum status store_end_reused(const struct store *store, const struct store_ending *ending,
                             const uint8_t presented_hash[SHA256_SIZE], bool *ret_ended)
{
	struct db_args args = {0};
	struct db_rows rows = {0};

	arg_ending(&args, store, &ending->session, ending);
	db_arg_bytes(&args, presented_hash, SHA256_SIZE);
	db_arg_int8(&args, ending->now_us - RULES_REPLAY_WINDOW_US);
	db_arg_bool(&args, ending->event.revokes);
	enum status status = db_run(store->db, &end_reused, &args, store->arena, store->deadline_us, &rows);
	if (status == ST_OK)
		*ret_ended = rows.count > 0;
	return status;
}

static const struct db_stmt end_user = {
    "end_user",
    "WITH w AS (UPDATE session SET ended_at_us = $3, end_reason = $4, purge_at_us = $5 "
    "WHERE project_id = $1 AND user_id = $2 AND ended_at_us IS NULL AND epoch < $12 RETURNING project_id), "
    "n AS (SELECT count(*) AS ended FROM w), "
    "o AS (INSERT INTO outbox (project_id, event, revokes) SELECT $1, $6, $13 FROM n WHERE ended > 0), "
    "p AS (INSERT INTO operation (project_id, operation_id, method, request_hash, reply, at_us) "
    "VALUES ($1, $7, $8, $9, $10, $11)) "
    "SELECT ended FROM n",
    DB_WRITE};

enum status store_end_user(const struct store *store, const struct id *user, int64_t epoch,
                           const struct store_ending *ending, int64_t *ret_ended)
{
	struct db_args args = {0};
	struct db_rows rows = {0};

	arg_ending(&args, store, user, ending);
	arg_operation(&args, ending->operation);
	db_arg_int8(&args, epoch);
	db_arg_bool(&args, ending->event.revokes);
	enum status status = db_run(store->db, &end_user, &args, store->arena, store->deadline_us, &rows);
	if (status == ST_OK)
		*ret_ended = db_int(&rows, 0, 0);
	return status;
}

/* The total and the page in one read: the total comes even when the page is empty. */
static const struct db_stmt list_sessions = {
    "list_sessions",
    "SELECT t.total, s.* FROM "
    "(SELECT count(*) AS total FROM session WHERE project_id = $1 AND user_id = $2 AND ended_at_us IS NULL "
    "AND expires_at_us > $3) t LEFT JOIN LATERAL "
    "(SELECT " ROW_COLUMNS " FROM session WHERE project_id = $1 AND user_id = $2 AND ended_at_us IS NULL "
    "AND expires_at_us > $3 AND (created_at_us, session_id) < ($4, $5) "
    "ORDER BY created_at_us DESC, session_id DESC LIMIT $6) s ON true "
    "ORDER BY s.created_at_us DESC, s.session_id DESC",
    DB_READ};

enum status store_list_sessions(const struct store *store, const struct store_list *list, struct session_row **ret_rows,
                                size_t *ret_count, int64_t *ret_total)
{
	struct db_args args = {0};
	struct db_rows rows = {0};

	db_arg_id(&args, &store->project);
	db_arg_id(&args, &list->user);
	db_arg_int8(&args, list->now_us);
	db_arg_int8(&args, list->before_at_us);
	db_arg_id(&args, &list->before);
	db_arg_int8(&args, list->limit);
	enum status status = db_run(store->db, &list_sessions, &args, store->arena, store->deadline_us, &rows);
	if (status != ST_OK)
		return status;
	struct session_row *found = arena_alloc(store->arena, ((size_t)rows.count + 1) * sizeof(*found));
	if (found == NULL)
		return ST_RESOURCE_EXHAUSTED;
	size_t count = 0;
	for (int i = 0; i < rows.count; i++)
		if (!db_null(&rows, i, 1))
			read_row(&rows, i, 1, &found[count++]);
	*ret_rows = found;
	*ret_count = count;
	*ret_total = db_int(&rows, 0, 0);
	return ST_OK;
}

/* ---- following the ledger ---- */

static const struct db_stmt load_users_position = {
    "load_users_position", "SELECT position FROM follow_position WHERE name = 'users'", DB_READ};

enum status store_load_users_position(const struct store *store, int64_t *ret_position)
{
	struct db_args args = {0};
	struct db_rows rows = {0};
	enum status status = db_run(store->db, &load_users_position, &args, store->arena, store->deadline_us, &rows);

	if (status != ST_OK)
		return status;
	if (rows.count != 1)
		return ST_INTERNAL;
	*ret_position = db_int(&rows, 0, 0);
	return ST_OK;
}

/* No comparison with the position that was read: the effect is idempotent, and whoever moves the position to `next` has
 * applied everything before it. */
static const struct db_stmt apply_revocations = {
    "apply_revocations",
    "WITH e AS (UPDATE session SET ended_at_us = $5, end_reason = 'revoked', purge_at_us = $6 "
    "FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS v (project_id, user_id, epoch) "
    "WHERE session.project_id = v.project_id AND session.user_id = v.user_id AND session.ended_at_us IS NULL "
    "AND session.epoch < v.epoch) "
    "UPDATE follow_position SET position = $4 WHERE name = 'users' AND position < $4",
    DB_WRITE};

enum status store_apply_revocations(const struct store *store, const struct store_revocation *revocations, size_t count,
                                    int64_t next, int64_t now_us)
{
	struct id *ids = arena_alloc(store->arena, (2 * count + 1) * sizeof(*ids));
	int64_t *epochs = arena_alloc(store->arena, (count + 1) * sizeof(*epochs));
	struct db_args args = {0};

	if (ids == NULL || epochs == NULL)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < count; i++) {
		ids[i] = revocations[i].project;
		ids[count + i] = revocations[i].user;
		epochs[i] = revocations[i].epoch;
	}
	db_arg_ids(&args, store->arena, ids, count);
	db_arg_ids(&args, store->arena, ids + count, count);
	db_arg_int8s(&args, store->arena, epochs, count);
	db_arg_int8(&args, next);
	db_arg_int8(&args, now_us);
	db_arg_int8(&args, rules_purge_us(now_us));
	return db_run(store->db, &apply_revocations, &args, store->arena, store->deadline_us, NULL);
}

/* ---- house-keeping ---- */

static const struct db_stmt purge_session = {
    "purge_session",
    "DELETE FROM session WHERE (project_id, session_id) IN (SELECT project_id, session_id FROM session "
    "WHERE purge_at_us <= " NOW_US " - $1 ORDER BY purge_at_us LIMIT $2 FOR UPDATE SKIP LOCKED)",
    DB_WRITE};
static const struct db_stmt purge_throttle = {
    "purge_throttle",
    "DELETE FROM throttle WHERE (project_id, key) IN (SELECT project_id, key FROM throttle "
    "WHERE purge_at_us <= " NOW_US " - $1 ORDER BY purge_at_us LIMIT $2 FOR UPDATE SKIP LOCKED)",
    DB_WRITE};
static const struct db_stmt purge_known_network = {
    "purge_known_network",
    "DELETE FROM known_network WHERE (project_id, login_key, network_key) IN "
    "(SELECT project_id, login_key, network_key FROM known_network "
    "WHERE seen_at_us <= " NOW_US " - $1 ORDER BY seen_at_us LIMIT $2 FOR UPDATE SKIP LOCKED)",
    DB_WRITE};

enum status store_purge_sessions(const struct store *store, bool *ret_more)
{
	const struct {
		const struct db_stmt *stmt;
		int64_t age_us;
	} purges[] = {{&purge_session, 0}, {&purge_throttle, 0}, {&purge_known_network, RULES_KNOWN_US}};
	bool more = false;

	for (size_t i = 0; i < sizeof(purges) / sizeof(purges[0]); i++) {
		struct db_args args = {0};
		struct db_rows rows = {0};
		db_arg_int8(&args, purges[i].age_us);
		db_arg_int8(&args, PURGE_ROWS);
		enum status status = db_run(store->db, purges[i].stmt, &args, store->arena, store->deadline_us, &rows);
		if (status != ST_OK)
			return status;
		more = more || rows.affected >= PURGE_ROWS;
	}
	*ret_more = more;
	return ST_OK;
}
