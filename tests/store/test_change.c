/* The write kit: effects together with the change, repeated races, requests that change nothing. */
#include "test_identity_world.h"

#include "common_sql.gen.h"
#include "identity_sql.gen.h"
#include "keys/keys.h"
#include "process/change.h"

TestSuite(change, .init = world_start, .fini = world_stop);

/* What the attempts of a test share. */
struct attempts {
	unsigned made, lose; /* so many lose their race */
	const struct db_stmt *stmt;
	struct keys_made key;
};

static struct call begin(uint32_t method)
{
	return (struct call){.run = &world.run,
	                     .method = method_find(method),
	                     .project = world.project,
	                     .actor = "",
	                     .operation = id_new(),
	                     .deadline_us = clock_monotonic_us() + 5 * US_PER_SEC,
	                     .arena = world.arena};
}

static enum status attempt(struct change *change)
{
	struct attempts *attempts = change->arg;
	Identity__Key *reply = change->reply;
	cr_assert_eq(change->attempt, attempts->made);
	cr_assert_null(reply->name, "an attempt begins with an empty reply");
	attempts->made++;
	reply->name = (char *)"answer";
	change_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_KEY_CREATED, "key_a", 1);
	change_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_KEY_ROTATED, "key_a", 2);
	if (attempts->made <= attempts->lose)
		return ST_ABORTED;
	if (!attempts->stmt)
		return ST_OK;
	return change_write(change, attempts->stmt,
	                    &(struct sql_key_create){.key = &attempts->key.row,
	                                             .secret_hash = {attempts->key.secret_hash, SHA256_SIZE}});
}

static enum status run(struct call *call, struct attempts *attempts)
{
	Identity__CreateKeyRequest request = IDENTITY__CREATE_KEY_REQUEST__INIT;
	Identity__Key reply = IDENTITY__KEY__INIT;
	cr_assert_eq(keys_make_management(world.arena, 1, &attempts->key), ST_OK);
	return change_run(call, &request, &reply, attempt, attempts);
}

Test(change, commits_row_events_and_operation_together)
{
	struct attempts attempts = {.stmt = &sql_key_create};
	struct call call = begin(M_IDENTITY_CREATE_KEY);
	cr_assert_eq(run(&call, &attempts), ST_OK);
	cr_assert_str_eq(world_sql("SELECT count(*) FROM api_key"), "1");
	cr_assert_str_eq(world_sql("SELECT count(*) FROM outbox"), "2");
	cr_assert_str_eq(world_sql("SELECT count(*) FROM operation"), "1");
	cr_assert_not_null(call.packed.data, "the answer is packed once");
	/* The same again: the key exists, and nothing of it stays. */
	call.operation = id_new();
	Identity__CreateKeyRequest request = IDENTITY__CREATE_KEY_REQUEST__INIT;
	Identity__Key reply = IDENTITY__KEY__INIT;
	attempts.made = 0;
	cr_assert_eq(change_run(&call, &request, &reply, attempt, &attempts), ST_ALREADY_EXISTS);
	cr_assert_str_eq(world_sql("SELECT count(*) FROM outbox"), "2");
	cr_assert_str_eq(world_sql("SELECT count(*) FROM operation"), "1");
}

Test(change, repeats_a_lost_race_and_keeps_its_events_once)
{
	struct attempts attempts = {.lose = 12, .stmt = &sql_key_create};
	struct call call = begin(M_IDENTITY_CREATE_KEY);
	cr_assert_eq(run(&call, &attempts), ST_OK);
	cr_assert_eq(attempts.made, 13);
	cr_assert_str_eq(world_sql("SELECT count(*) FROM outbox"), "2");
}

Test(change, ends_at_the_deadline)
{
	struct attempts attempts = {.lose = 1000000};
	struct call call = begin(M_IDENTITY_CREATE_KEY);
	call.deadline_us = clock_monotonic_us() + 100 * US_PER_MS;
	cr_assert_eq(run(&call, &attempts), ST_ABORTED);
	cr_assert_gt(attempts.made, 1);
	cr_assert_leq(clock_monotonic_us(), call.deadline_us);
}

Test(change, records_a_keyed_request_that_changed_nothing)
{
	struct attempts attempts = {0};
	struct call call = begin(M_IDENTITY_CREATE_KEY);
	cr_assert_eq(run(&call, &attempts), ST_OK);
	cr_assert_str_eq(world_sql("SELECT count(*) FROM operation"), "0", "the caller will not send it again");
	attempts = (struct attempts){0};
	call.keyed = true;
	cr_assert_eq(run(&call, &attempts), ST_OK);
	cr_assert_str_eq(world_sql("SELECT count(*) FROM operation"), "1");
	cr_assert_str_eq(world_sql("SELECT count(*) FROM outbox"), "0");
}

static enum status no_events(struct change *change)
{
	change_record(change, NULL); /* as when the arena was full */
	return change_write(change, &sql_process_record_operation, NULL);
}

Test(change, never_records_a_reply_that_it_was_told_not_to)
{
	struct call call = begin(M_IDENTITY_CREATE_KEY);
	Identity__Key reply = IDENTITY__KEY__INIT;
	cr_assert_eq(change_run(&call, NULL, &reply, no_events, NULL), ST_RESOURCE_EXHAUSTED);
	cr_assert_str_eq(world_sql("SELECT count(*) FROM operation"), "0");
}
