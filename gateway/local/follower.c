/* Applies ledger events to what the gateway remembers, by a table from event type to action. */
#include "local/follower.h"

#include "base/clock.h"
#include "local/local.h"

static void ledger_user(struct gateway *gateway, const Audit__LedgerEntry *entry, bool gone)
{
	const Events__Event *event = entry->event;
	struct id user;
	const char *text = event->user_id != NULL ? event->user_id : event->subject;
	if (!id_parse("usr", text, &user))
		return;
	if (gone)
		revocation_note_user(gateway->revocation, &user, INT64_MAX);
	else if (event->has_epoch)
		revocation_note_user(gateway->revocation, &user, event->epoch);
}

static void ledger_epoch_moved(struct gateway *gateway, const Audit__LedgerEntry *entry)
{
	ledger_user(gateway, entry, false);
}

static void ledger_user_deleted(struct gateway *gateway, const Audit__LedgerEntry *entry)
{
	ledger_user(gateway, entry, true);
}

static void ledger_session_ended(struct gateway *gateway, const Audit__LedgerEntry *entry)
{
	struct id session;
	if (id_parse("ses", entry->event->subject, &session))
		revocation_note_session(gateway->revocation, &session);
}

static void ledger_key_changed(struct gateway *gateway, const Audit__LedgerEntry *entry)
{
	authn_forget(gateway->authn, entry->event->subject);
}

static void ledger_signing_key_rotated(struct gateway *gateway, const Audit__LedgerEntry *entry)
{
	struct id project;
	if (id_parse("prj", entry->project_id, &project))
		introspect_forget_keys(gateway->introspect, &project);
}

static const struct {
	Events__EventType type;
	void (*apply)(struct gateway *gateway, const Audit__LedgerEntry *entry);
} actions[] = {
    {EVENTS__EVENT_TYPE__EVENT_TYPE_USER_DISABLED, ledger_epoch_moved},
    {EVENTS__EVENT_TYPE__EVENT_TYPE_USER_DELETED, ledger_user_deleted},
    {EVENTS__EVENT_TYPE__EVENT_TYPE_USER_PASSWORD_CHANGED, ledger_epoch_moved},
    {EVENTS__EVENT_TYPE__EVENT_TYPE_USER_SESSIONS_REVOKED, ledger_epoch_moved},
    {EVENTS__EVENT_TYPE__EVENT_TYPE_SESSION_ENDED, ledger_session_ended},
    {EVENTS__EVENT_TYPE__EVENT_TYPE_SESSION_REFRESH_REUSED, ledger_session_ended},
    {EVENTS__EVENT_TYPE__EVENT_TYPE_KEY_REVOKED, ledger_key_changed},
    {EVENTS__EVENT_TYPE__EVENT_TYPE_KEY_ROTATED, ledger_key_changed},
    {EVENTS__EVENT_TYPE__EVENT_TYPE_SIGNING_KEY_ROTATED, ledger_signing_key_rotated},
};
#define ACTION_COUNT (sizeof(actions) / sizeof(actions[0]))

static enum status ledger_apply(void *arg, Audit__LedgerEntry **entries, size_t count, int64_t next)
{
	struct gateway *gateway = arg;
	for (size_t i = 0; i < count; i++) {
		for (size_t a = 0; entries[i]->event != NULL && a < ACTION_COUNT; a++) {
			if (entries[i]->event->type == actions[a].type)
				actions[a].apply(gateway, entries[i]);
		}
	}
	return ST_OK;
}

struct follow *ledger_follow(struct gateway *gateway, struct loop *loop, int64_t lifetime_sec)
{
	static Events__EventType types[ACTION_COUNT];
	for (size_t i = 0; i < ACTION_COUNT; i++)
		types[i] = actions[i].type;
	struct follow_options options = {
	    .loop = loop,
	    .client = gateway->client,
	    .types = types,
	    .type_count = ACTION_COUNT,
	    .poll_ms = 250, /* twice in the time after which follow_live says no */
	    .since_us = clock_wall_us() - revocation_keep_sec(lifetime_sec) * US_PER_SEC,
	    .revocation_only = true,
	    .apply = ledger_apply,
	    .arg = gateway,
	};
	return follow_start(&options);
}
