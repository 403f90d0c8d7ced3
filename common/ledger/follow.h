/* Follows the ledger's whole stream (all projects): hints wake it, the read is the truth, a poll covers lost hints. */
#pragma once

#include "audit.pb-c.h"
#include "bus/client.h"
#include "ledger/event.h"
#include "loop/loop.h"

struct follow;

struct follow_options {
	struct loop *loop;
	struct client *client;
	/* What it asks for: events that take away one of these kinds (EVENT_REVOKES_..., as bits), and those of these types;
	 * neither = every event. With kinds only hints of revocations wake it. */
	unsigned revokes;
	const Events__EventType *types;
	size_t type_count;
	/* It also reads at the sources of `revokes` what waits for the ledger, so that follow_live can say yes; the client must have all of
	 * them as peers. */
	bool live;
	unsigned poll_ms; /* read at least this often, 500 by default */
	int64_t since_us; /* when load gives 0: start at events not older than this; 0 = from the first */
	/* Last position applied; called once at start, in a fiber. May be NULL (0). */
	enum status (*load)(void *arg, int64_t *ret_position);
	/* Applies entries in order and remembers `next` with their effect. Not ST_OK: the same batch comes again later.
	 * Also called with count 0 when only the position moved; and with what waits at a source, then `next` is the position as it is, and
	 * the same comes again. In a fiber. */
	enum status (*apply)(void *arg, Audit__LedgerEntry **entries, size_t count, int64_t next);
	void *arg;
};
struct follow *follow_start(const struct follow_options *options);
/* True when what took access away anywhere more than 0.8 s ago is applied here (options.live): each source was asked what waits in its outbox,
 * then the ledger was read to its end, and the first of this began 0.8 s ago at most. What a source had committed when it was asked is either
 * in its answer or, since the relay deletes only what the ledger has, in what was read behind it. No clock but the own one matters. Any
 * thread. */
bool follow_live(const struct follow *follow);
/* True once the stream was read to the head that it had at start. Any thread. */
bool follow_caught_up(const struct follow *follow);
