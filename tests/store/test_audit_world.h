/* A database of its own for each store test of audit. */
#pragma once

#include "../../services/audit/appender.h"
#include "../../services/audit/verify.h"

#include <libpq-fe.h>

#define WORLD_ARENA_BYTES (64 * 1024 * 1024)

/* Made from the server that DENIZEN_TEST_DB names; migrated, empty. */
struct world {
	char name[64];
	char conninfo[512];
	PGconn *owner; /* of the new database, search_path audit */
	struct db *db;
	struct arena *arena;
	struct appender *appender;
};

/* Skips the test without DENIZEN_TEST_DB; fails it when the database cannot be made. */
void audit_world_open(struct world *world);
/* In two steps: a database without the schema, with owner alone; and what is missing to the newest schema, and the rest of the world. */
void audit_world_open_empty(struct world *world);
void audit_world_migrate(struct world *world);
void audit_world_close(struct world *world);

struct db *audit_world_open_db(const struct world *world);
struct sql_scope audit_world_call(struct world *world);
void audit_world_execute(PGconn *connection, const char *sql);
int64_t audit_world_ask_number(PGconn *connection, const char *sql);
