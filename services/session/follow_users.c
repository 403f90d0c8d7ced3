/* Ends the sessions of users whose epoch moved or who are gone, as the ledger tells; any number of replicas. */
#include "service.h"

#include "base/log.h"
#include "ledger/follow.h"

#define ARENA_BYTES (4 << 20)

static enum status load(void *arg, int64_t *ret_position)
{
	struct process *run = arg;
	struct sql_scope scope = {.db = run->db, .arena = arena_new(ARENA_BYTES)};
	struct sql_follow_position_row found;

	if (!scope.arena)
		return ST_RESOURCE_EXHAUSTED;
	enum status status = sql_one(&scope, &sql_follow_position, NULL, &found);
	if (status == ST_OK)
		*ret_position = found.position;
	arena_free(&scope.arena);
	return status == ST_NOT_FOUND ? ST_INTERNAL : status;
}

/* False when the entry takes nothing away or cannot be read: one bad entry must not stop the feed. */
static bool read_entry(const Audit__LedgerEntry *entry, struct service_revocation *ret_revocation)
{
	const Events__Event *event = entry->event;

	if (!event || !id_parse("prj", entry->project_id, &ret_revocation->project))
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

enum status service_revoke(struct sql_scope *scope, const struct service_revocation *revocations, size_t count,
                           int64_t next)
{
	struct id *ids = arena_alloc(scope->arena, (2 * count + 1) * sizeof(*ids));
	int64_t *epochs = arena_alloc(scope->arena, (count + 1) * sizeof(*epochs));
	int64_t now_us = clock_wall_us(), rows;

	if (!ids || !epochs)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < count; i++) {
		ids[i] = revocations[i].project;
		ids[count + i] = revocations[i].user;
		epochs[i] = revocations[i].epoch;
	}
	const struct sql_follow_apply params = {.projects = {ids, count},
	                                        .users = {ids + count, count},
	                                        .epochs = {epochs, count},
	                                        .next = next,
	                                        .now_us = now_us,
	                                        .purge_at_us = rules_purge_us(now_us)};
	return sql_run(scope, &sql_follow_apply, &params, &rows);
}

static enum status apply(void *arg, Audit__LedgerEntry **entries, size_t count, int64_t next)
{
	struct process *run = arg;
	struct sql_scope scope = {.db = run->db, .arena = arena_new(ARENA_BYTES)};
	enum status status = ST_RESOURCE_EXHAUSTED;
	size_t used = 0;

	if (!scope.arena)
		return status;
	struct service_revocation *revocations = arena_alloc(scope.arena, (count + 1) * sizeof(*revocations));
	if (!revocations)
		goto out;
	for (size_t i = 0; i < count; i++)
		if (read_entry(entries[i], &revocations[used]))
			used++;
	status = service_revoke(&scope, revocations, used, next);
out:
	arena_free(&scope.arena);
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
	return follow_start(&options) ? ST_OK : ST_RESOURCE_EXHAUSTED;
}
