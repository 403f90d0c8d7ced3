/* Every statement of every service: Postgres prepares it with the types that we bind, and gives the columns that we read. */
#include "store.h"

#include "audit_sql.gen.h"
#include "claims_sql.gen.h"
#include "common_sql.gen.h"
#include "identity_sql.gen.h"
#include "session_sql.gen.h"

#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

extern const struct migration audit_migrations[];
extern const struct migration claims_migrations[];
extern const struct migration identity_migrations[];
extern const struct migration session_migrations[];

/* By enum db_type. */
static const Oid oids[] = {
    [DB_UUID] = 2950,  [DB_TEXT] = 25,    [DB_BYTEA] = 17,   [DB_JSONB] = 3802,  [DB_INT8] = 20,
    [DB_INT4] = 23,    [DB_INT2] = 21,    [DB_BOOL] = 16,    [DB_UUIDS] = 2951,  [DB_TEXTS] = 1009,
    [DB_INT8S] = 1016, [DB_INT2S] = 1005, [DB_BOOLS] = 1000, [DB_BYTEAS] = 1001,
};
static const Oid array_oids[] = {
    [DB_UUID] = 2951, [DB_TEXT] = 1009, [DB_BYTEA] = 1001, [DB_INT8] = 1016,
    [DB_INT2] = 1005, [DB_BOOL] = 1000, [DB_TEXTS] = 1009,
};

static void check_columns(const struct db_stmt *stmt, const PGresult *described)
{
	cr_assert_eq(PQnfields(described), (int)stmt->column_count > 0 ? (int)stmt->column_count : PQnfields(described),
	             "%s gives %d columns, %u are declared", stmt->name, PQnfields(described), stmt->column_count);
	for (unsigned i = 0; i < stmt->column_count; i++) {
		const struct db_column *column = &stmt->columns[i];
		cr_assert_eq(PQftype(described, (int)i), oids[column->type], "%s: column %u has type %u, not %u",
		             stmt->name, i, PQftype(described, (int)i), oids[column->type]);
		if (column->field < 0)
			continue;
		const char *name = column->message->fields[column->field].name;
		bool plain = strcmp(PQfname(described, (int)i), "?column?") != 0;
		cr_assert(!plain || strcmp(PQfname(described, (int)i), name) == 0, "%s: column %u is %s, read as %s",
		          stmt->name, i, PQfname(described, (int)i), name);
	}
}

static void check_statement(PGconn *conn, const struct db_stmt *stmt)
{
	Oid types[DB_ARGS_MAX];
	for (unsigned i = 0; i < stmt->param_count; i++)
		types[i] = stmt->params[i].many ? array_oids[stmt->params[i].type] : oids[stmt->params[i].type];
	PGresult *result = PQprepare(conn, stmt->name, stmt->sql, (int)stmt->param_count, types);
	cr_assert_eq(PQresultStatus(result), PGRES_COMMAND_OK, "%s: %s", stmt->name, PQerrorMessage(conn));
	PQclear(result);
	result = PQdescribePrepared(conn, stmt->name);
	cr_assert_eq(PQresultStatus(result), PGRES_COMMAND_OK, "%s: %s", stmt->name, PQerrorMessage(conn));
	cr_assert_eq(PQnparams(result), (int)stmt->param_count, "%s", stmt->name);
	check_columns(stmt, result);
	PQclear(result);
}

/* The statement for several at once has the parameters of the single one eight times, and a number before its columns. */
static void check_together(PGconn *conn, const struct db_stmt *stmt)
{
	Oid types[DB_ARGS_MAX];
	unsigned count = stmt->param_count * DB_TOGETHER;
	for (unsigned i = 0; i < count; i++)
		types[i] = oids[stmt->params[i % stmt->param_count].type];
	PGresult *result = PQprepare(conn, stmt->together->name, stmt->together->sql, (int)count, types);
	cr_assert_eq(PQresultStatus(result), PGRES_COMMAND_OK, "%s: %s", stmt->together->name, PQerrorMessage(conn));
	PQclear(result);
	result = PQdescribePrepared(conn, stmt->together->name);
	cr_assert_eq(PQnfields(result), (int)stmt->column_count + 1, "%s", stmt->together->name);
	cr_assert_eq(PQftype(result, 0), oids[DB_INT4], "%s", stmt->together->name);
	for (unsigned i = 0; i < stmt->column_count; i++)
		cr_assert_eq(PQftype(result, (int)i + 1), oids[stmt->columns[i].type], "%s: column %u",
		             stmt->together->name, i);
	PQclear(result);
}

static void check_service(const char *schema, const struct migration *migrations,
                          const struct db_stmt *const *statements)
{
	struct store store;
	char search_path[128];
	store_open(&store, schema, migrations);
	PGconn *conn = PQconnectdb(store.service);
	cr_assert_eq(PQstatus(conn), CONNECTION_OK, "%s", PQerrorMessage(conn));
	snprintf(search_path, sizeof(search_path), "SET search_path = %s, public", schema);
	PQclear(PQexec(conn, search_path));
	cr_assert_not_null(*statements);
	for (; *statements; statements++) {
		check_statement(conn, *statements);
		if ((*statements)->together)
			check_together(conn, *statements);
	}
	PQfinish(conn);
	store_close(&store);
}

Test(statements, of_audit)
{
	check_service("audit", audit_migrations, audit_statements);
}

Test(statements, of_identity)
{
	check_service("identity", identity_migrations, identity_statements);
}

Test(statements, of_claims)
{
	check_service("claims", claims_migrations, claims_statements);
}

Test(statements, of_session)
{
	check_service("session", session_migrations, session_statements);
}

Test(statements, of_every_process)
{
	check_service("identity", identity_migrations, common_statements);
}
