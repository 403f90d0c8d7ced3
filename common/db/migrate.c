/* Numbered SQL files per service, applied once, in order, under a lock; each in a transaction if it does not say otherwise. */
#include "db/migrate.h"

#include "base/log.h"
#include "base/secret.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCHEMA_MAX 40
#define BOOTSTRAP_ATTEMPTS                                                                                             \
	10 /* roles belong to the whole cluster: another database's run may touch them at the same time */
#define LOCK_KEY "4919131752989213764"
#define LOCK_PAUSE_US 10000
#define OUTSIDE "-- outside a transaction\n"

struct session {
	PGconn *conn;
	const char *schema, *conninfo;
};

static void migrate_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

/* Runs one or several statements. Logs a failure with its message (schema text only, there are no user values). */
static enum status migrate_exec(struct session *session, const char *sql, bool *ret_racing)
{
	PGresult *result = PQexec(session->conn, sql);
	ExecStatusType kind = PQresultStatus(result);
	enum status status = kind == PGRES_COMMAND_OK || kind == PGRES_TUPLES_OK ? ST_OK : ST_INTERNAL;
	if (status != ST_OK) {
		const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
		const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
		/* XX000 "tuple concurrently updated", duplicate role, duplicate key in a catalogue, deadlock */
		bool racing = state && (strcmp(state, "XX000") == 0 || strcmp(state, "42710") == 0 ||
		                        strcmp(state, "23505") == 0 || strcmp(state, "40P01") == 0);
		if (ret_racing)
			*ret_racing = racing;
		if (!racing || !ret_racing)
			log_event(LOG_ERROR, "migration statement failed", "schema", session->schema, "sqlstate",
			          state ? state : "", "message", message ? message : PQerrorMessage(session->conn),
			          NULL);
		if (PQstatus(session->conn) != CONNECTION_OK)
			status = ST_UNAVAILABLE;
	}
	PQclear(result);
	return status;
}

/* Begins a transaction that holds the lock. Nobody waits for it in a statement: that would hold a snapshot, and an index that is made
 * concurrently waits for all of them, also for those that wait for its own end. */
static enum status migrate_begin(struct session *session)
{
	static const char begin[] = "BEGIN; SET LOCAL client_min_messages = warning;"
	                            " SET LOCAL idle_in_transaction_session_timeout = 0";
	for (;;) {
		enum status status = migrate_exec(session, begin, NULL);
		if (status != ST_OK)
			return status;
		PGresult *result = PQexec(session->conn, "SELECT pg_try_advisory_xact_lock(" LOCK_KEY ")");
		bool answered = PQresultStatus(result) == PGRES_TUPLES_OK;
		bool locked = answered && PQgetvalue(result, 0, 0)[0] == 't';
		PQclear(result);
		if (locked)
			return ST_OK;
		status = migrate_exec(session, "ROLLBACK", NULL);
		if (status != ST_OK || !answered)
			return ST_UNAVAILABLE;
		usleep(LOCK_PAUSE_US);
	}
}

static enum status migrate_finish(struct session *session, enum status status)
{
	if (status == ST_OK)
		return migrate_exec(session, "COMMIT", NULL);
	enum status rolled = migrate_exec(session, "ROLLBACK", NULL);
	return rolled == ST_UNAVAILABLE ? rolled : status;
}

/* ---- role, schema, rights ---- */

/* Role names and passwords cannot be parameters of CREATE ROLE. The name is checked (schema_valid), the password quoted. */
static enum status migrate_role(struct session *session, const char *password, bool *ret_racing)
{
	const char *values[] = {session->schema};
	PGresult *found =
	    PQexecParams(session->conn, "SELECT 1 FROM pg_roles WHERE rolname = $1", 1, NULL, values, NULL, NULL, 0);
	bool known = PQntuples(found) == 1, asked = PQresultStatus(found) == PGRES_TUPLES_OK;
	PQclear(found);
	if (!asked)
		return ST_UNAVAILABLE;
	bool secret = password && password[0];
	if (known && !secret)
		return ST_OK;
	char *quoted = secret ? PQescapeLiteral(session->conn, password, strlen(password)) : NULL;
	if (secret && !quoted)
		return ST_INVALID_ARGUMENT;
	size_t size = 128 + (quoted ? strlen(quoted) : 0);
	char *sql = malloc(size);
	enum status status = ST_UNAVAILABLE;
	if (sql) {
		snprintf(sql, size, "%s ROLE \"%s\" LOGIN%s%s", known ? "ALTER" : "CREATE", session->schema,
		         secret ? " PASSWORD " : "", secret ? quoted : "");
		status = migrate_exec(session, sql, ret_racing);
		secret_wipe(sql, strlen(sql));
	}
	if (quoted) {
		secret_wipe(quoted, strlen(quoted));
		PQfreemem(quoted);
	}
	free(sql);
	return status;
}

/* One row a statement; %1$s is the schema and role. */
static const char *const rights[] = {
    "CREATE SCHEMA IF NOT EXISTS \"%1$s\"",
    "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    "DO $$ BEGIN EXECUTE format('REVOKE TEMPORARY ON DATABASE %%I FROM PUBLIC', current_database()); END $$",
    "GRANT USAGE ON SCHEMA public TO \"%1$s\"",
    "CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public",
    "REVOKE ALL ON SCHEMA \"%1$s\" FROM PUBLIC",
    "GRANT USAGE ON SCHEMA \"%1$s\" TO \"%1$s\"",
    "CREATE TABLE IF NOT EXISTS \"%1$s\".schema_migration (number int PRIMARY KEY, name text NOT NULL,"
    " checksum bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA \"%1$s\" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO \"%1$s\"",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA \"%1$s\" GRANT USAGE, SELECT ON SEQUENCES TO \"%1$s\"",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"%1$s\" TO \"%1$s\"",
    /* A table with the comment "append only" is one whose rows the service may not change. */
    "DO $$ DECLARE name regclass; BEGIN FOR name IN SELECT oid FROM pg_class"
    " WHERE relnamespace = '\"%1$s\"'::regnamespace AND obj_description(oid, 'pg_class') = 'append only'"
    " LOOP EXECUTE format('REVOKE UPDATE, DELETE ON %%s FROM \"%1$s\"', name); END LOOP; END $$",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA \"%1$s\" TO \"%1$s\"",
    "REVOKE INSERT, UPDATE, DELETE ON \"%1$s\".schema_migration FROM \"%1$s\"",
};

static enum status migrate_rights(struct session *session, bool *ret_racing)
{
	enum status status = ST_OK;
	for (size_t i = 0; status == ST_OK && i < sizeof(rights) / sizeof(rights[0]); i++) {
		char sql[512];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(sql, sizeof(sql), rights[i], session->schema);
#pragma GCC diagnostic pop
		status = migrate_exec(session, sql, ret_racing);
	}
	return status;
}

/* One attempt to make role, schema and rights, in one transaction. */
static enum status migrate_prepare(struct session *session, const char *password, bool *ret_racing)
{
	enum status status = migrate_begin(session);
	if (status != ST_OK)
		goto out;
	status = migrate_role(session, password, ret_racing);
	if (status != ST_OK)
		goto out;
	status = migrate_rights(session, ret_racing);
out:
	return migrate_finish(session, status);
}

static enum status migrate_bootstrap(struct session *session, const char *password)
{
	enum status status = ST_INTERNAL;
	for (int attempt = 0; attempt < BOOTSTRAP_ATTEMPTS; attempt++) {
		bool racing = false;
		status = migrate_prepare(session, password, &racing);
		if (status == ST_OK || !racing)
			break;
	}
	if (status != ST_OK)
		log_event(LOG_ERROR, "schema could not be prepared", "schema", session->schema, "status",
		          status_name(status), NULL);
	return status;
}

/* ---- the files ---- */

/* ST_OK applied already, with the same text; ST_NOT_FOUND not yet; ST_CONFLICT changed since. One message without parameters: a portal that is
 * left open would keep its snapshot, for which migrate_beside waits. */
static enum status migrate_look_up(struct session *session, const struct migration *migration, const char *checksum)
{
	char sql[256];
	snprintf(sql, sizeof(sql), "SELECT checksum = decode('%s', 'hex') FROM schema_migration WHERE number = %d",
	         checksum, migration->number);
	PGresult *result = PQexec(session->conn, sql);
	enum status status = ST_NOT_FOUND;
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		status = ST_INTERNAL;
	else if (PQntuples(result) == 1)
		status = PQgetvalue(result, 0, 0)[0] == 't' ? ST_OK : ST_CONFLICT;
	PQclear(result);
	if (status == ST_CONFLICT)
		log_event(LOG_ERROR, "an applied migration was changed afterwards: never edit one, add the next number",
		          "schema", session->schema, "file", migration->name, NULL);
	return status;
}

static enum status migrate_record(struct session *session, const struct migration *migration, const char *checksum)
{
	char number[16];
	snprintf(number, sizeof(number), "%d", migration->number);
	const char *values[] = {number, migration->name, checksum};
	PGresult *result = PQexecParams(session->conn,
	                                "INSERT INTO schema_migration (number, name, checksum)"
	                                " VALUES ($1::int, $2, decode($3, 'hex'))",
	                                3, NULL, values, NULL, NULL, 0);
	enum status status = PQresultStatus(result) == PGRES_COMMAND_OK ? ST_OK : ST_INTERNAL;
	PQclear(result);
	return status;
}

/* Until the transaction ends, or the connection. */
static enum status migrate_search_path(struct session *session, const char *until)
{
	char sql[128];
	snprintf(sql, sizeof(sql), "SET %s search_path = \"%s\", public", until, session->schema);
	return migrate_exec(session, sql, NULL);
}

/* Runs the statements of a file one by one, each by itself, on a connection of their own: the session's holds the lock. Cut off in
 * between, the file runs again from its beginning. */
static enum status migrate_beside(const struct session *session, const char *sql)
{
	struct session beside = {PQconnectdb(session->conninfo), session->schema, session->conninfo};
	char *copy = strdup(sql), *rest = copy, *statement;
	enum status status = ST_UNAVAILABLE;
	PQsetNoticeProcessor(beside.conn, migrate_notice, NULL);
	if (!copy || PQstatus(beside.conn) != CONNECTION_OK)
		goto out;
	status = migrate_search_path(&beside, "SESSION");
	while (status == ST_OK && rest && (statement = rest)[0]) {
		char *end = strstr(statement, ";\n");
		rest = end ? end + 2 : NULL;
		if (end)
			*end = '\0';
		status = migrate_exec(&beside, statement, NULL);
	}
out:
	free(copy);
	PQfinish(beside.conn);
	return status;
}

/* Within a transaction: runs the file if that was not done yet. */
static enum status migrate_file(struct session *session, const struct migration *migration, bool *ret_applied)
{
	uint8_t hash[SHA256_SIZE];
	char checksum[SHA256_SIZE * 2 + 1];
	secret_sha256(migration->sql, strlen(migration->sql), hash);
	hex_encode(hash, sizeof(hash), checksum);
	enum status status = migrate_search_path(session, "LOCAL");
	if (status != ST_OK)
		return status;
	status = migrate_look_up(session, migration, checksum);
	if (status != ST_NOT_FOUND)
		return status;
	bool outside = strncmp(migration->sql, OUTSIDE, strlen(OUTSIDE)) == 0;
	status = outside ? migrate_beside(session, migration->sql) : migrate_exec(session, migration->sql, NULL);
	if (status != ST_OK)
		return status;
	status = migrate_record(session, migration, checksum);
	*ret_applied = status == ST_OK;
	return status;
}

static enum status migrate_apply(struct session *session, const struct migration *migration)
{
	bool applied = false;
	enum status status = migrate_begin(session);
	if (status == ST_OK)
		status = migrate_file(session, migration, &applied);
	status = migrate_finish(session, status);
	if (status != ST_OK)
		log_event(LOG_ERROR, "migration failed", "schema", session->schema, "file", migration->name, "status",
		          status_name(status), NULL);
	else if (applied)
		log_event(LOG_INFO, "migration applied", "schema", session->schema, "file", migration->name, NULL);
	return status;
}

/* Refuses a database that a newer program has migrated. */
static enum status migrate_check_newest(struct session *session, int newest)
{
	PGresult *result = NULL;
	enum status status = migrate_begin(session);
	if (status != ST_OK)
		goto out;
	status = migrate_search_path(session, "LOCAL");
	if (status != ST_OK)
		goto out;
	status = ST_INTERNAL;
	result = PQexec(session->conn, "SELECT coalesce(max(number), 0) FROM schema_migration");
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		goto out;
	status = strtol(PQgetvalue(result, 0, 0), NULL, 10) > newest ? ST_CONFLICT : ST_OK;
	if (status == ST_CONFLICT)
		log_event(LOG_ERROR, "the database was migrated by a newer program", "schema", session->schema,
		          "newest_known", LOG_NUM(newest), NULL);
out:
	PQclear(result);
	return migrate_finish(session, status);
}

static bool schema_valid(const char *schema)
{
	return schema && schema[0] && strlen(schema) <= SCHEMA_MAX &&
	       strspn(schema, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(schema);
}

enum status migrate_run(const char *conninfo, const char *schema, const char *role_password,
                        const struct migration *migrations)
{
	if (!schema_valid(schema))
		return ST_INVALID_ARGUMENT;
	int newest = 0;
	for (const struct migration *at = migrations; at->sql; at++) {
		if (at->number != newest + 1) {
			log_event(LOG_ERROR, "migrations are not numbered 1, 2, 3", "file", at->name, NULL);
			return ST_INTERNAL;
		}
		newest = at->number;
	}
	struct session session = {PQconnectdb(conninfo), schema, conninfo};
	enum status status = ST_UNAVAILABLE;
	if (PQstatus(session.conn) != CONNECTION_OK) {
		log_event(LOG_ERROR, "database cannot be reached", "schema", schema, "reason",
		          PQerrorMessage(session.conn), NULL);
		goto out;
	}
	PQsetNoticeProcessor(session.conn, migrate_notice, NULL);
	status = migrate_bootstrap(&session, role_password);
	if (status != ST_OK)
		goto out;
	status = migrate_check_newest(&session, newest);
	for (const struct migration *at = migrations; status == ST_OK && at->sql; at++)
		status = migrate_apply(&session, at);
out:
	PQfinish(session.conn);
	return status;
}
