/* Follows the ledger's stream: one fiber, one read in flight. */
#include "ledger/follow.h"
#include "ledger/source.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define READ_LIMIT 500
#define READ_ARENA_BYTES (64u << 20)
#define READ_BUDGET_US 5000000LL
#define BACKOFF_FIRST_US 20000LL
#define BACKOFF_MAX_US 1000000LL
#define POLL_DEFAULT_MS 500
#define LIVE_US 800000LL

struct follow {
	struct follow_options options;
	Events__EventType *types; /* what it asks for by type; NULL = not by type */
	size_t type_count;
	int64_t position; /* last one applied */
	int64_t target;   /* head when the first read began; -1 before */
	int64_t backoff_us;
	unsigned failures; /* in a row */
	struct wait wait;
	bool waiting, hinted;
	struct source sources[PROCESS_COUNT]; /* those whose outbox is read as well */
	unsigned source_count;
	atomic_llong known_us; /* what was committed before is applied; 0 = nothing is known */
	atomic_bool caught_up;
};

/* ---- hints ---- */

static void follow_hint(void *arg, const void *data, size_t len_bytes)
{
	struct follow *follow = arg;
	Audit__Hint *hint = audit__hint__unpack(NULL, len_bytes, data);
	/* One without a position is a relay's. */
	bool wanted = hint && (!follow->options.revokes || hint->revocation) && hint->has_position &&
	              hint->position > follow->position;
	if (hint)
		audit__hint__free_unpacked(hint, NULL);
	if (!wanted)
		return;
	follow->hinted = true;
	if (follow->waiting && !follow->wait.timed_out) {
		follow->waiting = false;
		wait_done(&follow->wait);
	}
}

/* Until a hint or the time. A hint that came during the last read counts. */
static void follow_sleep(struct follow *follow, int64_t us)
{
	if (follow->hinted)
		return;
	wait_init(&follow->wait, follow->options.loop);
	follow->waiting = true;
	(void)wait_for(&follow->wait, clock_monotonic_us() + us);
	follow->waiting = false;
}

/* ---- reading ---- */

static enum status follow_read(struct follow *follow, struct arena *arena, Audit__ReadStreamReply **ret_reply)
{
	Audit__ReadStreamRequest request = AUDIT__READ_STREAM_REQUEST__INIT;
	struct client_call call = {.deadline_us = clock_monotonic_us() + READ_BUDGET_US};
	ProtobufCMessage *reply = NULL;
	request.has_after = request.has_limit = true;
	request.after = follow->position;
	request.limit = READ_LIMIT;
	request.has_since_us = follow->position == 0 && follow->options.since_us > 0;
	request.since_us = follow->options.since_us;
	request.types = follow->types;
	request.n_types = follow->type_count;
	request.has_revoking = request.revoking = follow->options.revokes && !follow->type_count;
	enum status status =
	    client_send(follow->options.client, &call, M_AUDIT_READ_STREAM, &request.base, arena, &reply);
	if (status == ST_OK)
		*ret_reply = (Audit__ReadStreamReply *)reply;
	return status;
}

/* A reply may hold more than was asked for: entries of which audit does not know what they are. */
static bool follow_wants(const struct follow *follow, const Audit__LedgerEntry *entry)
{
	const struct follow_options *options = &follow->options;
	if (!options->revokes && !options->type_count)
		return true;
	if (!entry->event)
		return false;
	for (size_t i = 0; i < options->type_count; i++)
		if (entry->event->type == options->types[i])
			return true;
	return event_facts(entry->event->type)->revokes & options->revokes;
}

/* Keeps what is wanted of the list; returns how many that are. */
static size_t follow_sift(const struct follow *follow, Audit__LedgerEntry **entries, size_t count)
{
	size_t kept = 0;
	for (size_t i = 0; i < count; i++)
		if (follow_wants(follow, entries[i]))
			entries[kept++] = entries[i];
	return kept;
}

/* What waits at a source. */
static enum status follow_apply_waiting(void *arg, Audit__LedgerEntry **entries, size_t count)
{
	struct follow *follow = arg;
	count = follow_sift(follow, entries, count);
	return count > 0 ? follow->options.apply(follow->options.arg, entries, count, follow->position) : ST_OK;
}

static enum status follow_apply(struct follow *follow, Audit__ReadStreamReply *reply, bool *ret_more)
{
	int64_t next = reply->has_next ? reply->next : follow->position;
	reply->n_entries = follow_sift(follow, reply->entries, reply->n_entries);
	if (next > follow->position || reply->n_entries > 0) {
		enum status status = follow->options.apply(follow->options.arg, reply->entries, reply->n_entries, next);
		if (status != ST_OK)
			return status;
		*ret_more = next < reply->head && next > follow->position;
		follow->position = next;
	}
	if (follow->target < 0)
		follow->target = reply->head;
	if (follow->position >= follow->target)
		atomic_store(&follow->caught_up, true);
	return ST_OK;
}

static void follow_fail(struct follow *follow, enum status status)
{
	if (follow->failures++ % 60 == 0)
		log_event(LOG_WARN, "the ledger cannot be followed", "status", status_name(status), "position",
		          LOG_NUM(follow->position), NULL);
	fiber_sleep_us(follow->options.loop, follow->backoff_us);
	follow->backoff_us *= 2;
	if (follow->backoff_us > BACKOFF_MAX_US)
		follow->backoff_us = BACKOFF_MAX_US;
}

/* The moment before which all that the sources committed has reached the ledger or this follower: if a read of the ledger that begins now comes to
 * its end. */
static int64_t follow_sources_known_us(const struct follow *follow, int64_t now_us)
{
	int64_t known_us = now_us;
	for (unsigned i = 0; i < follow->source_count; i++)
		if (follow->sources[i].known_us < known_us)
			known_us = follow->sources[i].known_us;
	return follow->source_count > 0 ? known_us : 0;
}

static void follow_turn(struct follow *follow)
{
	Audit__ReadStreamReply *reply = NULL;
	bool more = false;
	struct arena *arena = arena_new(READ_ARENA_BYTES);
	int64_t known_us = follow_sources_known_us(follow, clock_monotonic_us());
	follow->hinted = false; /* hints from here on may tell of what the read does not see */
	enum status status = arena ? follow_read(follow, arena, &reply) : ST_UNAVAILABLE;
	if (status == ST_OK)
		status = follow_apply(follow, reply, &more);
	arena_free(&arena);
	if (status != ST_OK) {
		follow_fail(follow, status);
		return;
	}
	if (follow->failures > 0)
		log_event(LOG_INFO, "the ledger is followed again", "position", LOG_NUM(follow->position), NULL);
	follow->failures = 0;
	follow->backoff_us = BACKOFF_FIRST_US;
	if (more)
		return; /* behind: what was committed meanwhile is still to come */
	atomic_store(&follow->known_us, known_us);
	follow_sleep(follow, follow->options.poll_ms * US_PER_MS);
}

static void follow_fiber(void *arg)
{
	struct follow *follow = arg;
	enum status status = follow->options.load ? ST_INTERNAL : ST_OK;
	while (status != ST_OK) {
		status = follow->options.load(follow->options.arg, &follow->position);
		if (status != ST_OK)
			follow_fail(follow, status);
	}
	for (;;) /* the fiber ends with its loop */
		follow_turn(follow);
}

static void follow_begin(void *arg)
{
	struct follow *follow = arg;
	if (!fiber_spawn(follow->options.loop, follow_fiber, follow))
		abort(); /* at start there are no others; a process without it would fail silently */
	for (unsigned i = 0; i < follow->source_count; i++)
		source_start(&follow->sources[i]);
}

/* Copies the types; who asks by type and by kind asks by type for all. */
static void follow_choose(struct follow *follow)
{
	const struct follow_options *options = &follow->options;
	if (!options->type_count)
		return;
	follow->types = calloc(options->type_count + event_count, sizeof(*follow->types));
	if (!follow->types)
		abort();
	for (size_t i = 0; i < options->type_count; i++)
		follow->types[follow->type_count++] = options->types[i];
	for (unsigned i = 0; i < event_count; i++)
		if (event_table[i].revokes & options->revokes)
			follow->types[follow->type_count++] = (Events__EventType)event_table[i].type;
	follow->options.types = follow->types;
}

static void follow_choose_sources(struct follow *follow)
{
	const struct follow_options *options = &follow->options;
	for (unsigned process = 0; options->live && process < PROCESS_COUNT; process++) {
		if (event_sources(options->revokes) & 1u << process)
			follow->sources[follow->source_count++] = (struct source){
			    .loop = options->loop,
			    .client = options->client,
			    .process = process,
			    .poll_us = options->poll_ms * US_PER_MS,
			    .apply = follow_apply_waiting,
			    .arg = follow,
			};
	}
}

struct follow *follow_start(const struct follow_options *options)
{
	struct follow *follow = calloc(1, sizeof(*follow));
	if (!follow)
		abort();
	follow->options = *options;
	follow_choose(follow);
	if (follow->options.poll_ms == 0)
		follow->options.poll_ms = POLL_DEFAULT_MS;
	follow_choose_sources(follow);
	follow->target = -1;
	follow->backoff_us = BACKOFF_FIRST_US;
	client_subscribe(options->client, PROCESS_AUDIT, NULL, 0, follow_hint, follow);
	loop_post(options->loop, follow_begin, follow);
	return follow;
}

bool follow_live(const struct follow *follow)
{
	/* C17 reads atomics through a plain pointer. */
	int64_t known_us = atomic_load(&((struct follow *)follow)->known_us);
	return known_us > 0 && clock_monotonic_us() - known_us <= LIVE_US;
}

bool follow_caught_up(const struct follow *follow)
{
	return atomic_load(&((struct follow *)follow)->caught_up);
}
