/* A source of events, asked again and again which of its revoking events it has committed and may not have handed to the ledger yet
 * (common.ReadOutbox). For follow.c: such an event takes effect however long the ledger cannot be written. */
#pragma once

#include "audit.pb-c.h"
#include "bus/client.h"
#include "loop/loop.h"

/* Filled by the owner; lives as long as the loop. */
struct source {
	struct loop *loop;
	struct client *client;
	unsigned process; /* PROCESS_... */
	int64_t poll_us;
	/* Takes what waits, in a fiber; the same comes again as long as it waits. Not ST_OK: as if the source had not answered. */
	enum status (*apply)(void *arg, Audit__LedgerEntry **entries, size_t count);
	void *arg;
	/* When the last question was asked whose answer was complete and applied; 0 = none yet. Loop's thread. What the source committed before
	 * that moment is applied, or was in the ledger when the answer came. */
	int64_t known_us;
	unsigned failures; /* in a row */
};

/* Spawns the fiber that asks. Loop's thread. */
void source_start(struct source *source);
