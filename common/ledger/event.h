/* Facts about the types of events, generated from proto/events.proto (proto/gen): one row per type, in order of number. */
#pragma once

#include "bus/method.h"
#include "events.gen.h"

#include <stdbool.h>
#include <stdint.h>

/* What an event takes away, as bits:
 * EVENT_REVOKES_EPOCH         tokens of the user with an epoch older than the event's
 * EVENT_REVOKES_USER          everything of the user, whatever its epoch
 * EVENT_REVOKES_SESSION       tokens of the session that is the subject
 * EVENT_REVOKES_KEY           the management key that is the subject, as it was
 * EVENT_REVOKES_SIGNING_KEYS  what is remembered of the project's public keys */
struct event_facts {
	int type;
	const char *name;           /* "user_disabled"; NULL: there is no such type */
	enum event_revokes revokes; /* EVENT_REVOKES_NOTHING for most */
	bool user_sees;             /* the user concerned may see it; who reads the project's events sees all */
	unsigned source;            /* PROCESS_ that writes it */
};
extern const struct event_facts event_table[];
extern const unsigned event_count;

/* Never NULL: a type that this program does not know takes nothing away and is seen by no user. */
const struct event_facts *event_facts(int type);

/* Bit per process that writes events of these kinds (1u << PROCESS_...). */
uint32_t event_sources(unsigned kinds);
