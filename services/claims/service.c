/* The claims process: configuration, handlers, start, and what it does with the ledger. */
#include "service.h"

#include "base/clock.h"
#include "base/log.h"
#include "db/migrate.h"
#include "ledger/follow.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define FOLLOW_ARENA_BYTES (4 * 1024 * 1024)
#define FOLLOW_POLL_MS 500
#define DROPPED_KEPT_US (3600 * US_PER_SEC)
#define SAVE_EVERY_US (5 * US_PER_SEC)
#define PURGE_EVERY_US (60 * US_PER_SEC)

extern const struct migration claims_migrations[];

static const struct cfg_item cfg_items[] = {
    /* The first two are checked at start and not here: a migration step runs without them. */
    {"DENIZEN_ISSUER", CFG_TEXT, "", 0, 0,
     "Required to run. Base URL of the suite as clients see it; tokens name it as their issuer."},
    {"DENIZEN_KEK", CFG_SECRET, "", 0, 0,
     "Required to run. Encrypts the signing keys at rest: 64 hexadecimal digits or 43 characters base64url."},
    {"DENIZEN_TOKEN_LIFETIME_SEC", CFG_INT, "300", 10, 86400, "Lifetime of an access token in seconds."},
    {0},
};

struct claims_state *claims_state(struct call *call)
{
	return call->run->state;
}

Claims__Rows__SigningKey claims_key_row(const struct sealed_key *key, const char *state, int64_t now_us)
{
	Claims__Rows__SigningKey row = CLAIMS__ROWS__SIGNING_KEY__INIT;
	row.kid = (char *)key->kid;
	row.algorithm = (char *)"ES256";
	row.state = (char *)state;
	row.has_x = row.has_y = row.has_sealed_private = row.has_created_at_us = true;
	row.x = (ProtobufCBinaryData){sizeof(key->x), (uint8_t *)key->x};
	row.y = (ProtobufCBinaryData){sizeof(key->y), (uint8_t *)key->y};
	row.sealed_private = (ProtobufCBinaryData){sizeof(key->sealed), (uint8_t *)key->sealed};
	row.created_at_us = now_us;
	return row;
}

enum status claims_ensure_keys(const struct claims_state *state, struct sql_scope *scope)
{
	struct sealed_key keys[2];
	int64_t now_us = clock_wall_us(), rows;
	for (size_t i = 0; i < 2; i++) {
		enum status status = keyring_generate(state->keyring, scope->project, &keys[i]);
		if (status != ST_OK)
			return status;
	}
	Claims__Rows__SigningKey active = claims_key_row(&keys[0], "active", now_us);
	Claims__Rows__SigningKey next = claims_key_row(&keys[1], "next", now_us);
	return sql_run(scope, &sql_signing_keys_create, &(struct sql_signing_keys_create){&active, &next}, &rows);
}

/* ---- the ledger: a project's first keys, the claims of deleted users ---- */

static const Events__EventType followed_types[] = {EVENTS__EVENT_TYPE__EVENT_TYPE_PROJECT_CREATED};

static enum status load_position(void *arg, int64_t *ret_position)
{
	struct claims_state *state = arg;
	struct sql_claims_position_row found = {0};
	struct sql_scope scope = {.db = state->run->db, .arena = arena_new(FOLLOW_ARENA_BYTES)};
	enum status status = scope.arena ? sql_one(&scope, &sql_claims_position, NULL, &found) : ST_INTERNAL;
	arena_free(&scope.arena);
	if (status == ST_OK)
		*ret_position = found.position;
	return status;
}

/* What a batch of entries comes to. */
struct batch {
	struct id *projects, *users; /* pairs: whose claims are dropped */
	size_t count;
	int64_t at_us, next;
};

/* Entries whose ids cannot be read are passed over: they will not become readable later. */
static enum status apply_entry(struct claims_state *state, const struct sql_scope *scope,
                               const Audit__LedgerEntry *entry, struct batch *batch)
{
	struct id project, user;
	const Events__Event *event = entry->event;
	if (!event || !id_parse("prj", entry->project_id, &project))
		return ST_OK;
	if (event->type == EVENTS__EVENT_TYPE__EVENT_TYPE_PROJECT_CREATED) {
		struct sql_scope own = *scope;
		own.project = &project;
		return claims_ensure_keys(state, &own);
	}
	if (event_facts(event->type)->revokes == EVENT_REVOKES_USER && id_parse("usr", event->subject, &user)) {
		batch->projects[batch->count] = project;
		batch->users[batch->count++] = user;
	}
	return ST_OK;
}

static bool is_due(int64_t *next_us, int64_t every_us)
{
	int64_t now_us = clock_monotonic_us();
	if (now_us < *next_us)
		return false;
	*next_us = now_us + every_us;
	return true;
}

/* Entries without effect on this schema come by the thousand: their position is stored now and then only, because reading
 * them again after a restart does no harm. */
static enum status apply_batch(struct claims_state *state, struct sql_scope *scope, const struct batch *batch)
{
	struct sql_claims_drop drop = {.position = batch->next,
	                               .projects = {batch->projects, batch->count},
	                               .users = {batch->users, batch->count},
	                               .at_us = batch->at_us};
	struct sql_claims_purge purge = {batch->at_us - DROPPED_KEPT_US};
	enum status status = ST_OK;
	int64_t rows;
	if (batch->count > 0 || is_due(&state->next_save_us, SAVE_EVERY_US))
		status = sql_run(scope, &sql_claims_drop, &drop, &rows);
	if (status != ST_OK || !is_due(&state->next_purge_us, PURGE_EVERY_US))
		return status;
	return sql_run(scope, &sql_claims_purge, &purge, &rows);
}

static enum status apply_entries(void *arg, Audit__LedgerEntry **entries, size_t count, int64_t next)
{
	struct claims_state *state = arg;
	enum status status = ST_INTERNAL;
	struct sql_scope scope = {.db = state->run->db, .arena = arena_new(FOLLOW_ARENA_BYTES)};
	struct batch batch = {.at_us = clock_wall_us(), .next = next};
	if (!scope.arena)
		return ST_INTERNAL;
	batch.projects = arena_alloc(scope.arena, (count + 1) * sizeof(*batch.projects));
	batch.users = arena_alloc(scope.arena, (count + 1) * sizeof(*batch.users));
	if (!batch.projects || !batch.users)
		goto out;
	for (size_t i = 0; i < count; i++) {
		status = apply_entry(state, &scope, entries[i], &batch);
		if (status != ST_OK)
			goto out;
	}
	status = apply_batch(state, &scope, &batch);
out:
	arena_free(&scope.arena);
	return status;
}

/* ---- start ---- */

static enum status state_fill(struct claims_state *state, const struct cfg *cfg)
{
	uint8_t kek[SEAL_KEY_SIZE];
	const char *issuer = cfg_text(cfg, "DENIZEN_ISSUER");
	if (strncmp(issuer, "http://", 7) != 0 && strncmp(issuer, "https://", 8) != 0) {
		log_event(LOG_ERROR, "DENIZEN_ISSUER must be an http or https URL", NULL);
		return ST_INVALID_ARGUMENT;
	}
	enum status status = keyring_parse_kek(cfg_text(cfg, "DENIZEN_KEK"), kek);
	if (status != ST_OK) {
		log_event(LOG_ERROR, "DENIZEN_KEK must be 64 hexadecimal digits or 43 characters base64url", NULL);
		return status;
	}
	size_t len = strlen(issuer);
	while (len > 0 && issuer[len - 1] == '/')
		len--;
	state->issuer = strndup(issuer, len);
	state->lifetime_sec = (uint32_t)cfg_int(cfg, "DENIZEN_TOKEN_LIFETIME_SEC");
	state->keyring = keyring_new(kek);
	secret_wipe(kek, sizeof(kek));
	return state->keyring && state->issuer ? ST_OK : ST_INTERNAL;
}

static enum status claims_start(struct process *run)
{
	json_object_seed(0);
	struct claims_state *state = calloc(1, sizeof(*state));
	if (!state)
		return ST_INTERNAL;
	state->run = run;
	run->state = state;
	enum status status = state_fill(state, run->cfg);
	if (status != ST_OK)
		return status;
	struct follow_options options = {
	    .loop = run->loop,
	    .client = run->client,
	    .revokes = EVENT_REVOKES_USER,
	    .types = followed_types,
	    .type_count = sizeof(followed_types) / sizeof(followed_types[0]),
	    .poll_ms = FOLLOW_POLL_MS, /* soon enough for a new project: its first token makes the keys as well */
	    .load = load_position,
	    .apply = apply_entries,
	    .arg = state,
	};
	return follow_start(&options) ? ST_OK : ST_INTERNAL;
}

static const struct process_command claims_commands[] = {{"rekey", claims_rekey}, {NULL, NULL}};

const struct service claims_service = {
    .name = "claims",
    .handlers = claims_handlers,
    .cfg_items = cfg_items,
    .migrations = claims_migrations,
    .start = claims_start,
    .commands = claims_commands,
};
