/* Numbered SQL files per service, embedded at build time, applied once, in order, under a lock.
 *
 * Each runs in a transaction, but for one whose first line is "-- outside a transaction": its statements (each ends a line with ";") run one by
 * one, as CREATE INDEX CONCURRENTLY needs it, and all of them again when they were cut off: begin with what makes that harmless. */
#pragma once

#include "base/status.h"

struct migration {
	int number;       /* 1, 2, 3 ... */
	const char *name; /* file name */
	const char *sql;  /* whole file */
};

/* Applies what is missing to `schema` as the owner connection `conninfo`: creates the schema and the login role of the same
 * name when absent (password role_password, "" = none), grants the role the rights on its own schema only, then runs the
 * files. Refuses (ST_CONFLICT, logged) when an applied file's checksum changed or the database is newer than the program.
 * Safe to run from several replicas at once (advisory lock held in the migration transaction). Blocking. */
MUST_USE enum status migrate_run(const char *conninfo, const char *schema, const char *role_password,
                                 const struct migration *migrations);
