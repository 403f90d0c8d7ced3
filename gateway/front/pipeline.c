/* The loop around all routes. */
#include "front/gateway.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "calls/upstream.h"
#include "front/authenticate.h"
#include "front/cors.h"
#include "http/guard.h"
#include "http/problem.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* A large body takes several times its size while it is read as JSON: so many at once, the others wait. */
#define LARGE_BODY_BYTES (64UL * 1024)
#define LARGE_BODIES_MAX 16
#define LARGE_WAIT_SEC 5
#define LARGE_RETRY_MS 1000

/* Statuses that are counted one by one; the rest under "other". */
static const int counted_statuses[] = {200, 201, 204, 302, 303, 304, 400, 401, 403, 404,
                                       405, 409, 412, 413, 415, 422, 429, 500, 503, 504};
#define STATUS_COUNT (sizeof(counted_statuses) / sizeof(counted_statuses[0]) + 1)

_Static_assert(STATUS_COUNT <= ROUTE_STATUSES, "a histogram for each counted status");

/* Counts requests that found no route. */
static struct route no_route = {.row = {.path = "-"}};

/* Where rows are added at start. */
struct pipeline_table {
	struct gateway *gateway;
	struct route_table *routes;
	const struct local_method *methods;
	char *error; /* ROUTE_ERROR_SIZE */
};

/* Compiles a row into the table. False and a sentence when it cannot be. */
static bool pipeline_add(struct pipeline_table *table, const struct dialect_route *row)
{
	struct route *route = route_table_add(table->routes, row, table->error);
	if (!route)
		return false;
	if (authn_permission_bit(table->gateway->authn, row->permission, &route->permission))
		return true;
	snprintf(table->error, ROUTE_ERROR_SIZE,
	         "The route %s %s needs %s, but all permissions together are more than %d.", row->verb, row->path,
	         row->permission, AUTHN_PERMISSIONS_MAX);
	return false;
}

static bool pipeline_add_rows(struct pipeline_table *table, const struct dialect_route *row)
{
	for (; row && row->verb; row++) {
		if (!pipeline_add(table, row))
			return false;
	}
	return true;
}

static bool pipeline_add_methods(struct pipeline_table *table, const struct dialect *dialect)
{
	struct dialect_route row;
	for (unsigned i = 0; dialect->method_route && i < method_count; i++) {
		if (!dialect->method_route(&method_table[i], &row))
			continue;
		for (const struct local_method *local = table->methods; local->method; local++) {
			if (local->method == row.method)
				row.answer = local->answer;
		}
		if (!pipeline_add(table, &row))
			return false;
	}
	return true;
}

static bool pipeline_add_dialects(struct gateway *gateway, const struct pipeline_options *options,
                                  char ret_error[ROUTE_ERROR_SIZE])
{
	struct pipeline_table table = {.gateway = gateway, .methods = options->methods, .error = ret_error};
	for (size_t i = 0; options->dialects[i]; i++) {
		const struct dialect *dialect = options->dialects[i];
		if (!mounts_wanted(gateway->mounts, dialect))
			continue;
		table.routes = mounts_serve(gateway->mounts, dialect, ret_error);
		if (!table.routes || !pipeline_add_methods(&table, dialect) ||
		    !pipeline_add_rows(&table, dialect->routes))
			return false;
		for (size_t t = 0; i == 0 && options->tables[t]; t++) {
			if (!pipeline_add_rows(&table, options->tables[t]))
				return false;
		}
	}
	return mounts_finish(gateway->mounts, ret_error);
}

enum status pipeline_init(struct gateway *gateway, const struct pipeline_options *options,
                          char ret_error[ROUTE_ERROR_SIZE])
{
	snprintf(ret_error, ROUTE_ERROR_SIZE, "There is not enough memory for the mounts.");
	sem_init(&gateway->large_bodies, 0, LARGE_BODIES_MAX);
	gateway->mounts = mounts_new(&options->mounts);
	return gateway->mounts && pipeline_add_dialects(gateway, options, ret_error) ? ST_OK : ST_INTERNAL;
}

void pipeline_end(struct gateway *gateway)
{
	mounts_free(&gateway->mounts);
	sem_destroy(&gateway->large_bodies);
}

static struct metric *pipeline_metric_new(const struct route *route, int status)
{
	char labels[192];
	const char *name = route == &no_route ? "none" : route->method ? route->method->name : route->row.path;
	snprintf(labels, sizeof(labels), "method=\"%s\",status=\"%d\"", name, status);
	return metric_histogram("denizen_http_request_seconds", labels, "Time from the parsed request to its answer.");
}

static void pipeline_count(const struct exchange *exchange)
{
	int http = exchange->response.status;
	/* Only its histograms move. */
	struct route *route = exchange->route ? (struct route *)exchange->route : &no_route;
	size_t column = 0;
	while (column < STATUS_COUNT - 1 && counted_statuses[column] != http)
		column++;
	_Atomic(struct metric *) *cell = &route->seconds[column];
	struct metric *metric = atomic_load_explicit(cell, memory_order_acquire);
	if (!metric) {
		metric = pipeline_metric_new(route, column < STATUS_COUNT - 1 ? http : 0);
		atomic_store_explicit(cell, metric, memory_order_release);
	}
	int64_t took_us = clock_monotonic_us() - exchange->started_us;
	metric_observe_us(metric, took_us);
	log_event(LOG_DEBUG, "request", "verb", exchange->request.verb, "route", route->row.path, "status",
	          LOG_NUM(http), "key", exchange->caller.id, "client", exchange->client, "took_us", LOG_NUM(took_us),
	          NULL);
}

/* A public route names its project in the path, if at all. */
static enum status pipeline_public(struct exchange *exchange)
{
	const char *project = http_param_find(exchange, "project_id");
	if (project && !id_parse("prj", project, &exchange->caller.project))
		return http_fail(exchange, ST_NOT_FOUND, NULL, NULL);
	return ST_OK;
}

/* Who asks, whether the rate allows it, and whether the caller may. */
static enum status pipeline_authorize(struct exchange *exchange)
{
	struct limits *limits = exchange->gateway->limits;
	const struct route *route = exchange->route;
	bool early = route->row.accepts == 0 || route->row.rate == RATE_ADDRESS;
	enum status status = early ? limits_take(limits, exchange) : ST_OK;
	if (status != ST_OK)
		return status;
	if (route->row.accepts == 0)
		return pipeline_public(exchange);
	status = authenticate(exchange);
	if (status == ST_OK && !early)
		status = limits_take(limits, exchange);
	if (status != ST_OK)
		return status;
	if (route->permission && !(exchange->caller.permissions & route->permission))
		return http_fail(exchange, ST_PERMISSION_DENIED, NULL,
		                 arena_printf(exchange->arena, "This key does not carry %s", route->row.permission));
	return ST_OK;
}

static enum status pipeline_call(struct exchange *exchange)
{
	ProtobufCMessage *request = NULL;
	ProtobufCMessage *reply = NULL;
	enum status status = exchange->route->row.map_in(exchange, &request);
	if (status == ST_OK)
		status = upstream_send(exchange, exchange->route->method->id, request, &reply);
	if (status != ST_OK)
		return status;
	exchange->route->row.map_out(exchange, reply);
	return exchange->failure.status;
}

static enum status pipeline_execute(struct exchange *exchange)
{
	if (!exchange->route->row.answer)
		return pipeline_call(exchange);
	exchange->route->row.answer(exchange);
	return exchange->failure.status;
}

static enum status pipeline_execute_large(struct exchange *exchange)
{
	sem_t *room = &exchange->gateway->large_bodies;
	struct timespec until;
	int outcome;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += LARGE_WAIT_SEC;
	do
		outcome = sem_clockwait(room, CLOCK_MONOTONIC, &until);
	while (outcome != 0 && errno == EINTR);
	if (outcome != 0) {
		(void)http_fail(exchange, ST_UNAVAILABLE, NULL, "Too many large requests at this gateway");
		exchange->failure.retry_after_ms = LARGE_RETRY_MS;
		return ST_UNAVAILABLE;
	}
	enum status status = pipeline_execute(exchange);
	sem_post(room);
	return status;
}

/* Compressed bytes would be taken for JSON. */
static enum status pipeline_check_coding(struct exchange *exchange)
{
	const char *coding = http_header_find(&exchange->request, "Content-Encoding");
	if (!coding || exchange->request.content_length == 0 || strcasecmp(coding, "identity") == 0)
		return ST_OK;
	return http_fail(exchange, ST_UNSUPPORTED_MEDIA_TYPE, NULL,
	                 "Content-Encoding is not supported: send the body as it is");
}

/* "//a///b/" as "/a/b". NULL without memory. */
static const char *pipeline_collapse(struct arena *arena, const char *path)
{
	char *out = arena_alloc(arena, strlen(path) + 2);
	size_t used = 0;
	for (; out && *path; path++) {
		if (*path != '/' || (path[1] != '/' && path[1] != '\0'))
			out[used++] = *path;
	}
	if (out && used == 0)
		out[0] = '/';
	return out;
}

/* Who answers, and which path its routes see. */
static enum status pipeline_mount(struct exchange *exchange)
{
	const char *collapsed =
	    exchange->request.empty_segment ? pipeline_collapse(exchange->arena, exchange->request.path) : NULL;
	exchange->path = collapsed ? collapsed : exchange->request.path;
	mounts_choose(exchange->gateway->mounts, exchange);
	cors_allow(exchange);
	if (!exchange->request.empty_segment || (collapsed && exchange->mount->dialect->lenient_slashes))
		return ST_OK;
	exchange->response.close = true;
	return http_fail(exchange, ST_MALFORMED_REQUEST, NULL, GUARD_PATH_REASON);
}

static enum status pipeline_run(struct exchange *exchange)
{
	enum status status = pipeline_mount(exchange);
	if (status == ST_OK)
		status = route_find(exchange->mount->routes, exchange);
	if (status != ST_OK)
		return status;
	const struct route *route = exchange->route;
	if (!route->row.credential_in_body)
		status = pipeline_authorize(exchange);
	if (status == ST_OK)
		status = pipeline_check_coding(exchange);
	if (status == ST_OK && !(route->method && route->method->stream))
		status = http_read_body(exchange, exchange->gateway->body_max_bytes);
	if (status == ST_OK && route->row.credential_in_body)
		status = pipeline_authorize(exchange);
	if (status != ST_OK)
		return status;
	return exchange->body.len > LARGE_BODY_BYTES ? pipeline_execute_large(exchange) : pipeline_execute(exchange);
}

/* The verbs of a path that was asked for with one that is not served. */
static const char *pipeline_allow(struct exchange *exchange)
{
	bool known = route_find(exchange->mount->routes, exchange) == ST_METHOD_NOT_ALLOWED;
	return known && exchange->failure.allow ? exchange->failure.allow : GUARD_ALLOW;
}

void pipeline_refuse(struct exchange *exchange, enum status status, const char *reason)
{
	exchange->path = exchange->request.path;
	mounts_choose(exchange->gateway->mounts, exchange);
	if (status == ST_METHOD_NOT_ALLOWED && cors_preflight(exchange)) {
		exchange->response.close = false;
	} else {
		cors_allow(exchange);
		const char *allow = status == ST_METHOD_NOT_ALLOWED ? pipeline_allow(exchange) : NULL;
		exchange->failure = (struct failure){.status = status, .reason = reason, .allow = allow};
	}
	if (exchange->failure.status != ST_OK)
		exchange->mount->dialect->print_failure(exchange);
}

void pipeline_serve(struct exchange *exchange)
{
	char client[ADDRESS_TEXT_SIZE];
	http_client(&exchange->request, &exchange->gateway->trusted_proxies, client);
	exchange->client = client;
	exchange->services = exchange->gateway->client;
	log_set_trace(exchange->trace);
	enum status status = pipeline_run(exchange);
	if (status != ST_OK && !exchange->response.started)
		exchange->mount->dialect->print_failure(exchange);
	pipeline_count(exchange);
	log_set_trace(NULL);
	exchange->client = NULL;
}
