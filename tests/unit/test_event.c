/* The generated facts about events; USER_SUSPENDED is declared for the tests alone (tests/contract.py). */
#include "ledger/event.h"

#include "process/call.h"

#include <criterion/criterion.h>
#include <string.h>

#define USER_SUSPENDED 900

Test(event, every_type_of_the_catalogue_has_its_facts)
{
	const ProtobufCEnumDescriptor *catalogue = &events__event_type__descriptor;
	cr_assert_eq(event_count, catalogue->n_values + 1, "and the one of the tests");
	for (unsigned i = 0; i < catalogue->n_values; i++) {
		const struct event_facts *facts = event_facts(catalogue->values[i].value);
		cr_assert_eq(facts->type, catalogue->values[i].value);
		cr_assert(facts->name && process_table[facts->source].service, "%s", catalogue->values[i].name);
	}
}

Test(event, facts_are_those_of_the_contract)
{
	const struct event_facts *disabled = event_facts(EVENTS__EVENT_TYPE__EVENT_TYPE_USER_DISABLED);
	cr_assert_str_eq(disabled->name, "user_disabled");
	cr_assert_eq(disabled->revokes, EVENT_REVOKES_EPOCH);
	cr_assert(disabled->user_sees);
	cr_assert_eq(disabled->source, PROCESS_IDENTITY);
	cr_assert_eq(event_facts(EVENTS__EVENT_TYPE__EVENT_TYPE_USER_DELETED)->revokes, EVENT_REVOKES_USER);
	cr_assert_eq(event_facts(EVENTS__EVENT_TYPE__EVENT_TYPE_USER_UPDATED)->revokes, EVENT_REVOKES_NOTHING);
	cr_assert_not(event_facts(EVENTS__EVENT_TYPE__EVENT_TYPE_KEY_ROTATED)->user_sees);
	static const int unknown[] = {-1, 0, 9999, INT32_MAX};
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		cr_assert(!event_facts(unknown[i])->name && !event_facts(unknown[i])->revokes);
}

Test(event, sources_are_who_writes_such_events)
{
	cr_assert_eq(event_sources(EVENT_REVOKES_EPOCH | EVENT_REVOKES_USER | EVENT_REVOKES_KEY),
	             1u << PROCESS_IDENTITY);
	cr_assert_eq(event_sources(EVENT_REVOKES_SESSION), 1u << PROCESS_SESSION);
	cr_assert_eq(event_sources(EVENT_REVOKES_ANYTHING),
	             1u << PROCESS_IDENTITY | 1u << PROCESS_CLAIMS | 1u << PROCESS_SESSION);
	cr_assert_eq(event_sources(0), 0);
}

Test(event, a_row_of_the_outbox_says_what_its_event_does)
{
	struct call call = {.actor = "", .arena = arena_new(1 << 16)};
	static const struct {
		int type;
		bool revokes;
	} cases[] = {{USER_SUSPENDED, true},
	             {EVENTS__EVENT_TYPE__EVENT_TYPE_USER_DELETED, true},
	             {EVENTS__EVENT_TYPE__EVENT_TYPE_USER_CREATED, false}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		Events__Event event = EVENTS__EVENT__INIT;
		event.has_type = true;
		event.type = (Events__EventType)cases[i].type;
		struct packed packed = call_event(&call, &event);
		cr_assert(packed.data && packed.revokes == cases[i].revokes, "type %d", cases[i].type);
	}
	arena_free(&call.arena);
}
