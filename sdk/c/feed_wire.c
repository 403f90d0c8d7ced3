/* Packing and unpacking of the feed's messages. */
#include "feed_wire.h"

#include <stdlib.h>
#include <string.h>

#define READ_EVENTS 4002 /* method id in proto/audit.proto; ids are never reused */
#define ID_CHARS 26

bool feed_parse_project(const char *text, uint8_t ret_bytes[FEED_TOPIC_BYTES])
{
	static const char base32[] = "0123456789abcdefghjkmnpqrstvwxyz";
	uint8_t bytes[FEED_TOPIC_BYTES], *to = bytes;
	unsigned bits = 0, window = 0;
	if (!text || strncmp(text, "prj_", 4) != 0 || strlen(text) != 4 + ID_CHARS || text[4] > '7')
		return false;
	for (int i = 0; i < ID_CHARS; i++) {
		const char *at = strchr(base32, text[4 + i]);
		if (!at)
			return false;
		window = (window << 5 | (unsigned)(at - base32)) & 0xffff;
		bits += i == 0 ? 3 : 5;
		if (bits >= 8) {
			bits -= 8;
			*to++ = (uint8_t)(window >> bits);
		}
	}
	memcpy(ret_bytes, bytes, sizeof(bytes));
	return true;
}

struct feed_frame feed_pack_request(const struct feed_ask *ask)
{
	Bus__Header header = BUS__HEADER__INIT;
	header.has_version = header.has_kind = header.has_call_id = header.has_method = 1;
	header.has_timeout_ms = header.has_attempt = 1;
	header.version = 1;
	header.kind = BUS__KIND__KIND_REQUEST;
	header.call_id = ask->call_id;
	header.method = READ_EVENTS;
	header.timeout_ms = ask->timeout_ms;
	header.attempt = 1;
	Audit__ReadEventsRequest body = AUDIT__READ_EVENTS_REQUEST__INIT;
	body.has_after = body.has_limit = 1;
	body.after = ask->after;
	body.limit = ask->limit;
	body.project_id = (char *)ask->project_id;
	uint8_t prefix[BUS_FRAME_PREFIX_MAX];
	size_t head_len = bus__header__get_packed_size(&header), prefix_len = bus_frame_prefix(head_len, prefix);
	size_t body_len = audit__read_events_request__get_packed_size(&body);
	struct feed_frame frame = {.len = prefix_len + head_len + body_len};
	frame.data = malloc(frame.len);
	if (!frame.data)
		return frame;
	memcpy(frame.data, prefix, prefix_len);
	bus__header__pack(&header, frame.data + prefix_len);
	audit__read_events_request__pack(&body, frame.data + prefix_len + head_len);
	return frame;
}

bool feed_read_reply(const uint8_t *frame, size_t len, struct feed_reply *ret_reply)
{
	size_t head_at, body_at;
	if (!bus_frame_split(frame, len, &head_at, &body_at))
		return false;
	Bus__Header *header = bus__header__unpack(NULL, body_at - head_at, frame + head_at);
	if (!header)
		return false;
	*ret_reply = (struct feed_reply){header, frame + body_at, len - body_at};
	return true;
}

bool feed_read_hint(const uint8_t *frame, size_t len, int64_t *ret_seq)
{
	if (len < BUS_TOPIC_BYTES)
		return false;
	Audit__Hint *hint = audit__hint__unpack(NULL, len - BUS_TOPIC_BYTES, frame + BUS_TOPIC_BYTES);
	if (!hint)
		return false;
	*ret_seq = hint->seq;
	audit__hint__free_unpacked(hint, NULL);
	return true;
}

static const char *type_name(int type)
{
	static const char prefix[] = "EVENT_TYPE_";
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(&events__event_type__descriptor, type);
	if (!value)
		return "UNKNOWN";
	return strncmp(value->name, prefix, sizeof(prefix) - 1) == 0 ? value->name + sizeof(prefix) - 1 : value->name;
}

static const char *text_or_null(const char *text)
{
	return text && *text ? text : NULL;
}

/* Fills one event; *changes moves on behind its changes. */
static void fill_event(const Audit__LedgerEntry *entry, struct denizen_feed_event *event,
                       struct denizen_feed_change **changes)
{
	static const uint8_t no_hash[32];
	const Events__Event *in = entry->event;
	*event = (struct denizen_feed_event){
	    .seq = entry->seq,
	    .project_id = entry->project_id ? entry->project_id : "",
	    .type_name = "UNKNOWN",
	    .subject = "",
	    .hash = entry->hash.len == sizeof(no_hash) ? entry->hash.data : no_hash,
	    .changes = *changes,
	};
	if (!in)
		return;
	event->type = in->type;
	event->type_name = type_name(in->type);
	event->subject = in->subject ? in->subject : "";
	event->user_id = text_or_null(in->user_id);
	event->actor = text_or_null(in->actor);
	event->trace_id = text_or_null(in->trace_id);
	event->reason = text_or_null(in->reason);
	event->at_us = in->at_us;
	event->version = in->version;
	event->epoch = in->epoch;
	event->change_count = in->n_changes;
	for (size_t i = 0; i < in->n_changes; i++)
		*(*changes)++ = (struct denizen_feed_change){
		    .field = in->changes[i]->field ? in->changes[i]->field : "",
		    .before_json = in->changes[i]->before_json,
		    .after_json = in->changes[i]->after_json,
		};
}

bool feed_events_new(const Audit__ReadEventsReply *reply, struct feed_events *ret_events)
{
	size_t changes = 0;
	struct feed_events events = {.count = reply->n_data};
	for (size_t i = 0; i < reply->n_data; i++)
		changes += reply->data[i]->event ? reply->data[i]->event->n_changes : 0;
	events.events = calloc(events.count + 1, sizeof(*events.events));
	events.changes = calloc(changes + 1, sizeof(*events.changes));
	events.seqs = calloc(events.count + 1, sizeof(*events.seqs));
	if (!events.events || !events.changes || !events.seqs) {
		feed_events_free(&events);
		return false;
	}
	struct denizen_feed_change *at = events.changes;
	for (size_t i = 0; i < events.count; i++) {
		fill_event(reply->data[i], &events.events[i], &at);
		events.seqs[i] = reply->data[i]->seq;
	}
	*ret_events = events;
	return true;
}

void feed_events_free(struct feed_events *events)
{
	free(events->events);
	free(events->changes);
	free(events->seqs);
	*events = (struct feed_events){0};
}
