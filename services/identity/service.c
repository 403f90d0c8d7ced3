/* The identity process: its methods, its configuration, and what its handlers share. */
#include "service.h"

#include "base/clock.h"
#include "base/log.h"
#include "identity_sql.gen.h"
#include "rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct identity_state *identity_state(struct call *call)
{
	return call->run->state;
}

enum status identity_schema(struct call *call, bool fresh, struct attributes *ret_attributes)
{
	struct attributes_cache *cache = identity_state(call)->schemas;
	struct attributes attributes = {0};
	if (!fresh && attributes_cache_get(cache, &call->project, call->arena, ret_attributes) == ST_OK)
		return ST_OK;
	struct sql_schema_get_row found;
	enum status status = call_one(call, &sql_schema_get, NULL, &found);
	if (status == ST_OK) {
		attributes.version = found.schema->version;
		status = attributes_parse(found.schema->definitions, call->arena, &attributes);
	} else if (status == ST_NOT_FOUND) {
		status = ST_OK; /* none was ever set: any object is accepted */
	}
	if (status == ST_OK) {
		attributes_cache_put(cache, &call->project, &attributes);
		*ret_attributes = attributes;
	}
	return status;
}

enum status identity_hash_password(struct call *call, const char *field, const char *password, char **ret_hash)
{
	rules_reason reason = rules_password_check(password);
	if (reason)
		return call_fail(call, ST_INVALID_ARGUMENT, field, "%s", reason);
	struct pool_request request = {
	    .project = call->project, .password = password, .deadline_us = call->deadline_us};
	struct pool_reply made = {0};
	enum status status = pool_run(identity_state(call)->pool, &request, &made);
	if (status == ST_RESOURCE_EXHAUSTED)
		call->retry_after_ms = made.retry_after_ms;
	if (status != ST_OK)
		return status;
	char *hash = arena_strdup(call->arena, made.hash);
	if (!hash)
		return ST_RESOURCE_EXHAUSTED;
	*ret_hash = hash;
	return ST_OK;
}

/* ---- the process ---- */

static const struct cfg_item identity_cfg[] = {
    {"DENIZEN_HASH_THREADS", CFG_INT, "0", 0, 64, "Threads that hash passwords; 0 = number of cores"},
    {"DENIZEN_HASH_QUEUE", CFG_INT, "64", 4, 10000, "Password hashes that may wait before calls are refused"},
    {"DENIZEN_HASH_MEMORY_KIB", CFG_INT, "19456", 8192, PASSWORD_MEMORY_MAX_KIB,
     "Memory of a new password hash (Argon2id m) in KiB"},
    {"DENIZEN_HASH_PASSES", CFG_INT, "2", 1, PASSWORD_PASSES_MAX, "Passes of a new password hash (Argon2id t)"},
    {"DENIZEN_HASH_PRIORITY", CFG_TEXT, "idle", 0, 0, "Priority of the hashing threads: idle, nice or normal"},
    {0},
};

static bool priority_parse(const char *text, enum pool_priority *ret_priority)
{
	static const char *const names[] = {[POOL_IDLE] = "idle", [POOL_NICE] = "nice", [POOL_NORMAL] = "normal"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(text, names[i]) == 0) {
			*ret_priority = (enum pool_priority)i;
			return true;
		}
	return false;
}

static enum status identity_start(struct process *run)
{
	struct identity_state *state = calloc(1, sizeof(*state));
	enum pool_priority priority = POOL_IDLE;
	if (!state)
		return ST_RESOURCE_EXHAUSTED;
	run->state = state;
	if (!password_init() || !priority_parse(cfg_text(run->cfg, "DENIZEN_HASH_PRIORITY"), &priority)) {
		log_event(LOG_ERROR, "DENIZEN_HASH_PRIORITY is idle, nice or normal", NULL);
		return ST_INVALID_ARGUMENT;
	}
	state->params.memory_kib = (uint32_t)cfg_int(run->cfg, "DENIZEN_HASH_MEMORY_KIB");
	state->params.passes = (uint32_t)cfg_int(run->cfg, "DENIZEN_HASH_PASSES");
	if ((uint64_t)state->params.memory_kib * state->params.passes > PASSWORD_WORK_MAX_KIB) {
		log_event(LOG_ERROR, "DENIZEN_HASH_MEMORY_KIB times DENIZEN_HASH_PASSES is at most 1048576", NULL);
		return ST_INVALID_ARGUMENT;
	}
	/* The salt and hash of nobody's password; checking it costs what a real one costs. */
	snprintf(state->dummy_hash, sizeof(state->dummy_hash), "$argon2id$v=19$m=%u,t=%u,p=1$%s$%s",
	         state->params.memory_kib, state->params.passes, "ZGVuaXplbi1ub2JvZHkhIQ",
	         "bm9ib2R5J3MgcGFzc3dvcmQgaGFzIHRoaXMgaGFzaC4");
	struct pool_options options = {
	    .loop = run->loop,
	    .threads = (unsigned)cfg_int(run->cfg, "DENIZEN_HASH_THREADS"),
	    .queue_max = (unsigned)cfg_int(run->cfg, "DENIZEN_HASH_QUEUE"),
	    .priority = priority,
	    .params = state->params,
	};
	state->pool = pool_new(&options);
	state->schemas = attributes_cache_new();
	return state->pool && state->schemas ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

static const struct process_command identity_commands[] = {{"bootstrap", identity_bootstrap}, {NULL, NULL}};

const struct service identity_service = {
    .name = "identity",
    .handlers = identity_handlers,
    .cfg_items = identity_cfg,
    .migrations = identity_migrations,
    .start = identity_start,
    .commands = identity_commands,
};
