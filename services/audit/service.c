/* The audit service as data: handlers, migrations, state. */
#include "service.h"

#include "db/migrate.h"

#include <stdlib.h>

extern const struct migration audit_migrations[];

static enum status start(struct process *run)
{
	struct audit_state *state = calloc(1, sizeof(*state));
	if (!state)
		return ST_RESOURCE_EXHAUSTED;
	run->state = state;
	state->appender = appender_new(run->loop);
	return state->appender ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

const struct service audit_service = {
    .name = "audit",
    .handlers = audit_handlers,
    .migrations = audit_migrations,
    .start = start,
};
