/* The ledger against real Postgres: numbering, duplicates, replicas at once, tampering, filtered reads. */
#include "base/clock.h"
#include "db/migrate.h"
#include "events.pb-c.h"
#include "test_audit_world.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct migration audit_migrations[];

/* Packs an event and describes it, as the Append handler does. */
static Audit__Rows__Entry make_entry(struct arena *arena, const struct id *project, int64_t outbox_id, int type)
{
	Events__Event event = EVENTS__EVENT__INIT;
	Audit__Rows__Entry entry = AUDIT__ROWS__ENTRY__INIT;
	const char *reason;
	event.has_type = event.has_at_us = true;
	event.type = (Events__EventType)type;
	event.at_us = 1000000 + outbox_id;
	event.subject = arena_printf(arena, "usr_%lld", (long long)outbox_id);
	event.user_id = outbox_id % 2 ? event.subject : NULL;
	event.reason = arena_strdup(arena, "test");
	uint8_t *packed = arena_alloc(arena, events__event__get_packed_size(&event));
	entry.has_project_id = entry.has_outbox_id = entry.has_event = true;
	entry.project_id = (ProtobufCBinaryData){ID_SIZE, arena_memdup(arena, project->bytes, ID_SIZE)};
	entry.outbox_id = outbox_id;
	entry.event = (ProtobufCBinaryData){events__event__pack(&event, packed), packed};
	cr_assert(rules_describe_entry(&entry, arena, &reason) == ST_OK);
	return entry;
}

struct range {
	struct id project;
	int64_t first, last; /* outbox ids */
	int type;
};

static enum status append_range(struct appender *appender, struct sql_scope *call, const struct range *range,
                                size_t *ret_appended)
{
	struct batch batch;
	cr_assert(batch_start(call->arena, "identity", AUDIT_BATCH_MAX, &batch) == ST_OK);
	for (int64_t id = range->first; id <= range->last; id++) {
		Audit__Rows__Entry entry = make_entry(call->arena, &range->project, id, range->type);
		batch_add(&batch, &entry);
	}
	return appender_run(appender, call, &batch, ret_appended);
}

static size_t append(struct world *world, struct id project, int64_t first, int64_t last)
{
	struct sql_scope call = audit_world_call(world);
	const struct range range = {project, first, last, 11};
	size_t appended = 0;
	cr_assert(append_range(world->appender, &call, &range, &appended) == ST_OK);
	return appended;
}

static struct verdict verify(struct world *world, struct id project)
{
	struct sql_scope call = audit_world_call(world);
	struct verdict verdict = {0};
	cr_assert(verify_chain(&call, &project, 0, &verdict) == ST_OK);
	return verdict;
}

static bool verifies(struct world *world, struct id project)
{
	struct verdict verdict = verify(world, project);
	return verdict.complete && verdict.chain.first_bad == 0 && verdict.chain.seq == verdict.head.seq;
}

Test(audit_ledger, numbers_per_project_without_gaps)
{
	struct world world;
	audit_world_open(&world);
	struct id a = id_new(), b = id_new();
	struct page page;
	cr_assert(append(&world, a, 1, 5) == 5);
	cr_assert(append(&world, b, 6, 7) == 2);
	cr_assert(append(&world, a, 8, 10) == 3);
	struct sql_scope call = audit_world_call(&world);
	cr_assert(entries_read_project(&call, &a, 0, 3, &page) == ST_OK);
	cr_assert(page.count == 3 && page.next == 3 && page.head == 8);
	cr_assert(entries_read_project(&call, &a, page.next, 100, &page) == ST_OK);
	cr_assert(page.count == 5 && page.next == 8 && page.head == 8);
	const int64_t positions[] = {4, 5, 8, 9, 10};
	for (size_t i = 0; i < 5; i++) {
		cr_assert(page.entries[i]->seq == (int64_t)i + 4);
		cr_assert(page.entries[i]->position == positions[i]);
		cr_assert_str_eq(page.entries[i]->source, "identity");
	}
	cr_assert(page.entries[4]->outbox_id == 10 && page.entries[4]->at_us == 1000010);
	cr_assert(entries_read_project(&call, &a, 8, 100, &page) == ST_OK);
	cr_assert(page.count == 0 && page.next == 8 && page.head == 8);
	struct id nobody = id_new();
	cr_assert(entries_read_project(&call, &nobody, 0, 100, &page) == ST_OK);
	cr_assert(page.count == 0 && page.head == 0);
	cr_assert(verifies(&world, a) && verifies(&world, b) && verifies(&world, nobody));
	cr_assert(verify(&world, a).chain.checked == 8);
	audit_world_close(&world);
}

Test(audit_ledger, drops_what_is_there_already)
{
	struct world world;
	audit_world_open(&world);
	struct id a = id_new(), b = id_new();
	struct sql_scope call = audit_world_call(&world);
	struct batch batch;
	size_t appended = 99;
	cr_assert(append(&world, a, 1, 10) == 10);
	cr_assert(append(&world, a, 1, 10) == 0);
	cr_assert(append(&world, a, 5, 15) == 5);
	cr_assert(append(&world, b, 1, 3) == 3, "another project has ids of its own");
	/* the same without remembered heads, as after a restart */
	appender_free(&world.appender);
	world.appender = appender_new(NULL);
	cr_assert(append(&world, a, 14, 16) == 1);
	/* twice in one batch */
	cr_assert(batch_start(world.arena, "identity", 3, &batch) == ST_OK);
	Audit__Rows__Entry entry = make_entry(world.arena, &a, 20, 11);
	batch_add(&batch, &entry);
	batch_add(&batch, &entry);
	entry = make_entry(world.arena, &b, 20, 11);
	batch_add(&batch, &entry);
	cr_assert(appender_run(world.appender, &call, &batch, &appended) == ST_OK);
	cr_assert(appended == 2);
	/* another source has ids of its own */
	cr_assert(batch_start(world.arena, "session", 1, &batch) == ST_OK);
	batch_add(&batch, &entry);
	cr_assert(appender_run(world.appender, &call, &batch, &appended) == ST_OK && appended == 1);
	/* an id that is used for another event is a restored database, not a duplicate */
	const struct range other = {a, 16, 17, 12};
	cr_assert(append_range(world.appender, &call, &other, &appended) == ST_CONFLICT);
	cr_assert(audit_world_ask_number(world.owner, "SELECT count(*) FROM event") == 16 + 1 + 3 + 1 + 1);
	cr_assert(audit_world_ask_number(world.owner, "SELECT position FROM stream") == 22);
	cr_assert(verifies(&world, a) && verifies(&world, b));
	audit_world_close(&world);
}

/* ---- several replicas at once ---- */

#define REPLICAS 4
#define ROUNDS 40

struct replica {
	struct world *world;
	struct id projects[3];
	unsigned seed;
	int64_t base; /* replicas share half of their outbox ids, as when a relay changes over */
	int failures;
};

static void *run_replica(void *arg)
{
	struct replica *replica = arg;
	struct db *db = audit_world_open_db(replica->world);
	struct appender *appender = appender_new(NULL);
	for (int round = 0; round < ROUNDS; round++) {
		struct arena *arena = arena_new(WORLD_ARENA_BYTES);
		struct sql_scope call = {
		    .db = db, .arena = arena, .deadline_us = clock_monotonic_us() + 20 * US_PER_SEC};
		int64_t first = replica->base + round * 5 + rand_r(&replica->seed) % 5;
		const struct range range = {replica->projects[rand_r(&replica->seed) % 3], first,
		                            first + rand_r(&replica->seed) % 20, 11};
		size_t appended;
		enum status status = ST_ABORTED;
		for (int attempt = 0; attempt < 100 && status == ST_ABORTED; attempt++)
			status = append_range(appender, &call, &range, &appended);
		replica->failures += status != ST_OK;
		arena_free(&arena);
	}
	appender_free(&appender);
	db_free(&db);
	return NULL;
}

Test(audit_ledger, replicas_append_at_once)
{
	struct world world;
	pthread_t threads[REPLICAS];
	struct replica replicas[REPLICAS];
	audit_world_open(&world);
	struct id projects[3] = {id_new(), id_new(), id_new()};
	for (unsigned i = 0; i < REPLICAS; i++) {
		replicas[i] = (struct replica){.world = &world, .seed = 7 + i, .base = 1 + (i / 2) * 1000};
		memcpy(replicas[i].projects, projects, sizeof projects);
		cr_assert(pthread_create(&threads[i], NULL, run_replica, &replicas[i]) == 0);
	}
	for (unsigned i = 0; i < REPLICAS; i++) {
		pthread_join(threads[i], NULL);
		cr_assert(replicas[i].failures == 0, "replica %u: %d", i, replicas[i].failures);
	}
	for (unsigned i = 0; i < 3; i++)
		cr_assert(verifies(&world, projects[i]));
	cr_assert(audit_world_ask_number(world.owner, "SELECT position - (SELECT count(*) FROM event) FROM stream") ==
	          0);
	cr_assert(audit_world_ask_number(world.owner, "SELECT max(position) - count(*) FROM event") == 0);
	cr_assert(audit_world_ask_number(
	              world.owner, "SELECT count(*) - count(DISTINCT (project_id, source, outbox_id)) FROM event") ==
	          0);
	/* no inversion: positions rise with the numbers of a project */
	cr_assert(audit_world_ask_number(
	              world.owner,
	              "SELECT count(*) FROM (SELECT position < lag(position) OVER (PARTITION BY project_id "
	              "ORDER BY seq) AS bad FROM event) x WHERE bad") == 0);
	audit_world_close(&world);
}

/* ---- tampering, as the owner of the database ---- */

struct tamper {
	const char *sql;
	int64_t first_bad;
};

static const struct tamper tampers[] = {
    {"UPDATE event SET event = event || '\\x00'::bytea WHERE seq = 7", 7},
    {"UPDATE event SET event = set_byte(event, 3, get_byte(event, 3) # 1) WHERE seq = 1", 1},
    {"UPDATE event SET hash = set_byte(hash, 31, get_byte(hash, 31) # 1) WHERE seq = 20", 20},
    {"UPDATE event SET hash = '\\x00'::bytea WHERE seq = 5", 5},
    {"UPDATE event SET type = 12 WHERE seq = 4", 4},
    {"UPDATE event SET subject = 'usr_x' WHERE seq = 4", 4},
    {"UPDATE event SET user_id = NULL WHERE seq = 3", 3},
    {"UPDATE event SET user_id = 'usr_x' WHERE seq = 4", 4},
    {"UPDATE event SET at_us = at_us + 1 WHERE seq = 9", 9},
    {"UPDATE event SET source = 'session' WHERE seq = 9", 9},
    {"UPDATE event SET outbox_id = 1000 WHERE seq = 9", 9},
    {"UPDATE event SET position = 1000 WHERE seq = 9", 9},
    {"UPDATE event SET project_id = '00000000-0000-0000-0000-000000000001' WHERE seq = 9", 9},
    {"UPDATE event SET seq = 1000 WHERE seq = 9", 9},
    {"DELETE FROM event WHERE seq = 1", 1},
    {"DELETE FROM event WHERE seq = 10", 10},
    {"DELETE FROM event WHERE seq = 20", 20},
    {"DELETE FROM event WHERE seq > 15", 16},
    {"DELETE FROM event", 1},
    {"DELETE FROM head", 1},
    {"UPDATE head SET seq = 19", 19},
    {"UPDATE head SET seq = 21", 21},
    {"UPDATE head SET hash = sha256('x')", 20},
    {"INSERT INTO event SELECT project_id, 21, 21, source, 21, type, subject, user_id, at_us, event, hash FROM event "
     "WHERE seq = 20",
     21},
    {"UPDATE event SET seq = CASE seq WHEN 1006 THEN 7 ELSE 6 END WHERE seq IN (1006, 7)", 6},
};

Test(audit_ledger, verify_finds_tampering)
{
	struct world world;
	audit_world_open(&world);
	struct id a = id_new();
	append(&world, a, 1, 20);
	audit_world_execute(world.owner, "CREATE TABLE event_copy AS SELECT * FROM event");
	audit_world_execute(world.owner, "CREATE TABLE head_copy AS SELECT * FROM head");
	for (size_t i = 0; i < sizeof tampers / sizeof *tampers; i++) {
		bool swaps = strstr(tampers[i].sql, "1006") != NULL;
		if (swaps) /* a reorder: 6 and 7 change places */
			audit_world_execute(
			    world.owner,
			    "UPDATE event SET seq = 1006 WHERE seq = 6;"
			    "UPDATE event SET seq = 6 WHERE seq = 7; UPDATE event SET seq = 7 WHERE seq = 1006");
		else
			audit_world_execute(world.owner, tampers[i].sql);
		struct verdict verdict = verify(&world, a);
		cr_assert(verdict.chain.first_bad == tampers[i].first_bad, "%s: first_bad %lld, %s", tampers[i].sql,
		          (long long)verdict.chain.first_bad, verdict.chain.reason ? verdict.chain.reason : "");
		cr_assert(verdict.chain.reason != NULL);
		audit_world_execute(world.owner, "TRUNCATE event, head");
		audit_world_execute(world.owner, "INSERT INTO event SELECT * FROM event_copy");
		audit_world_execute(world.owner, "INSERT INTO head SELECT * FROM head_copy");
		cr_assert(verifies(&world, a));
	}
	audit_world_close(&world);
}

Test(audit_ledger, verify_goes_on_after_an_entry)
{
	struct world world;
	audit_world_open(&world);
	struct id a = id_new();
	for (int i = 0; i < 6; i++)
		append(&world, a, i * 400 + 1, i * 400 + 400);
	struct sql_scope call = audit_world_call(&world);
	struct verdict verdict;
	cr_assert(verify(&world, a).chain.checked == 2400);
	cr_assert(verify_chain(&call, &a, 2000, &verdict) == ST_OK);
	cr_assert(verdict.complete && verdict.chain.checked == 400 && verdict.chain.first_bad == 0);
	cr_assert(verify_chain(&call, &a, 2400, &verdict) == ST_OK);
	cr_assert(verdict.complete && verdict.chain.checked == 0);
	cr_assert(verify_chain(&call, &a, 2401, &verdict) == ST_NOT_FOUND);
	call.deadline_us = clock_monotonic_us() + 600 * US_PER_MS; /* time for little */
	cr_assert(verify_chain(&call, &a, 0, &verdict) == ST_OK);
	cr_assert(verdict.chain.first_bad == 0);
	audit_world_close(&world);
}

/* ---- reading the stream ---- */

static struct page read_stream(struct world *world, const struct stream_filter *filter)
{
	struct sql_scope call = audit_world_call(world);
	struct page page;
	cr_assert(entries_read_stream(&call, filter, &page) == ST_OK);
	return page;
}

Test(audit_ledger, stream_skips_what_the_filter_leaves_out)
{
	struct world world;
	audit_world_open(&world);
	struct id a = id_new(), b = id_new();
	struct sql_scope call = audit_world_call(&world);
	size_t appended;
	static const int16_t disabled[] = {12};
	struct stream_filter filter = {.limit = 100};
	append(&world, a, 1, 50);
	cr_assert(append_range(world.appender, &call, &(struct range){b, 51, 52, 12}, &appended) == ST_OK);
	append(&world, a, 53, 60);
	struct page page = read_stream(&world, &filter);
	cr_assert(page.count == 60 && page.next == 60 && page.head == 60);
	for (size_t i = 0; i < 60; i++)
		cr_assert(page.entries[i]->position == (int64_t)i + 1);
	cr_assert(memcmp(page.entries[50]->project_id.data, b.bytes, ID_SIZE) == 0 && page.entries[50]->seq == 1);
	filter = (struct stream_filter){.after = 10, .limit = 7};
	page = read_stream(&world, &filter);
	cr_assert(page.count == 7 && page.next == 17 && page.head == 60);
	for (int kind = 0; kind < 2; kind++) {
		filter = (struct stream_filter){.limit = 1, .types = {disabled, kind ? 1 : 0}, .revoking = !kind};
		page = read_stream(&world, &filter);
		cr_assert(page.count == 1 && page.next == 51 && page.head == 60);
		filter.after = page.next;
		page = read_stream(&world, &filter);
		cr_assert(page.count == 1 && page.next == 52);
		filter.after = page.next;
		page = read_stream(&world, &filter);
		cr_assert(page.count == 0 && page.next == 60);
		filter.after = page.next;
		page = read_stream(&world, &filter);
		cr_assert(page.count == 0 && page.next == 60);
	}
	audit_world_close(&world);
}

/* Type 900 is declared for the tests alone (tests/contract.py): no code of audit and no index names it. */
Test(audit_ledger, what_the_contract_says_of_an_event_reaches_the_index)
{
	struct world world;
	audit_world_open(&world);
	struct id a = id_new();
	struct sql_scope call = audit_world_call(&world);
	const struct stream_filter filter = {.limit = 10, .revoking = true};
	size_t appended;
	append(&world, a, 1, 30);
	cr_assert(append_range(world.appender, &call, &(struct range){a, 31, 31, 900}, &appended) == ST_OK);
	struct page page = read_stream(&world, &filter);
	cr_assert(page.count == 1 && page.entries[0]->position == 31 && page.next == 31);
	PGresult *plan = PQexec(world.owner, "SET enable_seqscan = off; EXPLAIN SELECT position FROM event "
	                                     "WHERE position > 1 AND revokes ORDER BY position LIMIT 10");
	bool by_index = false;
	for (int row = 0; row < PQntuples(plan); row++)
		by_index |= strstr(PQgetvalue(plan, row, 0), "event_revoking ") != NULL;
	cr_assert(by_index);
	PQclear(plan);
	audit_world_close(&world);
}

/* The version before inserts entries without the column, before the migration and after it: they may be anything. */
Test(audit_ledger, entries_of_the_version_before_are_read_as_revoking)
{
	static const char insert[] = "INSERT INTO event (project_id, seq, position, source, outbox_id, type, subject, "
	                             "at_us, event, hash) SELECT gen_random_uuid(), 1, n, 'identity', n, 12, '', n, "
	                             "'\\x080c2801', sha256('') FROM generate_series(%s) n";
	struct world world;
	struct migration before[4] = {{0}};
	char sql[512];
	audit_world_open_empty(&world);
	memcpy(before, audit_migrations, 3 * sizeof(before[0]));
	cr_assert(migrate_run(world.conninfo, "audit", "", before) == ST_OK);
	snprintf(sql, sizeof sql, insert, "1, 3");
	audit_world_execute(world.owner, sql);
	audit_world_migrate(&world);
	snprintf(sql, sizeof sql, insert, "4, 5");
	audit_world_execute(world.owner, sql);
	audit_world_execute(world.owner, "UPDATE stream SET position = 5");
	struct page page = read_stream(&world, &(struct stream_filter){.limit = 10, .revoking = true});
	cr_assert(page.count == 5 && page.next == 5);
	audit_world_close(&world);
}

Test(audit_ledger, stream_starts_at_a_time)
{
	struct world world;
	audit_world_open(&world);
	struct id a = id_new();
	struct sql_scope call = audit_world_call(&world);
	size_t appended;
	int64_t position;
	append(&world, a, 1, 20);
	cr_assert(append_range(world.appender, &call, &(struct range){a, 21, 21, 12}, &appended) == ST_OK);
	append(&world, a, 22, 30);
	/* make_entry: at_us = 1,000,000 + outbox id */
	cr_assert(entries_find_since(&call, false, 1000011, &position) == ST_OK && position == 10);
	cr_assert(entries_find_since(&call, false, 1, &position) == ST_OK && position == 0);
	cr_assert(entries_find_since(&call, false, 2000000, &position) == ST_OK && position == 30);
	cr_assert(entries_find_since(&call, true, 1000011, &position) == ST_OK && position == 20);
	cr_assert(entries_find_since(&call, true, 1000022, &position) == ST_OK && position == 30);
	audit_world_close(&world);
}

Test(audit_ledger, pages_are_cut_by_bytes)
{
	struct world world;
	audit_world_open(&world);
	struct id a = id_new();
	struct sql_scope call = audit_world_call(&world);
	struct batch batch;
	size_t appended, seen = 0, reads = 0;
	char *reason = arena_alloc(world.arena, 60001);
	memset(reason, 'x', 60000);
	cr_assert(batch_start(world.arena, "identity", 40, &batch) == ST_OK);
	for (int i = 1; i <= 40; i++) {
		Events__Event event = EVENTS__EVENT__INIT;
		Audit__Rows__Entry entry = AUDIT__ROWS__ENTRY__INIT;
		const char *why;
		event.has_type = event.has_at_us = true;
		event.type = 11;
		event.at_us = i;
		event.reason = reason;
		uint8_t *packed = arena_alloc(world.arena, events__event__get_packed_size(&event));
		entry.has_project_id = entry.has_outbox_id = entry.has_event = true;
		entry.project_id = (ProtobufCBinaryData){ID_SIZE, a.bytes};
		entry.outbox_id = i;
		entry.event = (ProtobufCBinaryData){events__event__pack(&event, packed), packed};
		cr_assert(rules_describe_entry(&entry, world.arena, &why) == ST_OK);
		batch_add(&batch, &entry);
	}
	cr_assert(appender_run(world.appender, &call, &batch, &appended) == ST_OK && appended == 40);
	struct stream_filter filter = {.limit = 1000};
	for (struct page page = {.head = 1}; filter.after < page.head && reads < 10; reads++) {
		page = read_stream(&world, &filter);
		cr_assert(page.count > 0 && page.count <= 20);
		seen += page.count;
		filter.after = page.next;
	}
	cr_assert(seen == 40 && reads == 3, "%zu in %zu", seen, reads);
	cr_assert(verifies(&world, a));
	audit_world_close(&world);
}
