/* The identity schema: rows as structs, one function per named statement. Results live in the store's arena. */
#pragma once

#include "base/arena.h"
#include "base/secret.h"
#include "base/status.h"
#include "db/db.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What every statement needs of its call. */
struct store {
	struct db *db;
	struct db_tx *tx; /* NULL: statements run by themselves */
	struct arena *arena;
	int64_t deadline_us; /* monotonic */
	struct id project;
	const char *conflict; /* set with ST_ALREADY_EXISTS: the violated constraint */
};

/* What is committed together with a change: the event and the record that makes the write repeatable. */
struct store_effects {
	const void *event; /* packed */
	size_t event_len;
	bool revokes;               /* the event takes access away */
	const struct id *operation; /* NULL: none is recorded */
	uint32_t method;
	const uint8_t *request_hash;
	const void *reply; /* packed */
	size_t reply_len;
	int64_t at_us;
};

/* Runs stmt in the store's transaction or by itself and notes the violated constraint. For store*.c. */
MUST_USE enum status store_run(struct store *store, const struct db_stmt *stmt, const struct db_args *args,
                               struct db_rows *ret_rows);
/* Appends the six parameters event, operation id, method, request hash, reply, time. */
void store_arg_effects(struct db_args *args, const struct store_effects *effects);

/* ---- users ---- */

enum user_status { USER_INVITED = 1, USER_ACTIVE = 2, USER_DISABLED = 3 };

struct user {
	struct id id;
	int16_t status;
	const char *email; /* canonical; NULL = none, as for all texts below */
	bool email_verified;
	const char *phone;
	bool phone_verified;
	const char *name, *given_name, *family_name, *picture;
	const char *external_id;
	char **login_ids; /* the additional ones, canonical */
	size_t login_id_count;
	const char *attributes; /* JSON object */
	bool has_password;
	const char *password_hash; /* only from store_user_get and store_user_by_login */
	int64_t version, epoch;
	int64_t created_at_us, updated_at_us;
};

MUST_USE enum status store_user_get(struct store *store, const struct id *user_id, struct user *ret_user);
/* As store_user_get without the hash: what is shown. */
MUST_USE enum status store_user_show(struct store *store, const struct id *user_id, struct user *ret_user);
MUST_USE enum status store_user_by_login(struct store *store, const char *login, struct user *ret_user);

/* A complete new user row and what goes with it. */
struct store_user_write {
	const struct user *user;
	const char *search_text;
	int16_t shard;
	const char *const *logins_added; /* sorted */
	size_t logins_added_count;
	int64_t schema_version; /* of the attribute schema that the row was checked against */
	/* updates only: the row as it was read */
	const struct user *before;
	const char *const *logins_removed;
	size_t logins_removed_count;
};
/* ST_ABORTED: the attribute schema (or, for an update, the row) is another by now. ST_ALREADY_EXISTS: store->conflict. */
MUST_USE enum status store_user_create(struct store *store, const struct store_user_write *write,
                                       const struct store_effects *effects);
MUST_USE enum status store_user_update(struct store *store, const struct store_user_write *write,
                                       const struct store_effects *effects);
/* Deletes the row as it was read; ST_ABORTED when it moved. */
MUST_USE enum status store_user_delete(struct store *store, const struct user *before, int16_t shard,
                                       const struct store_effects *effects);
/* Moves the epoch to before->epoch + 1; ST_ABORTED when it moved. */
MUST_USE enum status store_user_bump_epoch(struct store *store, const struct user *before,
                                           const struct store_effects *effects);
/* Replaces one hash by another of the same password. ST_ABORTED when it is no longer there. */
MUST_USE enum status store_user_rehash(struct store *store, const struct user *user, const char *new_hash);

/* ---- lists ---- */

enum user_order { ORDER_CREATED_DESC, ORDER_CREATED_ASC, ORDER_EMAIL_DESC, ORDER_EMAIL_ASC };
struct user_query {
	enum user_order order;
	int16_t status; /* 0 = all */
	int limit;
	bool by_key; /* continue behind the key below; else skip `offset` rows */
	int64_t after_created_us;
	const char *after_email;
	struct id after_id;
	int64_t offset;
	const char *pattern; /* LIKE pattern over the search text; NULL = all */
	bool walk;           /* pattern: read the project's rows one after another, without the trigram index */
};
struct user_page {
	struct user *users;
	size_t count;
	int64_t total; /* all rows that the query describes, exact */
};
MUST_USE enum status store_user_list(struct store *store, const struct user_query *query, struct user_page *ret_page);
/* The kept total of a project's users with one status (0 = all). */
MUST_USE enum status store_user_count(struct store *store, int16_t status, int64_t *ret_total);

struct user_lookup {
	const struct id *ids;
	size_t id_count;
	const char *const *logins; /* canonical e-mail addresses */
	size_t login_count;
	const char *const *external_ids;
	size_t external_id_count;
};
/* Every user that one of the values names, each once. */
MUST_USE enum status store_user_lookup(struct store *store, const struct user_lookup *lookup,
                                       struct user_page *ret_page);

/* ---- import ---- */

/* A value of the batch that belongs to a user already. */
struct import_match {
	bool external_id; /* else a login id */
	const char *value;
	struct id user;
};
struct import_found {
	struct import_match *matches;
	size_t count;
	bool done; /* the operation is on record: the batch was written before */
};
MUST_USE enum status store_import_find(struct store *store, const struct user_lookup *lookup,
                                       const struct id *operation, struct import_found *ret_found);

struct store_import {
	const struct user *users; /* all texts canonical */
	size_t count;
	const char *const *search_texts; /* per user */
	const struct db_blob *events;    /* per user */
	const char *const *logins;       /* all users' login values ... */
	const struct id *login_users;    /* ... and whose they are */
	size_t login_count;
	int64_t schema_version;
};
/* All rows or none, in one statement. effects->event is not used. Statuses as store_user_create. */
MUST_USE enum status store_import_insert(struct store *store, const struct store_import *import,
                                         const struct store_effects *effects);

/* ---- custom-attribute schema ---- */

/* version 0 and "[]" when the project has none. definitions: JSON array. */
MUST_USE enum status store_schema_get(struct store *store, int64_t *ret_version, const char **ret_definitions);
/* From version - 1 to version; ST_ABORTED when it moved. */
MUST_USE enum status store_schema_put(struct store *store, int64_t version, const char *definitions,
                                      const struct store_effects *effects);
