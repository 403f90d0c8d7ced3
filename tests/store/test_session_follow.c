/* What the session service takes from the ledger. */
#include "../../services/session/follow_users.c"

#include "test_session_world.h"

static struct {
	Audit__LedgerEntry **entries;
	size_t count;
	enum status status;
} told;

static void tell_fiber(void *arg)
{
	told.status = apply(&world.run, told.entries, told.count, 1);
	sem_post(arg);
}

static void tell_begin(void *arg)
{
	if (!fiber_spawn(world.loop, tell_fiber, arg))
		abort();
}

static void tell(int type, int64_t epoch)
{
	Events__Event event = EVENTS__EVENT__INIT;
	Audit__LedgerEntry entry = AUDIT__LEDGER_ENTRY__INIT, *entries[] = {&entry};
	char project_id[ID_TEXT_SIZE];
	sem_t done;
	id_format("prj", &world.project, project_id);
	event.has_type = event.has_epoch = true;
	event.type = (Events__EventType)type;
	event.user_id = world.user_id;
	event.epoch = epoch;
	entry.project_id = project_id;
	entry.event = &event;
	told.entries = entries;
	told.count = 1;
	sem_init(&done, 0, 0);
	loop_post(world.loop, tell_begin, &done);
	sem_wait(&done);
	cr_assert_eq(told.status, ST_OK);
}

TestSuite(session_follow, .init = world_open, .fini = world_close);

/* Type 900 is declared for the tests alone (tests/contract.py): no code of the service names it. */
Test(session_follow, what_the_contract_says_of_an_event_ends_sessions)
{
	char token[REFRESH_TEXT_SIZE];
	cr_assert_eq(event_facts(900)->revokes, EVENT_REVOKES_EPOCH);
	cr_assert_eq(sign_in("ann", "right", NULL, token), ST_OK);
	tell(900, world.epoch);
	cr_assert_eq(ask_number("SELECT count(*) FROM session WHERE ended_at_us IS NULL"), 1,
	             "its epoch is that of the event");
	tell(900, world.epoch + 1);
	cr_assert_eq(ask_number("SELECT count(*) FROM session WHERE ended_at_us IS NULL"), 0);
	cr_assert_eq(sign_in("ann", "right", NULL, token), ST_OK);
	tell(EVENTS__EVENT_TYPE__EVENT_TYPE_USER_DELETED, 0);
	cr_assert_eq(ask_number("SELECT count(*) FROM session WHERE ended_at_us IS NULL"), 0, "whatever its epoch");
}
