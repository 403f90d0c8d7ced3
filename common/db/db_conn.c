/* One Postgres connection: how to reach it, which statements it knows, what its errors mean. */
#include "base/hash.h"
#include "base/log.h"
#include "db/db_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- where to connect ---- */

#define CONNINFO_MAX 64

bool db_conninfo_set(struct db_conninfo *info, const char *keyword, const char *value)
{
	size_t at = 0;
	while (info->keywords[at] && strcmp(info->keywords[at], keyword) != 0)
		at++;
	if (at == CONNINFO_MAX)
		return false;
	char *copy = strdup(value);
	char *name = info->keywords[at] ? info->keywords[at] : strdup(keyword);
	if (!copy || !name) {
		free(copy);
		if (!info->keywords[at])
			free(name);
		return false;
	}
	free(info->values[at]);
	info->keywords[at] = name;
	info->values[at] = copy;
	return true;
}

static bool schema_valid(const char *schema)
{
	return schema && schema[0] && strspn(schema, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(schema);
}

/* What each of our sessions sets, after what the connection string asks for. Sequential scans are priced out: every statement has
 * an index, and a queue that looks empty to the planner has pages of rows that were deleted a moment ago. */
static bool conninfo_add_session(struct db_conninfo *info, const struct db_options *options, const char *asked,
                                 bool planned_once)
{
	char session[512], name[80];
	int len = snprintf(session, sizeof(session),
	                   "%s -c search_path=%s,public -c statement_timeout=%u"
	                   " -c idle_in_transaction_session_timeout=5000 -c jit=off -c enable_seqscan=off%s",
	                   asked, options->schema, options->statement_timeout_ms,
	                   planned_once ? " -c plan_cache_mode=force_generic_plan" : "");
	if (len < 0 || (size_t)len >= sizeof(session))
		return false;
	snprintf(name, sizeof(name), "denizen-%s", options->schema);
	return db_conninfo_set(info, "options", session) && db_conninfo_set(info, "application_name", name);
}

/* Where libpq looks when the connection string does not say: the environment. */
static bool conninfo_add_place(struct db_conninfo *info)
{
	PQconninfoOption *defaults = PQconndefaults();
	bool ok = defaults;
	for (PQconninfoOption *option = defaults; ok && option->keyword; option++) {
		bool place = strcmp(option->keyword, "host") == 0 || strcmp(option->keyword, "hostaddr") == 0 ||
		             strcmp(option->keyword, "port") == 0;
		if (place && option->val)
			ok = db_conninfo_set(info, option->keyword, option->val);
	}
	PQconninfoFree(defaults);
	return ok;
}

enum status db_conninfo_new(const struct db_options *options, bool planned_once, struct db_conninfo *ret_info)
{
	static const char *const defaults[][2] = {
	    {"connect_timeout", "3"},     {"keepalives", "1"},       {"keepalives_idle", "10"},
	    {"keepalives_interval", "3"}, {"keepalives_count", "3"}, {"tcp_user_timeout", "5000"},
	    {"client_encoding", "UTF8"},
	};
	struct db_conninfo info = {calloc(CONNINFO_MAX + 1, sizeof(char *)), calloc(CONNINFO_MAX + 1, sizeof(char *))};
	PQconninfoOption *asked = PQconninfoParse(options->conninfo, NULL);
	const char *asked_options = "";
	bool ok = info.keywords && info.values && asked && schema_valid(options->schema) && conninfo_add_place(&info);
	for (size_t i = 0; ok && i < sizeof(defaults) / sizeof(defaults[0]); i++)
		ok = db_conninfo_set(&info, defaults[i][0], defaults[i][1]);
	for (PQconninfoOption *option = asked; ok && option->keyword; option++) {
		if (!option->val)
			continue;
		if (strcmp(option->keyword, "service") == 0)
			ok = false; /* its file would name hosts that only libpq sees */
		ok = ok && db_conninfo_set(&info, option->keyword, option->val);
		if (strcmp(option->keyword, "options") == 0)
			asked_options = option->val;
	}
	ok = ok && conninfo_add_session(&info, options, asked_options, planned_once);
	PQconninfoFree(asked);
	if (!ok) {
		db_conninfo_free(&info);
		return ST_INVALID_ARGUMENT;
	}
	*ret_info = info;
	return ST_OK;
}

void db_conninfo_free(struct db_conninfo *info)
{
	for (size_t i = 0; info->keywords && info->values && info->keywords[i]; i++) {
		free(info->keywords[i]);
		secret_wipe(info->values[i], strlen(info->values[i]));
		free(info->values[i]);
	}
	free(info->keywords);
	free(info->values);
	*info = (struct db_conninfo){0};
}

enum status db_conninfo_copy(const struct db_conninfo *info, struct db_conninfo *ret_copy)
{
	struct db_conninfo copy = {calloc(CONNINFO_MAX + 1, sizeof(char *)), calloc(CONNINFO_MAX + 1, sizeof(char *))};
	bool ok = copy.keywords && copy.values;
	for (size_t i = 0; ok && info->keywords[i]; i++)
		ok = db_conninfo_set(&copy, info->keywords[i], info->values[i]);
	if (!ok) {
		db_conninfo_free(&copy);
		return ST_UNAVAILABLE;
	}
	*ret_copy = copy;
	return ST_OK;
}

/* ---- prepared statements ---- */

void db_cache_clear(struct db_cache *cache)
{
	for (size_t i = 0; i < cache->size; i++)
		free(cache->places[i].name);
	free(cache->places);
	*cache = (struct db_cache){0};
}

static size_t cache_hash(const char *name)
{
	uint64_t hash = hash_text(HASH_START, name);
	return (size_t)(hash ^ hash >> 32);
}

static struct db_prepared *cache_place(const struct db_cache *cache, const char *name)
{
	size_t at = cache_hash(name) & (cache->size - 1);
	while (cache->places[at].name && strcmp(cache->places[at].name, name) != 0)
		at = (at + 1) & (cache->size - 1);
	return &cache->places[at];
}

static bool cache_grow(struct db_cache *cache)
{
	struct db_cache grown = {.size = cache->size ? cache->size * 2 : 128, .used = cache->used};
	grown.places = calloc(grown.size, sizeof(*grown.places));
	if (!grown.places)
		return false;
	for (size_t i = 0; i < cache->size; i++) {
		if (cache->places[i].name)
			*cache_place(&grown, cache->places[i].name) = cache->places[i];
	}
	free(cache->places);
	*cache = grown;
	return true;
}

struct db_prepared *db_cache_find(struct db_cache *cache, const char *name)
{
	if (cache->used * 2 >= cache->size && !cache_grow(cache))
		return NULL;
	struct db_prepared *place = cache_place(cache, name);
	if (!place->name) {
		place->name = strdup(name);
		if (!place->name)
			return NULL;
		cache->used++;
	}
	return place;
}

void db_cache_server_name(const struct db_prepared *prepared, char ret_name[DB_SERVER_NAME_SIZE])
{
	if (prepared->generation == 0)
		snprintf(ret_name, DB_SERVER_NAME_SIZE, "%.60s", prepared->name);
	else
		snprintf(ret_name, DB_SERVER_NAME_SIZE, "%.60s.%u", prepared->name, prepared->generation);
}

void db_cache_forget(struct db_cache *cache, const char *name, unsigned generation)
{
	struct db_prepared *prepared = db_cache_find(cache, name);
	if (prepared && prepared->generation == generation) {
		prepared->generation++;
		prepared->ready = false;
	}
}

/* ---- errors ---- */

struct sqlstate_rule {
	const char *prefix;
	enum status status;
	enum db_reaction reaction;
	bool quiet; /* an ordinary outcome, not logged */
};

/* The first rule whose prefix fits. */
static const struct sqlstate_rule sqlstate_rules[] = {
    {"23505", ST_ALREADY_EXISTS, DB_REACT_NONE, true},    /* unique_violation */
    {"23", ST_INTERNAL, DB_REACT_NONE, false},            /* other constraints: our bug */
    {"40003", ST_LOST, DB_REACT_NONE, false},             /* statement_completion_unknown */
    {"40", ST_ABORTED, DB_REACT_NONE, true},              /* serialization_failure, deadlock_detected */
    {"55P03", ST_ABORTED, DB_REACT_NONE, true},           /* lock_not_available */
    {"57014", ST_DEADLINE_EXCEEDED, DB_REACT_NONE, true}, /* query_canceled: statement_timeout */
    {"22", ST_INVALID_ARGUMENT, DB_REACT_NONE, true},     /* data_exception */
    {"25006", ST_UNAVAILABLE, DB_REACT_RECONNECT, false}, /* read_only_sql_transaction: a standby */
    {"25P03", ST_UNAVAILABLE, DB_REACT_RECONNECT, false}, /* idle_in_transaction_session_timeout */
    {"26000", ST_INTERNAL, DB_REACT_PREPARE, true},       /* invalid_sql_statement_name */
    {"0A000", ST_INTERNAL, DB_REACT_PREPARE, false},      /* cached plan must not change result type */
    {"42P05", ST_UNAVAILABLE, DB_REACT_PREPARE, false},   /* duplicate_prepared_statement */
    {"53", ST_UNAVAILABLE, DB_REACT_NONE, false},         /* insufficient_resources, disk_full */
    {"58", ST_UNAVAILABLE, DB_REACT_NONE, false},         /* system_error */
    {"57P", ST_UNAVAILABLE, DB_REACT_RECONNECT, false},   /* shutdown, crash, starting up */
    {"08", ST_UNAVAILABLE, DB_REACT_RECONNECT, false},    /* connection_exception */
};

static const struct sqlstate_rule *sqlstate_find(const char *sqlstate)
{
	static const struct sqlstate_rule unknown = {"", ST_INTERNAL, DB_REACT_NONE, false};
	for (size_t i = 0; sqlstate && i < sizeof(sqlstate_rules) / sizeof(sqlstate_rules[0]); i++) {
		if (strncmp(sqlstate, sqlstate_rules[i].prefix, strlen(sqlstate_rules[i].prefix)) == 0)
			return &sqlstate_rules[i];
	}
	return &unknown;
}

enum status db_status_of(const PGresult *result, const char *stmt_name, enum db_reaction *ret_reaction)
{
	*ret_reaction = DB_REACT_NONE;
	ExecStatusType kind = PQresultStatus(result);
	if (kind == PGRES_TUPLES_OK || kind == PGRES_COMMAND_OK || kind == PGRES_EMPTY_QUERY)
		return ST_OK;
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const struct sqlstate_rule *rule = sqlstate_find(sqlstate);
	*ret_reaction = rule->reaction;
	if (!rule->quiet) {
		/* The primary message names objects, never row values: those stand in DETAIL. */
		const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
		log_event(rule->status == ST_INTERNAL ? LOG_ERROR : LOG_WARN, "database refused a statement", "stmt",
		          stmt_name, "sqlstate", sqlstate ? sqlstate : "", "message",
		          message ? message : "connection failed", NULL);
	}
	return rule->status;
}
