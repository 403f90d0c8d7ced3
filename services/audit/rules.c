/* The ledger's pure rules: canonical form, hash chain. */
#include "rules.h"

#include "events.pb-c.h"
#include "ledger/event.h"

#include <string.h>

#define LAYOUT 1

static uint8_t *put_be(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
	return at + bytes;
}

void rules_take_hash(ProtobufCBinaryData bytes, uint8_t ret_hash[SHA256_SIZE])
{
	memset(ret_hash, 0, SHA256_SIZE);
	if (bytes.len == SHA256_SIZE)
		memcpy(ret_hash, bytes.data, SHA256_SIZE);
}

void rules_hash_entry(const uint8_t previous[SHA256_SIZE], const Audit__Rows__Entry *entry,
                      uint8_t ret_hash[SHA256_SIZE])
{
	uint8_t front[1 + ID_SIZE + 8 + 8 + 4];
	uint8_t back[8 + 4];
	size_t source_len = strlen(entry->source);
	uint8_t *at = front;
	*at++ = LAYOUT;
	memcpy(at, entry->project_id.data, ID_SIZE);
	at = put_be(at + ID_SIZE, (uint64_t)entry->seq, 8);
	at = put_be(at, (uint64_t)entry->position, 8);
	put_be(at, source_len, 4);
	put_be(put_be(back, (uint64_t)entry->outbox_id, 8), entry->event.len, 4);
	const struct secret_piece pieces[] = {
	    {previous, SHA256_SIZE},
	    {front, sizeof(front)},
	    {entry->source, source_len},
	    {back, sizeof(back)},
	    {entry->event.data, entry->event.len},
	};
	secret_sha256_pieces(pieces, sizeof(pieces) / sizeof(*pieces), ret_hash);
}

MUST_USE static enum status refuse(const char **ret_reason, const char *reason)
{
	*ret_reason = reason;
	return ST_INVALID_ARGUMENT;
}

enum status rules_describe_entry(Audit__Rows__Entry *entry, struct arena *arena, const char **ret_reason)
{
	if (entry->event.len == 0 || entry->event.len > AUDIT_EVENT_MAX_BYTES)
		return refuse(ret_reason, "the event must have 1 to 131072 bytes");
	/* protobuf-c's unpacked form needs a few times the packed size; the arena bounds it. */
	Events__Event *event = events__event__unpack(arena_protobuf(arena), entry->event.len, entry->event.data);
	if (!event)
		return refuse(ret_reason, "the event is not a readable events.Event");
	if (!event->has_type || event->type < 1 || event->type > INT16_MAX)
		return refuse(ret_reason, "the event has no type");
	if (!event->has_at_us || event->at_us <= 0)
		return refuse(ret_reason, "the event has no time");
	entry->has_type = entry->has_revokes = entry->has_at_us = true;
	entry->type = event->type;
	entry->revokes = event_facts(event->type)->revokes;
	entry->subject = event->subject ? event->subject : (char *)"";
	entry->user_id = event->user_id && *event->user_id ? event->user_id : NULL;
	entry->at_us = event->at_us;
	return ST_OK;
}

static bool text_equal(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool fail_chain(struct chain *chain, int64_t seq, const char *reason)
{
	chain->first_bad = seq;
	chain->reason = reason;
	return false;
}

bool rules_check_entry(struct chain *chain, const Audit__Rows__Entry *entry, struct arena *arena)
{
	uint8_t hash[SHA256_SIZE];
	Audit__Rows__Entry told = *entry;
	const char *reason;

	if (entry->seq != chain->seq + 1)
		return fail_chain(chain, chain->seq + 1, "the entry is missing");
	if (entry->project_id.len != ID_SIZE || memcmp(entry->project_id.data, chain->project.bytes, ID_SIZE) != 0)
		return fail_chain(chain, entry->seq, "the entry belongs to another project");
	chain->checked++;
	rules_hash_entry(chain->hash, entry, hash);
	if (entry->hash.len != SHA256_SIZE || memcmp(hash, entry->hash.data, SHA256_SIZE) != 0)
		return fail_chain(chain, entry->seq, "the hash does not cover the entry and its predecessor");
	if (rules_describe_entry(&told, arena, &reason) != ST_OK)
		return fail_chain(chain, entry->seq, "the event cannot be read");
	if (told.type != entry->type || told.at_us != entry->at_us || !text_equal(told.subject, entry->subject) ||
	    !text_equal(told.user_id, entry->user_id))
		return fail_chain(chain, entry->seq, "a column differs from the event");
	chain->seq = entry->seq;
	memcpy(chain->hash, hash, SHA256_SIZE);
	return true;
}
