/* The feed's messages: project ids as the server writes them, replies as plain events. */
#include "../../sdk/c/feed_wire.c"
#include "base/secret.h"

#include <criterion/criterion.h>

Test(feed_wire, reads_project_ids_as_the_server_writes_them)
{
	static const char *const bad[] = {NULL,
	                                  "",
	                                  "prj_",
	                                  "usr_01000000000000000000000001",
	                                  "prj_0100000000000000000000000",
	                                  "prj_010000000000000000000000011",
	                                  "prj_81000000000000000000000001",
	                                  "prj_0100000000000000000000000U",
	                                  "prj_0100000000000000000000000l"};
	char text[ID_TEXT_SIZE];
	uint8_t bytes[FEED_TOPIC_BYTES];
	secret_init();
	for (int i = 0; i < 1000; i++) {
		struct id id;
		secret_random(id.bytes, ID_SIZE);
		id_format("prj", &id, text);
		cr_assert(feed_parse_project(text, bytes), "%s", text);
		cr_assert_arr_eq(bytes, id.bytes, ID_SIZE);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_not(feed_parse_project(bad[i], bytes), "case %zu", i);
}

Test(feed_wire, shows_entries_as_events)
{
	Audit__ReadEventsReply reply = AUDIT__READ_EVENTS_REPLY__INIT;
	Audit__LedgerEntry full = AUDIT__LEDGER_ENTRY__INIT, bare = AUDIT__LEDGER_ENTRY__INIT;
	Events__Event event = EVENTS__EVENT__INIT;
	Events__FieldChange change = EVENTS__FIELD_CHANGE__INIT, *changes[] = {&change};
	Audit__LedgerEntry *data[] = {&full, &bare};
	struct feed_events events;
	char name[] = "name", after[] = "\"Ada\"", user[] = "usr_1", empty[] = "";
	change.field = name;
	change.after_json = after;
	event.type = EVENTS__EVENT_TYPE__EVENT_TYPE_USER_UPDATED;
	event.subject = user;
	event.user_id = user;
	event.actor = empty;
	event.version = 7;
	event.changes = changes;
	event.n_changes = 1;
	full.seq = 41;
	full.event = &event;
	bare.seq = 42;
	reply.data = data;
	reply.n_data = 2;
	cr_assert(feed_events_new(&reply, &events));
	cr_assert(events.count == 2 && events.seqs[0] == 41 && events.seqs[1] == 42);
	const struct denizen_feed_event *first = &events.events[0];
	cr_assert_str_eq(first->type_name, "USER_UPDATED");
	cr_assert_str_eq(first->user_id, "usr_1");
	cr_assert(first->version == 7 && first->actor == NULL && first->change_count == 1);
	cr_assert_str_eq(first->changes[0].field, "name");
	cr_assert(first->changes[0].before_json == NULL);
	cr_assert_str_eq(events.events[1].type_name, "UNKNOWN");
	cr_assert(events.events[1].change_count == 0 && events.events[1].hash != NULL);
	feed_events_free(&events);
}

Test(feed_wire, asks_as_the_bus_expects)
{
	const struct feed_ask ask = {.call_id = 9, .timeout_ms = 5000, .after = 3, .limit = 10, .project_id = "prj_x"};
	struct feed_frame frame = feed_pack_request(&ask);
	struct feed_reply parts;
	cr_assert(feed_read_reply(frame.data, frame.len, &parts));
	Bus__Header *header = parts.header;
	Audit__ReadEventsRequest *request = audit__read_events_request__unpack(NULL, parts.body_len, parts.body);
	cr_assert(header && header->version == 1 && header->kind == BUS__KIND__KIND_REQUEST && header->method == 4002);
	cr_assert(header->call_id == 9 && header->timeout_ms == 5000);
	cr_assert(request && request->after == 3 && request->limit == 10);
	cr_assert_str_eq(request->project_id, "prj_x");
	bus__header__free_unpacked(header, NULL);
	audit__read_events_request__free_unpacked(request, NULL);
	free(frame.data);
}
