/* Looking facts up. */
#include "ledger/event.h"

const struct event_facts *event_facts(int type)
{
	static const struct event_facts none;
	for (unsigned i = 0; i < event_count; i++)
		if (event_table[i].type == type)
			return &event_table[i];
	return &none;
}

uint32_t event_sources(unsigned kinds)
{
	uint32_t sources = 0;
	for (unsigned i = 0; i < event_count; i++)
		if (event_table[i].revokes & kinds)
			sources |= 1u << event_table[i].source;
	return sources;
}
