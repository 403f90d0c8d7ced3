/* The ledger's pure rules: canonical form, chain. */
#include "../../services/audit/rules.h"
#include "events.pb-c.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t genesis[SHA256_SIZE];

/* An entry whose bytes lie in the arena: project 0x11..., room for a hash. */
static Audit__Rows__Entry new_entry(struct arena *arena, const void *event, size_t len)
{
	Audit__Rows__Entry entry = AUDIT__ROWS__ENTRY__INIT;
	entry.source = (char *)"identity";
	entry.project_id = (ProtobufCBinaryData){ID_SIZE, arena_alloc(arena, ID_SIZE)};
	memset(entry.project_id.data, 0x11, ID_SIZE);
	entry.hash = (ProtobufCBinaryData){SHA256_SIZE, arena_alloc(arena, SHA256_SIZE)};
	entry.event = (ProtobufCBinaryData){len, arena_memdup(arena, event, len)};
	return entry;
}

static Audit__Rows__Entry make_entry(struct arena *arena, int64_t seq, int type)
{
	Events__Event event = EVENTS__EVENT__INIT;
	const char *reason;
	event.has_type = event.has_at_us = true;
	event.type = (Events__EventType)type;
	event.at_us = 1700000000000000 + seq;
	event.subject = arena_printf(arena, "usr_%d", (int)seq);
	event.user_id = seq % 2 ? event.subject : NULL;
	uint8_t *packed = arena_alloc(arena, events__event__get_packed_size(&event));
	Audit__Rows__Entry entry = new_entry(arena, packed, events__event__pack(&event, packed));
	entry.seq = seq;
	entry.position = seq + 100;
	entry.outbox_id = seq + 1000;
	cr_assert(rules_describe_entry(&entry, arena, &reason) == ST_OK);
	return entry;
}

Test(audit_rules, hash_is_the_documented_layout)
{
	struct arena *arena = arena_new(1 << 16);
	Audit__Rows__Entry entry = new_entry(arena, "xyz", 3);
	uint8_t previous[SHA256_SIZE], expected[SHA256_SIZE], hash[SHA256_SIZE];
	entry.seq = 2;
	entry.position = 3;
	entry.source = (char *)"ab";
	entry.outbox_id = 5;
	memset(previous, 0xaa, sizeof previous);
	secret_init();
	uint8_t layout[128], *at = layout;
	memset(at, 0xaa, 32);
	at += 32;
	*at++ = 1;
	memset(at, 0x11, 16);
	at += 16;
	static const uint8_t rest[] = {0, 0,   0,   0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3,   0,   0,  0,
	                               2, 'a', 'b', 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 3, 'x', 'y', 'z'};
	memcpy(at, rest, sizeof rest);
	at += sizeof rest;
	secret_sha256(layout, (size_t)(at - layout), expected);
	rules_hash_entry(previous, &entry, hash);
	cr_assert_arr_eq(hash, expected, SHA256_SIZE);
	arena_free(&arena);
}

Test(audit_rules, hash_depends_on_every_part)
{
	uint8_t base[SHA256_SIZE], other[SHA256_SIZE], previous[SHA256_SIZE] = {1};
	struct arena *arena = arena_new(1 << 20);
	secret_init();
	Audit__Rows__Entry entry = make_entry(arena, 1, 10);
	rules_hash_entry(genesis, &entry, base);
	for (int part = 0; part < 7; part++) {
		Audit__Rows__Entry changed = entry;
		changed.project_id.data = arena_memdup(arena, entry.project_id.data, ID_SIZE);
		changed.project_id.data[15] ^= part == 0;
		changed.seq += part == 1;
		changed.position += part == 2;
		changed.outbox_id += part == 3;
		changed.source = part == 4 ? (char *)"identitz" : changed.source;
		changed.event.len -= part == 5;
		rules_hash_entry(part == 6 ? previous : genesis, &changed, other);
		cr_assert(memcmp(base, other, SHA256_SIZE) != 0, "part %d", part);
	}
	/* what moves between two neighbours with a length is seen as well */
	entry.event = (ProtobufCBinaryData){2, (uint8_t *)"bc"};
	entry.source = (char *)"a";
	rules_hash_entry(genesis, &entry, base);
	entry.event = (ProtobufCBinaryData){1, (uint8_t *)"c"};
	entry.source = (char *)"ab";
	rules_hash_entry(genesis, &entry, other);
	cr_assert(memcmp(base, other, SHA256_SIZE) != 0);
	arena_free(&arena);
}

Test(audit_rules, chain_accepts_only_the_next_true_entry)
{
	struct arena *arena = arena_new(1 << 20);
	Audit__Rows__Entry entries[5];
	uint8_t previous[SHA256_SIZE] = {0};
	secret_init();
	for (int i = 0; i < 5; i++) {
		entries[i] = make_entry(arena, i + 1, 10 + i % 3);
		rules_hash_entry(previous, &entries[i], entries[i].hash.data);
		memcpy(previous, entries[i].hash.data, SHA256_SIZE);
	}
	struct chain chain = {0}, start = {0};
	memset(start.project.bytes, 0x11, ID_SIZE);
	chain = start;
	for (int i = 0; i < 5; i++)
		cr_assert(rules_check_entry(&chain, &entries[i], arena));
	cr_assert(chain.seq == 5 && chain.checked == 5 && chain.first_bad == 0);
	cr_assert_arr_eq(chain.hash, entries[4].hash.data, SHA256_SIZE);
	chain = start;
	cr_assert(rules_check_entry(&chain, &entries[0], arena));
	cr_assert_not(rules_check_entry(&chain, &entries[2], arena), "a gap");
	cr_assert(chain.first_bad == 2);
	chain = start;
	Audit__Rows__Entry copy = entries[0];
	copy.subject = (char *)"usr_2";
	cr_assert_not(rules_check_entry(&chain, &copy, arena), "a column that is not the event's");
	cr_assert(chain.first_bad == 1 && chain.reason);
	chain = start;
	copy = entries[0];
	copy.hash.len--;
	cr_assert_not(rules_check_entry(&chain, &copy, arena), "a hash that was cut");
	chain = (struct chain){0};
	cr_assert_not(rules_check_entry(&chain, &entries[0], arena), "another project");
	arena_free(&arena);
}

Test(audit_rules, refuses_events_that_say_nothing)
{
	struct arena *arena = arena_new(1 << 20);
	static const uint8_t garbage[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	static const uint8_t no_time[] = {0x08, 10}, no_type[] = {0x28, 1}, zero_type[] = {0x08, 0, 0x28, 1};
	static uint8_t large[AUDIT_EVENT_MAX_BYTES + 1];
	const struct secret_piece bad[] = {
	    {garbage, sizeof garbage},     {no_time, sizeof no_time}, {no_type, sizeof no_type},
	    {zero_type, sizeof zero_type}, {large, sizeof large},     {garbage, 0},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		Audit__Rows__Entry entry = AUDIT__ROWS__ENTRY__INIT;
		entry.event = (ProtobufCBinaryData){bad[i].len, (uint8_t *)bad[i].data};
		const char *reason = NULL;
		cr_assert(rules_describe_entry(&entry, arena, &reason) == ST_INVALID_ARGUMENT, "%zu", i);
		cr_assert(reason != NULL);
	}
	/* a type that this program does not know yet is kept */
	static const uint8_t future[] = {0x08, 0xe7, 0x07, 0x28, 1};
	Audit__Rows__Entry entry = new_entry(arena, future, sizeof future);
	const char *reason;
	cr_assert(rules_describe_entry(&entry, arena, &reason) == ST_OK);
	cr_assert(entry.type == 999 && entry.at_us == 1 && entry.user_id == NULL);
	cr_assert_str_eq(entry.subject, "");
	arena_free(&arena);
}
