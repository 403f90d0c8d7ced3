/* Reads that the gate asks together: each caller gets its own row, its own error, its own deadline. */
#include "store.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define IDS                                                                                                            \
	"(VALUES ($1::int4, 0), ($2, 1), ($3, 2), ($4, 3), ($5, 4), ($6, 5), ($7, 6), ($8, 7)) k (id, n) JOIN item "   \
	"ON "                                                                                                          \
	"item.id = k.id"

static const struct migration migrations[] = {
    {1, "0001_init.sql",
     "CREATE TABLE item (id int PRIMARY KEY, name text);"
     "CREATE SEQUENCE asked;"
     "INSERT INTO item (id, name) SELECT i, CASE WHEN i % 5 > 0 THEN 'name ' || i END FROM generate_series(1, 1000) "
     "i;"},
    {0},
};

/* The sequence counts the statements that ran for several. */
static const struct db_stmt stmt_show_together = {
    "t_show_together", "SELECT k.n, item.id, item.name FROM (SELECT nextval('asked')) once, " IDS, DB_READ};
static const struct db_stmt stmt_show = {"t_show", "SELECT id, name FROM item WHERE id = $1", DB_READ,
                                         &stmt_show_together};
/* Fails for 13, alone and in company. */
static const struct db_stmt stmt_divide_together = {"t_divide_together",
                                                    "SELECT k.n, item.id, 100 / (item.id - 13) FROM " IDS, DB_READ};
static const struct db_stmt stmt_divide = {"t_divide_alone", "SELECT id, 100 / (id - 13) FROM item WHERE id = $1",
                                           DB_READ, &stmt_divide_together};
static const struct db_stmt stmt_slow_together = {"t_slow_together",
                                                  "SELECT k.n, item.id, pg_sleep(0.1)::text FROM " IDS, DB_READ};
static const struct db_stmt stmt_slow = {"t_slow", "SELECT id, pg_sleep(0.1)::text FROM item WHERE id = $1", DB_READ,
                                         &stmt_slow_together};

struct crowd {
	struct db *db;
	int worker, good, absent, refused, late, unexpected;
};

static enum status ask(struct crowd *crowd, const struct db_stmt *stmt, struct arena *arena, int id, int64_t budget_us,
                       struct db_rows *ret_rows)
{
	struct db_args args = {0};
	db_arg_int4(&args, id);
	return db_run(crowd->db, stmt, &args, arena, clock_monotonic_us() + budget_us, ret_rows);
}

/* Ids above 1,000 have no row; every fifth name is NULL. */
static bool shows(const struct db_rows *rows, int id)
{
	char name[32];
	snprintf(name, sizeof(name), "name %d", id);
	const char *shown = rows->count == 1 ? db_text(rows, 0, 1) : NULL;
	return rows->count == 1 && db_int(rows, 0, 0) == id && db_null(rows, 0, 1) == (id % 5 == 0) &&
	       (shown == NULL || strcmp(shown, name) == 0);
}

static void fiber_show(void *arg)
{
	struct crowd *crowd = arg;
	int worker = crowd->worker++;
	struct arena *arena = arena_new(1 << 20);
	for (int i = 0; i < 300; i++) {
		struct db_rows rows = {.count = -1};
		int id = 1 + (worker * 37 + i * 11) % 1100;
		enum status status = ask(crowd, &stmt_show, arena, id, US_PER_SEC, &rows);
		bool right = status == ST_OK && (id > 1000 ? rows.count == 0 : shows(&rows, id));
		*(!right ? &crowd->unexpected : id > 1000 ? &crowd->absent : &crowd->good) += 1;
		if (i % 7 == 0)
			arena_reset(arena); /* what is shared lives until its last owner lets go */
	}
	arena_free(&arena);
}

Test(db_group, everyone_gets_the_own_row)
{
	struct store store;
	store_open(&store, "testdb", migrations);
	struct crowd crowd = {.db = store.db};
	store_in_fibers(&store, 32, fiber_show, &crowd);
	cr_assert_eq(crowd.unexpected, 0);
	cr_assert_eq(crowd.good + crowd.absent, 32 * 300);
	cr_assert_gt(crowd.absent, 100);
	long asked = store_number(&store, "SELECT last_value FROM testdb.asked");
	cr_assert(asked > 32 * 300 / DB_TOGETHER / 2 && asked < 32 * 300 / 2, "%ld statements for 9,600 reads", asked);
	store_close(&store);
}

static void fiber_divide(void *arg)
{
	struct crowd *crowd = arg;
	int worker = crowd->worker++;
	struct arena *arena = arena_new(1 << 20);
	for (int i = 0; i < 100; i++) {
		struct db_rows rows = {0};
		int id = 1 + (worker + i) % 20;
		enum status status = ask(crowd, &stmt_divide, arena, id, US_PER_SEC, &rows);
		bool right = id == 13 ? status == ST_INVALID_ARGUMENT
		                      : status == ST_OK && rows.count == 1 && db_int(&rows, 0, 1) == 100 / (id - 13);
		*(!right ? &crowd->unexpected : id == 13 ? &crowd->refused : &crowd->good) += 1;
		arena_reset(arena);
	}
	arena_free(&arena);
}

Test(db_group, an_error_is_only_for_the_one_who_caused_it)
{
	struct store store;
	store_open(&store, "testdb", migrations);
	struct crowd crowd = {.db = store.db};
	store_in_fibers(&store, 32, fiber_divide, &crowd);
	cr_assert_eq(crowd.unexpected, 0);
	cr_assert_eq(crowd.refused, 32 * 5);
	cr_assert_eq(crowd.good, 32 * 95);
	store_close(&store);
}

static void fiber_slow(void *arg)
{
	struct crowd *crowd = arg;
	int worker = crowd->worker++;
	struct arena *arena = arena_new(1 << 20);
	struct db_rows rows = {0};
	bool hasty = worker % 3 == 1;
	enum status status = ask(crowd, &stmt_slow, arena, worker + 1, hasty ? 30000 : 10 * US_PER_SEC, &rows);
	bool right = hasty ? status == ST_DEADLINE_EXCEEDED
	                   : status == ST_OK && rows.count == 1 && db_int(&rows, 0, 0) == worker + 1;
	*(!right ? &crowd->unexpected : hasty ? &crowd->late : &crowd->good) += 1;
	arena_free(&arena);
}

Test(db_group, who_gives_up_does_not_take_the_others_along)
{
	struct store store;
	store_open(&store, "testdb", migrations);
	struct crowd crowd = {.db = store.db};
	store_in_fibers(&store, 12, fiber_slow, &crowd);
	cr_assert_eq(crowd.unexpected, 0);
	cr_assert_eq(crowd.late, 4);
	cr_assert_eq(crowd.good, 8);
	store_close(&store);
}
