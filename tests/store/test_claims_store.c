/* The schema `claims` against a real Postgres: versions, size, keys at rest, rotation, deleted users. */
#include "../../services/claims/service.h"
#include "base/clock.h"
#include "bus/method.h"
#include "db/migrate.h"

#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

extern const struct migration claims_migrations[];

static const uint8_t kek[SEAL_KEY_SIZE] = {7};

struct fixture {
	struct sql_scope scope; /* project: that of the fixture */
	struct keyring *keyring;
	struct id project, user;
};

/* The statements see the fixture's project as it is now. */
static struct sql_scope *in_project(struct fixture *f)
{
	f->scope.project = &f->project;
	return &f->scope;
}

static struct fixture fixture_new(void)
{
	const char *conninfo = getenv("DENIZEN_TEST_DB");
	cr_assert_not_null(conninfo, "set DENIZEN_TEST_DB");
	secret_init();
	cr_assert_eq(migrate_run(conninfo, "claims", "", claims_migrations), ST_OK);
	struct db_options options = {.conninfo = conninfo, .schema = "claims", .read_lanes = 1, .write_lanes = 1};
	struct fixture f = {
	    .scope = {.db = db_new(&options), .arena = arena_new(8 << 20)},
	    .keyring = keyring_new(kek),
	    .project = id_new(),
	    .user = id_new(),
	};
	cr_assert(f.scope.db && f.scope.arena && f.keyring);
	return f;
}

static void fixture_free(struct fixture *f)
{
	keyring_free(&f->keyring);
	db_free(&f->scope.db);
	arena_free(&f->scope.arena);
}

/* A text in SQL, run by the test itself; the first value of the answer, to be freed. */
static char *sql_value(const char *sql)
{
	PGconn *connection = PQconnectdb(getenv("DENIZEN_TEST_DB"));
	PQclear(PQexec(connection, "SET search_path = claims"));
	PGresult *result = PQexec(connection, sql);
	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s", PQerrorMessage(connection));
	char *value = strdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	PQfinish(connection);
	return value;
}

static long sql_count(const struct fixture *f, const char *table)
{
	char hex[2 * ID_SIZE + 1];
	hex_encode(f->project.bytes, ID_SIZE, hex);
	char *value =
	    sql_value(arena_printf(f->scope.arena, "SELECT count(*) FROM %s WHERE project_id = '%s'", table, hex));
	long count = strtol(value, NULL, 10);
	free(value);
	return count;
}

/* A change with its effects, as change_write makes them; 0 rows is ST_ABORTED. */
static enum status change(struct fixture *f, const struct id *operation, const struct db_stmt *stmt, const void *params)
{
	static const uint8_t hash[SHA256_SIZE] = {1};
	struct db_blob event = {"event", 5};
	struct db_effects effects = {.events = {&event, 1},
	                             .operation = operation,
	                             .method = M_CLAIMS_PUT_CLAIMS,
	                             .request_hash = {hash, sizeof(hash)},
	                             .reply = {"reply", 5},
	                             .at_us = clock_wall_us()};
	struct sql_scope scope = *in_project(f);
	int64_t rows;
	scope.effects = &effects;
	enum status status = sql_run(&scope, stmt, params, &rows);
	return status == ST_OK && rows == 0 ? ST_ABORTED : status;
}

static enum status put(struct fixture *f, int64_t version, const char *document, const struct id *operation)
{
	Claims__Rows__UserClaims row = CLAIMS__ROWS__USER_CLAIMS__INIT;
	row.has_user_id = row.has_version = row.has_updated_at_us = true;
	row.user_id = (ProtobufCBinaryData){ID_SIZE, f->user.bytes};
	row.document = (char *)document;
	row.version = version;
	row.updated_at_us = clock_wall_us();
	return change(f, operation, &sql_claims_write, &(struct sql_claims_write){&row});
}

static enum status read_row(struct fixture *f, Claims__Rows__UserClaims **ret_row)
{
	struct sql_claims_get_row found;
	enum status status = sql_one(in_project(f), &sql_claims_get, &(struct sql_claims_get){&f->user}, &found);
	if (status == ST_OK)
		*ret_row = found.claims;
	return status;
}

static Claims__Rows__UserClaims *row_now(struct fixture *f)
{
	Claims__Rows__UserClaims *row = NULL;
	cr_assert_eq(read_row(f, &row), ST_OK);
	return row;
}

static enum status read_mint(struct fixture *f, struct sql_mint_read_row *ret_row)
{
	return sql_one(in_project(f), &sql_mint_read, &(struct sql_mint_read){&f->user}, ret_row);
}

static size_t list(struct fixture *f, int64_t now_us, struct sql_signing_key_list_row **ret_rows)
{
	size_t count;
	cr_assert_eq(
	    sql_all(in_project(f), &sql_signing_key_list, &(struct sql_signing_key_list){now_us}, ret_rows, &count),
	    ST_OK);
	return count;
}

Test(claims_store, a_write_needs_the_version_before_it)
{
	struct fixture f = fixture_new();
	struct id first = id_new(), second = id_new(), third = id_new();
	Claims__Rows__UserClaims *row;
	cr_assert_eq(read_row(&f, &row), ST_NOT_FOUND);
	cr_assert_eq(put(&f, 1, "{\"a\":1}", &first), ST_OK);
	cr_assert_eq(put(&f, 1, "{\"a\":2}", &second), ST_ABORTED);
	cr_assert_eq(put(&f, 3, "{\"a\":3}", &second), ST_ABORTED);
	cr_assert_str_eq(row_now(&f)->document, "{\"a\":1}");
	cr_assert_eq(put(&f, 2, "{\"a\":2}", &third), ST_OK);
	cr_assert_eq(row_now(&f)->version, 2);
	cr_assert_eq(sql_count(&f, "outbox"), 2, "one event for each write that happened, none for the others");
	cr_assert_eq(sql_count(&f, "operation"), 2);
	fixture_free(&f);
}

Test(claims_store, an_operation_happens_once)
{
	struct fixture f = fixture_new();
	struct id operation = id_new();
	cr_assert_eq(put(&f, 1, "{\"a\":1}", &operation), ST_OK);
	cr_assert_eq(put(&f, 2, "{\"a\":2}", &operation), ST_ALREADY_EXISTS);
	cr_assert_eq(row_now(&f)->version, 1);
	cr_assert_eq(sql_count(&f, "outbox"), 1);
	fixture_free(&f);
}

Test(claims_store, the_table_refuses_4097_bytes)
{
	struct fixture f = fixture_new();
	struct id operation = id_new();
	char document[4098];
	memset(document, ' ', sizeof(document));
	document[0] = '{';
	document[4096] = '}';
	document[4097] = '\0';
	cr_assert_neq(put(&f, 1, document, &operation), ST_OK);
	document[4095] = '}';
	document[4096] = '\0';
	cr_assert_eq(put(&f, 1, document, &operation), ST_OK);
	cr_assert_eq(strlen(row_now(&f)->document), 4096);
	fixture_free(&f);
}

Test(claims_store, projects_do_not_see_each_other)
{
	struct fixture f = fixture_new();
	Claims__Rows__UserClaims *row;
	struct id operation = id_new();
	cr_assert_eq(put(&f, 1, "{\"a\":1}", &operation), ST_OK);
	f.project = id_new();
	cr_assert_eq(read_row(&f, &row), ST_NOT_FOUND);
	fixture_free(&f);
}

/* ---- keys ---- */

/* What a project has after it was announced, by this replica or another. */
struct key_pair {
	struct sealed_key active, next;
};

static struct key_pair keys_new(struct fixture *f)
{
	struct key_pair pair;
	int64_t now_us = clock_wall_us(), rows;
	cr_assert_eq(keyring_generate(f->keyring, &f->project, &pair.active), ST_OK);
	cr_assert_eq(keyring_generate(f->keyring, &f->project, &pair.next), ST_OK);
	Claims__Rows__SigningKey active = claims_key_row(&pair.active, "active", now_us);
	Claims__Rows__SigningKey next = claims_key_row(&pair.next, "next", now_us);
	struct sql_signing_keys_create params = {&active, &next};
	cr_assert_eq(sql_run(in_project(f), &sql_signing_keys_create, &params, &rows), ST_OK);
	return pair;
}

/* The keys after it, when the change is one of those that *keys names. */
static enum status replace(struct fixture *f, struct key_pair *keys, int64_t now_us, int64_t retires_at_us)
{
	struct sealed_key made;
	struct id operation = id_new();
	cr_assert_eq(keyring_generate(f->keyring, &f->project, &made), ST_OK);
	Claims__Rows__SigningKey key = claims_key_row(&made, "next", now_us);
	struct sql_signing_key_replace params = {keys->active.kid, keys->next.kid, retires_at_us, &key};
	enum status status = change(f, &operation, &sql_signing_key_replace, &params);
	if (status == ST_OK)
		*keys = (struct key_pair){keys->next, made};
	return status;
}

static bool key_is(const struct sql_signing_key_list_row *row, const struct sealed_key *key, const char *state)
{
	return strcmp(row->key->kid, key->kid) == 0 && strcmp(row->key->state, state) == 0;
}

Test(claims_store, the_first_keys_are_made_once)
{
	struct fixture f = fixture_new();
	struct sql_mint_read_row row;
	struct sql_signing_key_list_row *keys;
	cr_assert_eq(read_mint(&f, &row), ST_NOT_FOUND);
	struct key_pair first = keys_new(&f);
	keys_new(&f); /* another replica at the same moment */
	cr_assert_eq(read_mint(&f, &row), ST_OK);
	cr_assert_str_eq(row.kid, first.active.kid);
	cr_assert_null(row.document);
	cr_assert_eq(list(&f, clock_wall_us(), &keys), 2, "the next key is published with the first one");
	cr_assert(key_is(&keys[0], &first.active, "active") && key_is(&keys[1], &first.next, "next"));
	cr_assert_eq(keys[0].key->created_at_us, keys[1].key->created_at_us);
	fixture_free(&f);
}

Test(claims_store, keys_are_sealed_at_rest)
{
	struct fixture f = fixture_new();
	static const uint8_t other_kek[SEAL_KEY_SIZE] = {8};
	struct keyring *stranger = keyring_new(other_kek);
	struct sealed_key key = keys_new(&f).active;
	struct sql_mint_read_row row;
	const struct jwt_key *opened;
	uint8_t d[JWT_COORDINATE_SIZE], aad[ID_SIZE + TOKEN_KID_SIZE];
	char hex[2 * JWT_COORDINATE_SIZE + 1];
	cr_assert_eq(read_mint(&f, &row), ST_OK);
	cr_assert(row.sealed_private.len == sizeof(key.sealed) &&
	          memcmp(row.sealed_private.data, key.sealed, sizeof(key.sealed)) == 0);
	cr_assert_eq(keyring_open(f.keyring, &f.project, &key, &opened), ST_OK);
	cr_assert_eq(keyring_open(stranger, &f.project, &key, &opened), ST_INTERNAL);
	cr_assert_eq(keyring_open(f.keyring, &f.user, &key, &opened), ST_INTERNAL, "another project");

	memcpy(aad, f.project.bytes, ID_SIZE);
	memcpy(aad + ID_SIZE, key.kid, strlen(key.kid));
	struct secret_piece sealed = {key.sealed, sizeof(key.sealed)};
	cr_assert_eq(secret_open(kek, aad, ID_SIZE + strlen(key.kid), &sealed, d), ST_OK);
	hex_encode(d, sizeof(d), hex);
	char *hits = sql_value(
	    arena_printf(f.scope.arena, "SELECT count(*) FROM signing_key k WHERE strpos(k::text, '%s') > 0", hex));
	cr_assert_str_eq(hits, "0", "the private number stands in the table in plain");
	free(hits);
	keyring_free(&stranger);
	fixture_free(&f);
}

Test(claims_store, rotation_keeps_the_old_key_for_a_while)
{
	struct fixture f = fixture_new();
	int64_t now_us = clock_wall_us();
	struct key_pair keys = {0};
	struct sql_signing_key_list_row *rows;
	struct sql_mint_read_row row;
	cr_assert_eq(replace(&f, &keys, now_us, now_us + 100), ST_ABORTED, "nothing to rotate yet");
	cr_assert_eq(sql_count(&f, "outbox"), 0);
	struct key_pair first = keys_new(&f);
	keys = first;
	cr_assert_eq(replace(&f, &keys, now_us, now_us + 100), ST_OK);
	cr_assert_eq(sql_count(&f, "outbox"), 1);
	cr_assert_eq(read_mint(&f, &row), ST_OK);
	cr_assert_str_eq(row.kid, first.next.kid, "the one that was published before");

	cr_assert_eq(list(&f, now_us + 99, &rows), 3);
	cr_assert(key_is(&rows[0], &first.next, "active") && !rows[0].key->has_retires_at_us);
	cr_assert(key_is(&rows[1], &keys.next, "next"));
	cr_assert(key_is(&rows[2], &first.active, "retiring"));
	cr_assert_eq(rows[2].key->retires_at_us, now_us + 100);
	cr_assert_eq(list(&f, now_us + 100, &rows), 2, "its time is over");

	cr_assert_eq(replace(&f, &first, now_us + 101, now_us + 201), ST_ABORTED, "keys as they were before");
	cr_assert_eq(sql_count(&f, "signing_key"), 3, "nothing happened");
	cr_assert_eq(replace(&f, &keys, now_us + 101, now_us + 201), ST_OK);
	cr_assert_eq(sql_count(&f, "signing_key"), 3, "the first one is gone");
	char *sealed =
	    sql_value("SELECT count(*) FROM signing_key WHERE state = 'retiring' AND sealed_private IS NOT NULL");
	cr_assert_str_eq(sealed, "0", "a key that does not sign any more has no private part");
	free(sealed);
	fixture_free(&f);
}

static enum status drop_key(struct fixture *f, const char *kid)
{
	struct sealed_key made;
	struct id operation = id_new();
	cr_assert_eq(keyring_generate(f->keyring, &f->project, &made), ST_OK);
	Claims__Rows__SigningKey key = claims_key_row(&made, "next", clock_wall_us());
	struct sql_signing_key_drop params = {kid, &key};
	return change(f, &operation, &sql_signing_key_drop, &params);
}

Test(claims_store, a_withdrawn_key_is_gone)
{
	struct fixture f = fixture_new();
	int64_t now_us = clock_wall_us();
	struct sql_signing_key_list_row *rows;
	struct key_pair first = keys_new(&f), keys = first;
	cr_assert_eq(drop_key(&f, first.active.kid), ST_ABORTED, "the active one is replaced");
	cr_assert_eq(replace(&f, &keys, now_us, 0), ST_OK);
	cr_assert_eq(list(&f, 1, &rows), 2, "over for every clock");
	cr_assert(key_is(&rows[0], &first.next, "active") && key_is(&rows[1], &keys.next, "next"));
	cr_assert_eq(drop_key(&f, keys.next.kid), ST_OK);
	cr_assert_eq(list(&f, now_us, &rows), 2);
	cr_assert(key_is(&rows[0], &first.next, "active") && strcmp(rows[1].key->state, "next") == 0);
	cr_assert_str_neq(rows[1].key->kid, keys.next.kid, "another one is published");
	cr_assert_eq(drop_key(&f, keys.next.kid), ST_ABORTED);
	cr_assert_eq(drop_key(&f, first.active.kid), ST_OK, "a retired one");
	cr_assert_eq(sql_count(&f, "signing_key"), 2);
	fixture_free(&f);
}

#define RACERS 4
#define RACE_ROUNDS 20

struct racer {
	struct id project;
	int rotated, dropped;
};

/* The keys as they are now; only their names matter. */
static struct key_pair keys_now(struct fixture *f)
{
	struct key_pair pair = {0};
	struct sql_signing_key_list_row *rows;
	size_t count = list(f, clock_wall_us(), &rows);
	cr_assert(count >= 2 && strcmp(rows[0].key->state, "active") == 0 && strcmp(rows[1].key->state, "next") == 0,
	          "at every moment there is one of each");
	memcpy(pair.active.kid, rows[0].key->kid, strlen(rows[0].key->kid) + 1);
	memcpy(pair.next.kid, rows[1].key->kid, strlen(rows[1].key->kid) + 1);
	return pair;
}

static void *race(void *arg)
{
	struct racer *racer = arg;
	struct fixture f = fixture_new();
	f.project = racer->project;
	keys_new(&f);
	for (int i = 0; i < RACE_ROUNDS; i++) {
		int64_t now_us = clock_wall_us();
		struct key_pair keys = keys_now(&f);
		bool withdraws = i % 4 == 3;
		enum status status =
		    withdraws ? drop_key(&f, keys.next.kid) : replace(&f, &keys, now_us, now_us + 60 * US_PER_SEC);
		cr_assert(status == ST_OK || status == ST_ABORTED, "%s", status_name((int)status));
		*(withdraws ? &racer->dropped : &racer->rotated) += status == ST_OK;
	}
	fixture_free(&f);
	return NULL;
}

Test(claims_store, replicas_may_rotate_and_withdraw_at_once)
{
	struct fixture f = fixture_new();
	struct racer racers[RACERS];
	pthread_t threads[RACERS];
	int rotated = 0, dropped = 0;
	for (int i = 0; i < RACERS; i++) {
		racers[i] = (struct racer){.project = f.project};
		cr_assert_eq(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	}
	for (int i = 0; i < RACERS; i++) {
		pthread_join(threads[i], NULL);
		rotated += racers[i].rotated;
		dropped += racers[i].dropped;
	}
	cr_assert_geq(rotated, RACE_ROUNDS / 2);
	cr_assert_gt(dropped, 0);
	cr_assert_eq(sql_count(&f, "outbox"), rotated + dropped);
	cr_assert_leq(sql_count(&f, "signing_key"), rotated + 2, "the first two, and one for each rotation");
	keys_now(&f);
	fixture_free(&f);
}

/* ---- the ledger ---- */

static enum status drop(struct fixture *f, size_t count, int64_t next)
{
	struct id projects[2] = {f->project, f->project},
	          users[2] = {f->user, f->user}; /* twice: at least once delivery */
	struct sql_claims_drop params = {next, {projects, count}, {users, count}, clock_wall_us()};
	int64_t rows;
	return sql_run(in_project(f), &sql_claims_drop, &params, &rows);
}

static int64_t position(struct fixture *f)
{
	struct sql_claims_position_row found;
	cr_assert_eq(sql_one(in_project(f), &sql_claims_position, NULL, &found), ST_OK);
	return found.position;
}

Test(claims_store, deleted_users_lose_their_claims)
{
	struct fixture f = fixture_new();
	struct id first = id_new(), late = id_new(), second = id_new();
	Claims__Rows__UserClaims *row;
	struct sql_mint_read_row mint;
	int64_t start = position(&f), rows;
	cr_assert_eq(put(&f, 1, "{\"a\":1}", &first), ST_OK);
	keys_new(&f);
	cr_assert_eq(drop(&f, 2, start + 10), ST_OK);
	cr_assert_eq(read_row(&f, &row), ST_NOT_FOUND);
	cr_assert_eq(read_mint(&f, &mint), ST_OK);
	cr_assert_null(mint.document);
	cr_assert_eq(put(&f, 2, "{\"a\":2}", &late), ST_ABORTED, "a write that had read before");
	cr_assert_eq(put(&f, 1, "{\"a\":2}", &late), ST_ABORTED);
	cr_assert_eq(position(&f), start + 10);

	cr_assert_eq(drop(&f, 2, start + 10), ST_OK, "the same batch again, or another replica");
	cr_assert_eq(drop(&f, 0, start + 20), ST_OK);
	cr_assert_eq(drop(&f, 0, start + 15), ST_OK);
	cr_assert_eq(position(&f), start + 20, "the position never goes back");

	f.user = id_new();
	cr_assert_eq(put(&f, 1, "{\"a\":1}", &second), ST_OK);
	cr_assert_eq(drop(&f, 2, start + 20), ST_OK);
	cr_assert_eq(row_now(&f)->version, 1, "a position that was applied has no effect again");
	cr_assert_eq(sql_run(in_project(&f), &sql_claims_purge, &(struct sql_claims_purge){clock_wall_us() + 1}, &rows),
	             ST_OK);
	cr_assert_eq(sql_count(&f, "user_claims"), 1);
	fixture_free(&f);
}
