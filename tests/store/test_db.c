/* The database gate against a real Postgres: values, errors of pipelined neighbours, deadlines, lost connections. */
#include "store.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct migration migrations[] = {
    {1, "0001_init.sql",
     "CREATE TABLE item (id int PRIMARY KEY, name text, n bigint NOT NULL DEFAULT 0);"
     "CREATE TABLE hit (id bigint GENERATED ALWAYS AS IDENTITY, worker int, CONSTRAINT hit_key UNIQUE (worker, id));"
     "INSERT INTO item (id, name) SELECT i, 'name ' || i FROM generate_series(1, 1000) i;"},
    {0},
};

static const struct db_stmt stmt_get_together = {
    "t_get_together",
    "SELECT k.n, item.id, item.name, item.n FROM (VALUES ($1::int4, 0), ($2, 1), ($3, 2), ($4, 3), ($5, 4), ($6, 5), "
    "($7, 6), ($8, 7)) k (id, n) "
    "JOIN item ON item.id = k.id",
    DB_READ};
static const struct db_stmt stmt_get = {"t_get", "SELECT id, name, n FROM item WHERE id = $1", DB_READ,
                                        &stmt_get_together};
static const struct db_stmt stmt_divide = {"t_divide", "SELECT 100 / $1::int4", DB_READ};
static const struct db_stmt stmt_insert = {"t_insert", "INSERT INTO item (id, name) VALUES ($1, $2)", DB_WRITE};
static const struct db_stmt stmt_add = {"t_add", "UPDATE item SET n = n + 1 WHERE id = $1 RETURNING n", DB_WRITE};
static const struct db_stmt stmt_sleep = {"t_sleep", "SELECT pg_sleep($1 / 1000.0)::text", DB_READ};
static const struct db_stmt stmt_sleep_write = {"t_sleep_write",
                                                "UPDATE item SET n = n + 1 WHERE id = 2 AND"
                                                " pg_sleep($1 / 1000.0) IS NOT NULL",
                                                DB_WRITE};
static const struct db_stmt stmt_wrong = {"t_wrong", "SELECT nothing FROM nowhere", DB_READ};

static enum status get_item(struct db *db, struct arena *arena, int id, struct db_rows *ret_rows)
{
	struct db_args args = {0};
	db_arg_int4(&args, id);
	return db_run(db, &stmt_get, &args, arena, 0, ret_rows);
}

static enum status run_int(struct db *db, const struct db_stmt *stmt, int value, int64_t budget_us)
{
	struct db_args args = {0};
	db_arg_int4(&args, value);
	return db_run(db, stmt, &args, NULL, clock_monotonic_us() + budget_us, NULL);
}

/* ---- values there and back ---- */

static const struct db_stmt stmt_values = {
    "t_values",
    "SELECT $1::uuid, $2::text, $3::bytea, $4::int8, $5::int4, $6::int2, $7::bool, $8::jsonb, $9::text, $10::int8",
    DB_READ};
static const struct db_stmt stmt_arrays = {
    "t_arrays",
    "SELECT $1::text[], ($2::uuid[])[2], ($3::int8[])[2], ($4::int2[])[1], ($5::bool[])[2],"
    " ($6::bytea[])[1], ($6::bytea[])[2], cardinality($7::text[]), $7::text[]",
    DB_READ};

static void check_values(struct db *db)
{
	struct arena *arena = arena_new(1 << 20);
	struct db_args args = {0};
	struct db_rows rows = {0};
	struct id id = id_new(), got;
	size_t len;
	db_arg_id(&args, &id);
	db_arg_text(&args, "grüße");
	db_arg_bytes(&args, "\0\1\2", 3);
	db_arg_int8(&args, INT64_MIN);
	db_arg_int4(&args, -7);
	db_arg_int2(&args, -300);
	db_arg_bool(&args, true);
	db_arg_jsonb(&args, arena, "{\"a\": [1, null]}");
	db_arg_text(&args, NULL);
	db_arg_int8_or_null(&args, false, 5);
	cr_assert_eq(db_run(db, &stmt_values, &args, arena, 0, &rows), ST_OK);
	cr_assert_eq(rows.count, 1);
	got = db_id(&rows, 0, 0);
	cr_assert(id_equal(&got, &id));
	cr_assert_str_eq(db_text(&rows, 0, 1), "grüße");
	cr_assert_eq(memcmp(db_bytes(&rows, 0, 2, &len), "\0\1\2", 3), 0);
	cr_assert_eq(len, 3);
	cr_assert_eq(db_int(&rows, 0, 3), INT64_MIN);
	cr_assert_eq(db_int(&rows, 0, 4), -7);
	cr_assert_eq(db_int(&rows, 0, 5), -300);
	cr_assert(db_bool(&rows, 0, 6));
	cr_assert_str_eq(db_json(&rows, 0, 7), "{\"a\": [1, null]}");
	cr_assert_null(db_text(&rows, 0, 8));
	cr_assert(db_null(&rows, 0, 9));
	arena_free(&arena);
}

static void check_arrays(struct db *db)
{
	struct arena *arena = arena_new(1 << 20);
	struct db_args args = {0};
	struct db_rows rows = {0};
	struct id ids[2] = {id_new(), id_new()}, got;
	const char *texts[] = {"a", NULL, "", "{\"x\",NULL}"};
	const struct db_blob blobs[] = {{"\0z", 2}, {NULL, 0}};
	char **list;
	size_t count, len;
	db_arg_texts(&args, arena, texts, 4);
	db_arg_ids(&args, arena, ids, 2);
	db_arg_int8s(&args, arena, (int64_t[]){1, -2}, 2);
	db_arg_int2s(&args, arena, (int16_t[]){-3}, 1);
	db_arg_bools(&args, arena, (bool[]){false, true}, 2);
	db_arg_bytes_array(&args, arena, blobs, 2);
	db_arg_texts(&args, arena, NULL, 0);
	cr_assert_eq(db_run(db, &stmt_arrays, &args, arena, 0, &rows), ST_OK);
	cr_assert_eq(db_text_array(&rows, 0, 0, arena, &list, &count), ST_OK);
	cr_assert_eq(count, 4);
	cr_assert_str_eq(list[0], "a");
	cr_assert_null(list[1]);
	cr_assert_str_eq(list[2], "");
	cr_assert_str_eq(list[3], texts[3]);
	got = db_id(&rows, 0, 1);
	cr_assert(id_equal(&got, &ids[1]));
	cr_assert_eq(db_int(&rows, 0, 2), -2);
	cr_assert_eq(db_int(&rows, 0, 3), -3);
	cr_assert(db_bool(&rows, 0, 4));
	cr_assert_eq(memcmp(db_bytes(&rows, 0, 5, &len), "\0z", 2), 0);
	cr_assert_eq(len, 2);
	cr_assert_null(db_bytes(&rows, 0, 6, &len));
	cr_assert_eq(db_int(&rows, 0, 7), 0);
	cr_assert_eq(db_text_array(&rows, 0, 8, arena, &list, &count), ST_OK);
	cr_assert_eq(count, 0);
	arena_free(&arena);
}

Test(db, values_arrays_and_blocking_calls)
{
	struct store store;
	store_open(&store, "testdb", migrations);
	check_values(store.db); /* on a thread: the blocking path */
	check_arrays(store.db);
	struct db_args many = {0};
	for (int i = 0; i <= DB_ARGS_MAX; i++)
		db_arg_int4(&many, i);
	cr_assert(many.failed);
	cr_assert_eq(db_run(store.db, &stmt_get, &many, NULL, 0, NULL), ST_INTERNAL);
	cr_assert_eq(run_int(store.db, &stmt_sleep, 1000, 50000), ST_DEADLINE_EXCEEDED);
	cr_assert_eq(run_int(store.db, &stmt_add, 1, US_PER_SEC), ST_OK);
	store_close(&store);
}

/* ---- many fibers, some of them wrong ---- */

struct mix {
	struct db *db;
	int worker, good, bad, unexpected;
};

static void fiber_mix(void *arg)
{
	struct mix *mix = arg;
	int worker = mix->worker++;
	struct arena *arena = arena_new(1 << 20);
	for (int i = 0; i < 200; i++) {
		struct db_rows rows = {0};
		if (worker % 8 == 3 && i % 10 == 0) {
			enum status status = run_int(mix->db, &stmt_divide, 0, US_PER_SEC);
			*(status == ST_INVALID_ARGUMENT ? &mix->bad : &mix->unexpected) += 1;
			continue;
		}
		if (worker % 8 == 5 && i % 10 == 0) {
			struct db_args args = {0};
			db_arg_int4(&args, 1);
			db_arg_text(&args, "again");
			enum status status = db_run(mix->db, &stmt_insert, &args, arena, 0, &rows);
			bool right =
			    status == ST_ALREADY_EXISTS && rows.constraint && strcmp(rows.constraint, "item_pkey") == 0;
			*(right ? &mix->bad : &mix->unexpected) += 1;
			continue;
		}
		int id = 1 + (worker * 31 + i) % 1000;
		bool right =
		    get_item(mix->db, arena, id, &rows) == ST_OK && rows.count == 1 && db_int(&rows, 0, 0) == id;
		*(right ? &mix->good : &mix->unexpected) += 1;
		arena_reset(arena);
	}
	arena_free(&arena);
}

static void fiber_values(void *arg)
{
	struct mix *mix = arg;
	struct arena *arena = arena_new(1 << 20);
	char **list;
	size_t count;
	const char *texts[] = {"x", NULL};
	struct db_args args = {0};
	struct db_rows rows = {0};
	struct db_blob blob = {"b", 1};
	struct id id = id_new();
	db_arg_texts(&args, arena, texts, 2);
	db_arg_ids(&args, arena, &id, 1);
	db_arg_int8s(&args, arena, (int64_t[]){1}, 1);
	db_arg_int2s(&args, arena, (int16_t[]){-3}, 1);
	db_arg_bools(&args, arena, (bool[]){true}, 1);
	db_arg_bytes_array(&args, arena, &blob, 1);
	db_arg_texts(&args, arena, NULL, 0);
	bool right = db_run(mix->db, &stmt_arrays, &args, arena, 0, &rows) == ST_OK &&
	             db_text_array(&rows, 0, 0, arena, &list, &count) == ST_OK && count == 2 && !list[1];
	*(right ? &mix->good : &mix->unexpected) += 1;
	*(db_run(mix->db, &stmt_wrong, NULL, arena, 0, &rows) == ST_INTERNAL ? &mix->bad : &mix->unexpected) += 1;
	arena_free(&arena);
}

Test(db, neighbours_of_a_failing_statement_are_not_hurt)
{
	struct store store;
	store_open(&store, "testdb", migrations);
	struct mix mix = {.db = store.db};
	store_in_fibers(&store, 32, fiber_mix, &mix);
	cr_assert_eq(mix.unexpected, 0);
	cr_assert_eq(mix.bad, 8 * 20);
	cr_assert_eq(mix.good, 32 * 200 - 8 * 20);
	struct mix values = {.db = store.db};
	store_in_fibers(&store, 32, fiber_values, &values);
	cr_assert_eq(values.unexpected, 0);
	cr_assert_eq(values.good + values.bad, 64);
	store_close(&store);
}

/* ---- deadlines and plans ---- */

struct late {
	struct store *store;
	enum status read, write, after, over, stale;
	int64_t read_us;
};

static void fiber_late(void *arg)
{
	struct late *late = arg;
	struct db *db = late->store->db;
	int64_t begun_us = clock_monotonic_us();
	late->read = run_int(db, &stmt_sleep, 500, 50000);
	late->read_us = clock_monotonic_us() - begun_us;
	late->write = run_int(db, &stmt_sleep_write, 300, 50000);
	late->after = run_int(db, &stmt_get, 1, US_PER_SEC);
	late->over = run_int(db, &stmt_sleep, 3000, 5 * US_PER_SEC); /* the statement timeout of 2 s */
}

static void fiber_stale(void *arg)
{
	struct late *late = arg;
	static const struct db_stmt all = {"t_all", "SELECT * FROM item WHERE id = $1", DB_READ};
	late->stale = run_int(late->store->db, &all, 1, US_PER_SEC);
}

Test(db, deadlines_and_stale_plans)
{
	struct store store;
	store_open(&store, "testdb", migrations);
	struct late late = {.store = &store};
	store_in_fiber(&store, fiber_late, &late);
	cr_assert_eq(late.read, ST_DEADLINE_EXCEEDED);
	cr_assert_lt(late.read_us, 300000);
	cr_assert_eq(late.write, ST_LOST);
	cr_assert_eq(late.after, ST_OK);
	cr_assert_eq(late.over, ST_DEADLINE_EXCEEDED);
	for (int i = 0; i < 4; i++) {
		store_in_fibers(&store, 8, fiber_stale, &late);
		cr_assert_eq(late.stale, ST_OK);
	}
	store_sql(&store, "ALTER TABLE testdb.item ADD COLUMN extra text");
	store_in_fibers(&store, 8, fiber_stale, &late); /* cached plan must not change result type */
	cr_assert_eq(late.stale, ST_OK);
	store_close(&store);
}

/* ---- lost connections under load ---- */

struct load {
	struct db *db;
	atomic_bool stop;
	int worker;
	int reads, read_failures, committed, lost, unavailable, other;
};

static void fiber_load(void *arg)
{
	struct load *load = arg;
	int worker = load->worker++;
	while (!atomic_load(&load->stop)) {
		if (worker % 4) {
			enum status status = run_int(load->db, &stmt_get, 1, 5 * US_PER_SEC);
			*(status == ST_OK ? &load->reads : &load->read_failures) += 1;
			continue;
		}
		enum status status = run_int(load->db, &stmt_add, 10, 5 * US_PER_SEC);
		*(status == ST_OK            ? &load->committed
		  : status == ST_LOST        ? &load->lost
		  : status == ST_UNAVAILABLE ? &load->unavailable
		                             : &load->other) += 1;
	}
}

struct load_thread {
	struct store *store;
	struct load *load;
};

static void *load_thread(void *arg)
{
	struct load_thread *thread = arg;
	for (int i = 0; i < 6; i++) {
		usleep(150000);
		store_sql_works(thread->store->owner, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
		                                      " WHERE usename = 'testdb' AND datname = current_database()");
	}
	usleep(300000);
	atomic_store(&thread->load->stop, true);
	return NULL;
}

Test(db, killed_backends_lose_no_acknowledged_write)
{
	struct store store;
	store_open(&store, "testdb", migrations);
	struct load load = {.db = store.db};
	struct load_thread arg = {&store, &load};
	pthread_t killer;
	cr_assert_eq(pthread_create(&killer, NULL, load_thread, &arg), 0);
	store_in_fibers(&store, 32, fiber_load, &load);
	pthread_join(killer, NULL);
	long applied = store_number(&store, "SELECT n FROM testdb.item WHERE id = 10");
	cr_assert_eq(load.other, 0);
	cr_assert_eq(load.read_failures, 0, "%d reads failed", load.read_failures);
	cr_assert_gt(load.reads, 100);
	cr_assert_gt(load.committed, 10);
	cr_assert_geq(applied, load.committed);
	cr_assert_leq(applied, load.committed + load.lost);
	store_close(&store);
}

/* ---- transactions ---- */

/* Adds 1 to the item twice, then commits. */
static enum status transaction_add(struct db *db, int item)
{
	struct db_tx *tx = NULL;
	struct db_args args = {0};
	db_arg_int4(&args, item);
	enum status status = db_begin(db, 0, &tx);
	for (int i = 0; i < 2 && status == ST_OK; i++)
		status = db_tx_run(tx, &stmt_add, &args, NULL, NULL);
	if (status == ST_OK)
		status = db_commit(tx);
	db_end(&tx);
	return status;
}

Test(db, transactions_of_commands_commit_and_roll_back)
{
	struct store store;
	struct db_tx *tx = NULL;
	struct db_args args = {0}, zero = {0};
	store_open(&store, "testdb", migrations);
	cr_expect_eq(transaction_add(store.db, 20), ST_OK);
	cr_expect_eq(store_number(&store, "SELECT n FROM testdb.item WHERE id = 20"), 2);
	db_arg_int4(&args, 20);
	db_arg_int4(&zero, 0);
	cr_assert_eq(db_begin(store.db, 0, &tx), ST_OK);
	cr_expect_eq(db_tx_run(tx, &stmt_add, &args, NULL, NULL), ST_OK);
	cr_expect_eq(db_tx_run(tx, &stmt_divide, &zero, NULL, NULL), ST_INVALID_ARGUMENT);
	cr_expect_eq(db_tx_run(tx, &stmt_add, &args, NULL, NULL), ST_ABORTED, "only db_end is useful now");
	cr_expect_eq(db_commit(tx), ST_ABORTED);
	db_end(&tx);
	cr_expect_null(tx);
	cr_expect_eq(store_number(&store, "SELECT n FROM testdb.item WHERE id = 20"), 2);
	cr_expect_eq(transaction_add(store.db, 20), ST_OK, "the connection came back");
	cr_expect_eq(store_number(&store, "SELECT n FROM testdb.item WHERE id = 20"), 4);
	store_close(&store);
}

Test(db, a_gate_holds_its_lanes_and_no_other_connection)
{
	struct store store;
	store_open(&store, "testdb", migrations);
	usleep(500000); /* lanes connect one after the other */
	cr_expect_eq(store_number(&store,
	                          "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'denizen-testdb'"
	                          " AND datname = current_database()"),
	             5);
	store_close(&store);
}

Test(db, unreachable_database_is_unavailable_and_bad_conninfo_is_refused)
{
	struct store store;
	store_open_empty(&store, "testdb");
	struct db_options options = {.conninfo = "host=/nonexistent dbname=x", .schema = "testdb"};
	struct db *db = db_new(&options);
	cr_assert_eq(run_int(db, &stmt_get, 1, 100000), ST_UNAVAILABLE);
	db_free(&db);
	options.conninfo = "no such thing";
	cr_assert_null(db_new(&options));
	store_close(&store);
}

static void *run_loop(void *arg)
{
	loop_run(arg);
	return NULL;
}

/* As after a failover, when the old machine takes connections and says nothing. */
Test(db, the_next_host_is_tried_when_one_is_silent)
{
	struct store store;
	char directory[256], conninfo[2048];
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(silent, (struct sockaddr *)&address, len), 0);
	cr_assert_eq(listen(silent, 16), 0);
	cr_assert_eq(getsockname(silent, (struct sockaddr *)&address, &len), 0);
	store_open_empty(&store, "public");
	cr_assert_eq(sscanf(store.owner, "host=%255s", directory), 1);
	snprintf(conninfo, sizeof(conninfo), "%s host=127.0.0.1,%s port=%d,5432", store.owner, directory,
	         ntohs(address.sin_port));
	struct db_options options = {.loop = loop_new(),
	                             .conninfo = conninfo,
	                             .schema = "public",
	                             .read_lanes = 1,
	                             .write_lanes = 1,
	                             .statement_timeout_ms = 2000};
	struct db *db = db_new(&options);
	pthread_t thread;
	pthread_create(&thread, NULL, run_loop, options.loop);
	for (int i = 0; i < 800 && !db_ready(db); i++)
		usleep(10000);
	cr_expect(db_ready(db), "the second host was never tried");
	loop_stop(options.loop);
	pthread_join(thread, NULL);
	db_free(&db);
	loop_free(&options.loop);
	close(silent);
	store_close(&store);
}
