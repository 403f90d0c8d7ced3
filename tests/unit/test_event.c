/* The generated facts about events. */
#include "ledger/event.h"

#include "events.pb-c.h"

#include <criterion/criterion.h>
#include <string.h>

Test(event, every_type_of_the_catalogue_has_its_facts)
{
	const ProtobufCEnumDescriptor *catalogue = &events__event_type__descriptor;
	cr_assert_eq(event_count, catalogue->n_values);
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
