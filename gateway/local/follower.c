/* Applies ledger events to what the gateway remembers, by a table from what an event takes away to action. */
#include "local/follower.h"

#include "base/clock.h"
#include "local/local.h"

/* Without an epoch nobody can say which tokens are good. */
static void ledger_user_revoked(struct gateway *gateway, const Audit__LedgerEntry *entry)
{
	const Events__Event *event = entry->event;
	bool gone = event_facts(event->type)->revokes == EVENT_REVOKES_USER;
	struct id user;
	if (id_parse("usr", event->user_id ? event->user_id : event->subject, &user))
		revocation_note_user(gateway->revocation, &user, gone || !event->has_epoch ? INT64_MAX : event->epoch);
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

static void ledger_signing_keys_changed(struct gateway *gateway, const Audit__LedgerEntry *entry)
{
	struct id project;
	if (id_parse("prj", entry->project_id, &project))
		token_checker_forget_keys(gateway->tokens, &project);
}

static const struct {
	unsigned kinds; /* EVENT_REVOKES_... */
	void (*apply)(struct gateway *gateway, const Audit__LedgerEntry *entry);
} actions[] = {
    {EVENT_REVOKES_EPOCH | EVENT_REVOKES_USER, ledger_user_revoked},
    {EVENT_REVOKES_SESSION, ledger_session_ended},
    {EVENT_REVOKES_KEY, ledger_key_changed},
    {EVENT_REVOKES_SIGNING_KEYS, ledger_signing_keys_changed},
};

static enum status ledger_apply(void *arg, Audit__LedgerEntry **entries, size_t count, int64_t next)
{
	struct gateway *gateway = arg;
	for (size_t i = 0; i < count; i++) {
		for (size_t a = 0; a < sizeof(actions) / sizeof(actions[0]); a++) {
			if (event_facts(entries[i]->event->type)->revokes & actions[a].kinds)
				actions[a].apply(gateway, entries[i]);
		}
	}
	return ST_OK;
}

struct follow *ledger_follow(struct gateway *gateway, struct loop *loop, int64_t lifetime_sec)
{
	struct follow_options options = {
	    .loop = loop,
	    .client = gateway->client,
	    .revokes = EVENT_REVOKES_ANYTHING,
	    .live = true,
	    .poll_ms =
	        250, /* source and ledger, one behind the other, twice in the time after which follow_live says no */
	    .since_us = clock_wall_us() - revocation_keep_sec(lifetime_sec) * US_PER_SEC,
	    .apply = ledger_apply,
	    .arg = gateway,
	};
	return follow_start(&options);
}
