/* The feed's run loop: state machine, sockets and callbacks put together. */
#include "denizen_feed.h"

#include "errors.gen.h"
#include "feed_link.h"
#include "feed_state.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CALL_TIMEOUT_MS 5000
#define SLICE_MS 200     /* how soon a stop is noticed */
#define REFRESH_MS 10000 /* names are resolved again this often */
#define POLL_MS 1000
#define BATCH 500
#define BATCH_MAX 1000

struct denizen_feed {
	struct denizen_feed_options options; /* texts are not kept, except project_id */
	char project_id[40];                 /* "" = the key's */
	struct feed_link *link;
	struct feed_state state;
	uint64_t call_id;
	int64_t refresh_ms;
	bool connected; /* last read succeeded */
	atomic_bool stop;
};

static void say(struct denizen_feed *feed, const char *text)
{
	if (feed->options.log)
		feed->options.log(feed->options.arg, text);
}

struct denizen_feed *denizen_feed_new(const struct denizen_feed_options *options, const char **ret_error)
{
	uint8_t topic[FEED_TOPIC_BYTES];
	if (!options->load || !options->apply) {
		*ret_error = "load and apply must be given";
		return NULL;
	}
	if (options->project_id && !feed_parse_project(options->project_id, topic)) {
		*ret_error = "project_id must be prj_ and 26 characters";
		return NULL;
	}
	if (options->batch > BATCH_MAX) {
		*ret_error = "batch must be 1 to 1000";
		return NULL;
	}
	struct denizen_feed *feed = calloc(1, sizeof(*feed));
	if (feed)
		feed->link = feed_link_new(options->endpoints, options->server_public_key, options->public_key,
		                           options->secret_key);
	if (!feed || !feed->link) {
		*ret_error = "endpoints must be host:port[,host:port], keys 40 characters Z85";
		free(feed);
		return NULL;
	}
	feed->options = *options;
	feed->options.endpoints = feed->options.server_public_key = feed->options.public_key = NULL;
	feed->options.secret_key = NULL;
	if (options->project_id) {
		memcpy(feed->project_id, options->project_id, strlen(options->project_id));
		feed_link_set_topic(feed->link, topic);
	}
	feed->options.project_id = feed->project_id[0] ? feed->project_id : NULL;
	if (!options->poll_ms)
		feed->options.poll_ms = POLL_MS;
	if (!options->batch)
		feed->options.batch = BATCH;
	return feed;
}

void denizen_feed_free(struct denizen_feed **feed)
{
	if (!feed || !*feed)
		return;
	feed_link_free(&(*feed)->link);
	free(*feed);
	*feed = NULL;
}

void denizen_feed_stop(struct denizen_feed *feed)
{
	atomic_store(&feed->stop, true);
}

int64_t denizen_feed_cursor(const struct denizen_feed *feed)
{
	return feed->state.cursor;
}

int64_t denizen_feed_head(const struct denizen_feed *feed)
{
	return feed->state.head;
}

/* ---- reading ---- */

static void note_failure(struct denizen_feed *feed, const char *text, bool rotate)
{
	if (feed->connected || feed->state.failures == 0)
		say(feed, text);
	feed->connected = false;
	feed->call_id++; /* an answer that comes late is not ours any more */
	feed_state_failed(&feed->state, zclock_mono());
	if (rotate) {
		feed_link_rotate(feed->link);
		feed->refresh_ms = 0;
	}
}

static void send_read(struct denizen_feed *feed)
{
	const struct feed_ask ask = {
	    .call_id = ++feed->call_id,
	    .timeout_ms = CALL_TIMEOUT_MS,
	    .after = feed->state.cursor,
	    .limit = feed->options.batch,
	    .project_id = feed->options.project_id,
	};
	if (feed_link_send(feed->link, feed_pack_request(&ask)))
		feed_state_sent(&feed->state, CALL_TIMEOUT_MS, zclock_mono());
	else
		note_failure(feed, "no connection to the ledger", true);
}

/* Without a given project the first event tells whose hints to listen for. */
static void learn_topic(struct denizen_feed *feed, const struct feed_events *events)
{
	uint8_t topic[FEED_TOPIC_BYTES];
	if (events->count > 0 && feed_parse_project(events->events[0].project_id, topic))
		feed_link_set_topic(feed->link, topic);
}

static void apply_events(struct denizen_feed *feed, const Audit__ReadEventsReply *reply)
{
	struct feed_events events;
	struct feed_slice slice;
	if (!feed_events_new(reply, &events)) {
		note_failure(feed, "no memory for a batch of events", false);
		return;
	}
	learn_topic(feed, &events);
	if (!feed_state_accept(&feed->state, events.seqs, events.count, reply->next, &slice)) {
		note_failure(feed, "the answer has a gap; reading again", true);
	} else if (slice.count > 0 &&
	           feed->options.apply(feed->options.arg, events.events + slice.first, slice.count, slice.next) != 0) {
		note_failure(feed, "the events could not be applied; they will come again", false);
	} else {
		if (!feed->connected)
			say(feed, "following the ledger");
		feed->connected = true;
		feed_state_applied(&feed->state, slice.next, reply->head, zclock_mono());
	}
	feed_events_free(&events);
}

static void take_body(struct denizen_feed *feed, const struct feed_reply *from)
{
	Audit__ReadEventsReply *reply = audit__read_events_reply__unpack(NULL, from->body_len, from->body);
	if (reply)
		apply_events(feed, reply);
	else
		note_failure(feed, "the answer cannot be read", true);
	if (reply)
		audit__read_events_reply__free_unpacked(reply, NULL);
}

/* Returns STOPPED to go on. */
static enum denizen_feed_result take_status(struct denizen_feed *feed, const struct feed_reply *reply)
{
	const Bus__Header *header = reply->header;
	switch (header->status) {
	case ST_OK:
		take_body(feed, reply);
		return DENIZEN_FEED_STOPPED;
	case ST_PERMISSION_DENIED:
	case ST_UNAUTHENTICATED:
		say(feed, "the server refuses the key or the project");
		return DENIZEN_FEED_REFUSED;
	case ST_INVALID_ARGUMENT:
		say(feed, header->reason ? header->reason : "the server refuses the request");
		return header->field && strcmp(header->field, "after") == 0 ? DENIZEN_FEED_AHEAD : DENIZEN_FEED_REFUSED;
	default:
		note_failure(feed, "the ledger cannot answer now", true);
		return DENIZEN_FEED_STOPPED;
	}
}

static enum denizen_feed_result take_reply(struct denizen_feed *feed, zframe_t *frame)
{
	enum denizen_feed_result result = DENIZEN_FEED_STOPPED;
	struct feed_reply reply;
	if (!feed_read_reply(zframe_data(frame), zframe_size(frame), &reply))
		return result;
	if (reply.header->kind == BUS__KIND__KIND_REPLY && reply.header->call_id == feed->call_id &&
	    feed->state.reading)
		result = take_status(feed, &reply);
	bus__header__free_unpacked(reply.header, NULL);
	return result;
}

static void take_hint(struct denizen_feed *feed, zframe_t *frame)
{
	int64_t seq;
	if (feed_read_hint(zframe_data(frame), zframe_size(frame), &seq))
		feed_state_hint(&feed->state, seq, zclock_mono());
}

static enum denizen_feed_result step(struct denizen_feed *feed)
{
	enum denizen_feed_result result = DENIZEN_FEED_STOPPED;
	zframe_t *reply = NULL, *hint = NULL;
	int64_t now_ms = zclock_mono();
	if (now_ms >= feed->refresh_ms) {
		feed->refresh_ms = now_ms + (feed_link_refresh(feed->link) ? REFRESH_MS : SLICE_MS);
		now_ms = zclock_mono();
	}
	if (feed_state_expired(&feed->state, now_ms))
		note_failure(feed, "the ledger does not answer", true);
	if (feed_state_due(&feed->state, now_ms))
		send_read(feed);
	int64_t wait_ms = feed_state_wait_ms(&feed->state, zclock_mono());
	feed_link_wait(feed->link, wait_ms < SLICE_MS ? (int)wait_ms : SLICE_MS, &reply, &hint);
	if (reply)
		result = take_reply(feed, reply);
	if (hint)
		take_hint(feed, hint);
	zframe_destroy(&reply);
	zframe_destroy(&hint);
	return result;
}

enum denizen_feed_result denizen_feed_run(struct denizen_feed *feed)
{
	enum denizen_feed_result result = DENIZEN_FEED_STOPPED;
	int64_t cursor = 0;
	if (feed->options.load(feed->options.arg, &cursor) != 0 || cursor < 0)
		return DENIZEN_FEED_LOAD;
	feed_state_start(&feed->state, cursor, feed->options.poll_ms, zclock_mono());
	feed->refresh_ms = 0;
	feed->connected = false;
	while (result == DENIZEN_FEED_STOPPED && !atomic_load(&feed->stop))
		result = step(feed);
	feed_link_close(feed->link);
	atomic_store(&feed->stop, false);
	return result;
}
