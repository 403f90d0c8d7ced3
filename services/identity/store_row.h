/* Reading a users row: the columns in one order for every statement. For store_*.c. */
#pragma once

#include "store.h"

/* What is shown of a user; USER_COLUMNS is the number of columns. */
#define USER_SHOWN(t)                                                                                                  \
	t ".user_id, " t ".status, " t ".email, " t ".email_verified, " t ".phone, " t ".phone_verified, " t           \
	  ".name, " t ".given_name, " t ".family_name, " t ".picture, " t ".external_id, " t ".login_ids, " t          \
	  ".attributes, " t ".password_hash IS NOT NULL, " t ".version, " t ".epoch, " t ".created_at_us, " t          \
	  ".updated_at_us"
#define USER_COLUMNS 18

/* Reads the columns from `first` on. */
MUST_USE enum status store_row_user(const struct db_rows *rows, int row, int first, struct arena *arena,
                                    struct user *ret_user);

/* The last statements of a user's change: outbox row and operation record, driven from w. Parameters $a..$f as
 * store_arg_effects appends them; revokes: effects->revokes. */
#define SQL_OUTBOX(a, revokes)                                                                                         \
	"o AS (INSERT INTO outbox (project_id, event, revokes) SELECT $1, " a ", " revokes " FROM w)"
#define SQL_OPERATION(b, c, d, e, f)                                                                                   \
	"p AS (INSERT INTO operation (project_id, operation_id, method, request_hash, reply, at_us) "                  \
	"SELECT $1, " b ", " c ", " d ", " e ", " f " FROM w WHERE " b " IS NOT NULL)"

/* True when the attribute schema has the version that the row was checked against. */
#define SQL_SCHEMA_IS(version) "coalesce((SELECT version FROM attribute_schema WHERE project_id = $1), 0) = " version

/* Who has a value: one index probe for each. LIMIT keeps the planner from reading the whole project instead, which it does
 * while the statistics are those of a small table. */
#define SQL_LOGIN_OWNER(value)                                                                                         \
	"LATERAL (SELECT user_id FROM login_id WHERE project_id = $1 AND login_id.value = " value " LIMIT 1) m"
#define SQL_EXTERNAL_OWNER(value)                                                                                      \
	"LATERAL (SELECT user_id FROM users WHERE project_id = $1 AND external_id = " value " LIMIT 1) m"
