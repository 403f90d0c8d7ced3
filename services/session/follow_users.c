/* Ends the sessions of users whose epoch moved or who are gone, as the ledger tells; any number of replicas. */
#include "service.h"

#include "base/log.h"
#include "ledger/follow.h"

#define ARENA_BYTES (4 << 20)

static enum status load(void *arg, int64_t *ret_position)
{
	struct process *run = arg;
	struct arena *arena = arena_new(ARENA_BYTES);
	enum status status = ST_RESOURCE_EXHAUSTED;

	if (arena != NULL) {
		struct store store = {.db = run->db, .arena = arena};
		status = store_load_users_position(&store, ret_position);
	}
	arena_free(&arena);
	return status;
}

/* False when the entry takes nothing away or cannot be read: one bad entry must not stop the feed. */
static bool read_entry(const Audit__LedgerEntry *entry, struct store_revocation *ret_revocation)
{
	const Events__Event *event = entry->event;

	if (event == NULL || !id_parse("prj", entry->project_id, &ret_revocation->project))
		return false;
	if (!id_parse("usr", event->user_id, &ret_revocation->user) &&
	    !id_parse("usr", event->subject, &ret_revocation->user)) {
		log_event(LOG_WARN, "ledger entry without a user", "project", entry->project_id, "seq",
		          LOG_NUM(entry->seq), NULL);
		return false;
	}
	if (event_facts(event->type)->revokes == EVENT_REVOKES_USER || !event->has_epoch)
		ret_revocation->epoch = INT64_MAX;
	else
		ret_revocation->epoch = event->epoch;
	return true;
}

static enum status apply(void *arg, Audit__LedgerEntry **entries, size_t count, int64_t next)
{
	struct process *run = arg;
	struct arena *arena = arena_new(ARENA_BYTES);
	enum status status = ST_RESOURCE_EXHAUSTED;
	size_t used = 0;

	if (arena == NULL)
		return status;
	struct store store = {.db = run->db, .arena = arena};
	struct store_revocation *revocations = arena_alloc(arena, (count + 1) * sizeof(*revocations));
	if (revocations == NULL)
		goto out;
	for (size_t i = 0; i < count; i++)
		if (read_entry(entries[i], &revocations[used]))
			used++;
	status = store_apply_revocations(&store, revocations, used, next, clock_wall_us());
out:
	arena_free(&arena);
	return status;
}

enum status follow_users_start(struct process *run)
{
	const struct session_state *state = run->state;
	const struct follow_options options = {
	    .loop = run->loop,
	    .client = run->client,
	    .revokes = EVENT_REVOKES_EPOCH | EVENT_REVOKES_USER,
	    /* No session that exists can be older than its longest life. */
	    .since_us = clock_wall_us() - state->lifetime_us,
	    .load = load,
	    .apply = apply,
	    .arg = run,
	};
	return follow_start(&options) != NULL ? ST_OK : ST_RESOURCE_EXHAUSTED;
}
