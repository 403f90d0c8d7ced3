/* The schema `claims` against a real Postgres: versions, size, keys at rest, rotation, deleted users. */
#include "../../services/claims/store.h"
#include "base/clock.h"
#include "db/migrate.h"

#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

extern const struct migration claims_migrations[];

static const uint8_t kek[SEAL_KEY_SIZE] = {7};

struct fixture {
	struct store store;
	struct keyring *keyring;
	struct id project, user;
};

static struct fixture fixture_new(void)
{
	const char *conninfo = getenv("DENIZEN_TEST_DB");
	cr_assert_not_null(conninfo, "set DENIZEN_TEST_DB");
	secret_init();
	cr_assert_eq(migrate_run(conninfo, "claims", "", claims_migrations), ST_OK);
	struct db_options options = {.conninfo = conninfo, .schema = "claims", .read_lanes = 1, .write_lanes = 1};
	struct fixture f = {
	    .store = {.db = db_new(&options), .arena = arena_new(8 << 20)},
	    .keyring = keyring_new(kek),
	    .project = id_new(),
	    .user = id_new(),
	};
	cr_assert(f.store.db != NULL && f.store.arena != NULL && f.keyring != NULL);
	return f;
}

static void fixture_free(struct fixture *f)
{
	keyring_free(&f->keyring);
	db_free(&f->store.db);
	arena_free(&f->store.arena);
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
	    sql_value(arena_printf(f->store.arena, "SELECT count(*) FROM %s WHERE project_id = '%s'", table, hex));
	long count = strtol(value, NULL, 10);
	free(value);
	return count;
}

static struct operation operation_new(void)
{
	static const uint8_t hash[SHA256_SIZE] = {1};
	return (struct operation){id_new(), 2002, hash, (const uint8_t *)"reply", 5, clock_wall_us()};
}

static enum status put(struct fixture *f, int64_t version, const char *document, const struct operation *operation)
{
	struct claims_write write = {
	    .project = f->project,
	    .user = f->user,
	    .row = {document, version, clock_wall_us()},
	    .operation = *operation,
	    .event = {(const uint8_t *)"event", 5},
	};
	return store_write_claims(&f->store, &write);
}

static struct claims_row read_row(struct fixture *f)
{
	struct claims_row row;
	cr_assert_eq(store_read_claims(&f->store, &f->project, &f->user, &row), ST_OK);
	return row;
}

Test(claims_store, a_write_needs_the_version_before_it)
{
	struct fixture f = fixture_new();
	struct operation first = operation_new(), second = operation_new(), third = operation_new();
	cr_assert_eq(read_row(&f).version, 0);
	cr_assert_str_eq(read_row(&f).document, "{}");
	cr_assert_eq(put(&f, 1, "{\"a\":1}", &first), ST_OK);
	cr_assert_eq(put(&f, 1, "{\"a\":2}", &second), ST_ABORTED);
	cr_assert_eq(put(&f, 3, "{\"a\":3}", &second), ST_ABORTED);
	cr_assert_str_eq(read_row(&f).document, "{\"a\":1}");
	cr_assert_eq(put(&f, 2, "{\"a\":2}", &third), ST_OK);
	cr_assert_eq(read_row(&f).version, 2);
	cr_assert_eq(sql_count(&f, "outbox"), 2, "one event for each write that happened, none for the others");
	cr_assert_eq(sql_count(&f, "operation"), 2);
	fixture_free(&f);
}

Test(claims_store, an_operation_happens_once)
{
	struct fixture f = fixture_new();
	struct operation operation = operation_new();
	cr_assert_eq(put(&f, 1, "{\"a\":1}", &operation), ST_OK);
	cr_assert_eq(put(&f, 2, "{\"a\":2}", &operation), ST_ALREADY_EXISTS);
	cr_assert_eq(read_row(&f).version, 1);
	cr_assert_eq(sql_count(&f, "outbox"), 1);
	fixture_free(&f);
}

Test(claims_store, the_table_refuses_4097_bytes)
{
	struct fixture f = fixture_new();
	struct operation operation = operation_new();
	char document[4098];
	memset(document, ' ', sizeof(document));
	document[0] = '{';
	document[4096] = '}';
	document[4097] = '\0';
	cr_assert_neq(put(&f, 1, document, &operation), ST_OK);
	document[4095] = '}';
	document[4096] = '\0';
	cr_assert_eq(put(&f, 1, document, &operation), ST_OK);
	cr_assert_eq(strlen(read_row(&f).document), 4096);
	fixture_free(&f);
}

Test(claims_store, projects_do_not_see_each_other)
{
	struct fixture f = fixture_new();
	struct operation operation = operation_new();
	cr_assert_eq(put(&f, 1, "{\"a\":1}", &operation), ST_OK);
	f.project = id_new();
	cr_assert_eq(read_row(&f).version, 0);
	fixture_free(&f);
}

/* ---- keys ---- */

/* What a project has after it was announced, by this replica or another. */
struct key_pair {
	struct sealed_key active, next;
};

static struct key_pair keys_new(struct fixture *f)
{
	struct sealed_key keys[2];
	cr_assert_eq(keyring_generate(f->keyring, &f->project, &keys[0]), ST_OK);
	cr_assert_eq(keyring_generate(f->keyring, &f->project, &keys[1]), ST_OK);
	cr_assert_eq(store_create_keys(&f->store, &f->project, keys, clock_wall_us()), ST_OK);
	return (struct key_pair){keys[0], keys[1]};
}

/* The keys after it, when the change is one of those that *keys names. */
static enum status replace(struct fixture *f, struct key_pair *keys, int64_t now_us, int64_t retires_at_us)
{
	struct key_change change = {
	    .project = f->project,
	    .next_kid = keys->next.kid,
	    .active_kid = keys->active.kid,
	    .now_us = now_us,
	    .retires_at_us = retires_at_us,
	    .operation = operation_new(),
	    .event = {(const uint8_t *)"event", 5},
	};
	cr_assert_eq(keyring_generate(f->keyring, &f->project, &change.key), ST_OK);
	enum status status = store_replace_key(&f->store, &change);
	if (status == ST_OK)
		*keys = (struct key_pair){keys->next, change.key};
	return status;
}

Test(claims_store, the_first_keys_are_made_once)
{
	struct fixture f = fixture_new();
	struct mint_row row;
	struct key_row *keys;
	size_t count;
	cr_assert_eq(store_read_mint(&f.store, &f.project, &f.user, &row), ST_NOT_FOUND);
	struct key_pair first = keys_new(&f);
	keys_new(&f); /* another replica at the same moment */
	cr_assert_eq(store_read_mint(&f.store, &f.project, &f.user, &row), ST_OK);
	cr_assert_str_eq(row.key.kid, first.active.kid);
	cr_assert_null(row.document);
	cr_assert_eq(store_list_keys(&f.store, &f.project, clock_wall_us(), &keys, &count), ST_OK);
	cr_assert_eq(count, 2, "the next key is published with the first one");
	cr_assert(strcmp(keys[0].kid, first.active.kid) == 0 && strcmp(keys[0].state, "active") == 0);
	cr_assert(strcmp(keys[1].kid, first.next.kid) == 0 && strcmp(keys[1].state, "next") == 0);
	cr_assert_eq(keys[0].created_at_us, keys[1].created_at_us);
	fixture_free(&f);
}

Test(claims_store, keys_are_sealed_at_rest)
{
	struct fixture f = fixture_new();
	static const uint8_t other_kek[SEAL_KEY_SIZE] = {8};
	struct keyring *stranger = keyring_new(other_kek);
	struct sealed_key key = keys_new(&f).active;
	struct mint_row row;
	const struct jwt_key *opened;
	uint8_t d[JWT_COORDINATE_SIZE], aad[ID_SIZE + TOKEN_KID_SIZE];
	char hex[2 * JWT_COORDINATE_SIZE + 1];
	cr_assert_eq(store_read_mint(&f.store, &f.project, &f.user, &row), ST_OK);
	cr_assert_eq(memcmp(&row.key.sealed, key.sealed, sizeof(key.sealed)), 0);
	cr_assert_eq(keyring_open(f.keyring, &f.project, &row.key, &opened), ST_OK);
	cr_assert_eq(keyring_open(stranger, &f.project, &row.key, &opened), ST_INTERNAL);
	cr_assert_eq(keyring_open(f.keyring, &f.user, &row.key, &opened), ST_INTERNAL, "another project");

	memcpy(aad, f.project.bytes, ID_SIZE);
	memcpy(aad + ID_SIZE, row.key.kid, strlen(row.key.kid));
	struct secret_piece sealed = {row.key.sealed, sizeof(row.key.sealed)};
	cr_assert_eq(secret_open(kek, aad, ID_SIZE + strlen(row.key.kid), &sealed, d), ST_OK);
	hex_encode(d, sizeof(d), hex);
	char *hits = sql_value(
	    arena_printf(f.store.arena, "SELECT count(*) FROM signing_key k WHERE strpos(k::text, '%s') > 0", hex));
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
	struct key_row *rows;
	struct mint_row row;
	size_t count;
	cr_assert_eq(replace(&f, &keys, now_us, now_us + 100), ST_ABORTED, "nothing to rotate yet");
	cr_assert_eq(sql_count(&f, "outbox"), 0);
	struct key_pair first = keys_new(&f);
	keys = first;
	cr_assert_eq(replace(&f, &keys, now_us, now_us + 100), ST_OK);
	cr_assert_eq(sql_count(&f, "outbox"), 1);
	cr_assert_eq(store_read_mint(&f.store, &f.project, &f.user, &row), ST_OK);
	cr_assert_str_eq(row.key.kid, first.next.kid, "the one that was published before");

	cr_assert_eq(store_list_keys(&f.store, &f.project, now_us + 99, &rows, &count), ST_OK);
	cr_assert_eq(count, 3);
	cr_assert(strcmp(rows[0].kid, first.next.kid) == 0 && strcmp(rows[0].state, "active") == 0 && !rows[0].retires);
	cr_assert(strcmp(rows[1].kid, keys.next.kid) == 0 && strcmp(rows[1].state, "next") == 0);
	cr_assert(strcmp(rows[2].kid, first.active.kid) == 0 && strcmp(rows[2].state, "retiring") == 0);
	cr_assert_eq(rows[2].retires_at_us, now_us + 100);
	cr_assert_eq(store_list_keys(&f.store, &f.project, now_us + 100, &rows, &count), ST_OK);
	cr_assert_eq(count, 2, "its time is over");

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

#define RACERS 4
#define RACE_ROUNDS 20

struct racer {
	struct id project;
	int rotated;
};

/* The keys as they are now; only their names matter. */
static struct key_pair keys_now(struct fixture *f)
{
	struct key_pair pair = {0};
	struct key_row *rows;
	size_t count;
	cr_assert_eq(store_list_keys(&f->store, &f->project, clock_wall_us(), &rows, &count), ST_OK);
	cr_assert(count >= 2 && strcmp(rows[0].state, "active") == 0 && strcmp(rows[1].state, "next") == 0,
	          "at every moment there is one of each");
	memcpy(pair.active.kid, rows[0].kid, strlen(rows[0].kid) + 1);
	memcpy(pair.next.kid, rows[1].kid, strlen(rows[1].kid) + 1);
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
		enum status status = replace(&f, &keys, now_us, now_us + 60 * US_PER_SEC);
		cr_assert(status == ST_OK || status == ST_ABORTED, "%s", status_name((int)status));
		racer->rotated += status == ST_OK;
	}
	fixture_free(&f);
	return NULL;
}

Test(claims_store, replicas_may_rotate_at_once)
{
	struct fixture f = fixture_new();
	struct racer racers[RACERS];
	pthread_t threads[RACERS];
	int rotated = 0;
	for (int i = 0; i < RACERS; i++) {
		racers[i] = (struct racer){.project = f.project};
		cr_assert_eq(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	}
	for (int i = 0; i < RACERS; i++) {
		pthread_join(threads[i], NULL);
		rotated += racers[i].rotated;
	}
	cr_assert_geq(rotated, RACE_ROUNDS);
	cr_assert_eq(sql_count(&f, "outbox"), rotated);
	cr_assert_eq(sql_count(&f, "signing_key"), rotated + 2, "the first two, and one for each rotation");
	keys_now(&f);
	fixture_free(&f);
}

/* ---- the ledger ---- */

static enum status drop(struct fixture *f, int64_t next)
{
	struct id projects[2] = {f->project, f->project},
	          users[2] = {f->user, f->user}; /* twice: at least once delivery */
	struct dropped_users dropped = {projects, users, 2, clock_wall_us()};
	return store_drop_users(&f->store, &dropped, next);
}

Test(claims_store, deleted_users_lose_their_claims)
{
	struct fixture f = fixture_new();
	struct operation first = operation_new(), late = operation_new(), second = operation_new();
	struct dropped_users none = {NULL, NULL, 0, clock_wall_us()};
	struct mint_row row;
	int64_t start, position;
	cr_assert_eq(store_load_claims_position(&f.store, &start), ST_OK);
	cr_assert_eq(put(&f, 1, "{\"a\":1}", &first), ST_OK);
	keys_new(&f);
	cr_assert_eq(drop(&f, start + 10), ST_OK);
	cr_assert_eq(read_row(&f).version, 0);
	cr_assert_eq(store_read_mint(&f.store, &f.project, &f.user, &row), ST_OK);
	cr_assert_null(row.document);
	cr_assert_eq(put(&f, 2, "{\"a\":2}", &late), ST_ABORTED, "a write that had read before");
	cr_assert_eq(put(&f, 1, "{\"a\":2}", &late), ST_ABORTED);
	cr_assert_eq(store_load_claims_position(&f.store, &position), ST_OK);
	cr_assert_eq(position, start + 10);

	cr_assert_eq(drop(&f, start + 10), ST_OK, "the same batch again, or another replica");
	cr_assert_eq(store_drop_users(&f.store, &none, start + 20), ST_OK);
	cr_assert_eq(store_drop_users(&f.store, &none, start + 15), ST_OK);
	cr_assert_eq(store_load_claims_position(&f.store, &position), ST_OK);
	cr_assert_eq(position, start + 20, "the position never goes back");

	f.user = id_new();
	cr_assert_eq(put(&f, 1, "{\"a\":1}", &second), ST_OK);
	cr_assert_eq(drop(&f, start + 20), ST_OK);
	cr_assert_eq(read_row(&f).version, 1, "a position that was applied has no effect again");
	cr_assert_eq(store_purge_dropped(&f.store, clock_wall_us() + 1), ST_OK);
	cr_assert_eq(sql_count(&f, "user_claims"), 1);
	fixture_free(&f);
}
