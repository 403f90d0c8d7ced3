/* The loop around the routes: what refuses to start, and with which sentence. */
#include "front/gateway.h"
#include "http/problem.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void answer_nothing(struct exchange *exchange)
{
	exchange->response.status = 204;
}

static const struct local_method no_methods[] = {{0, NULL}};
static const struct dialect *const dialects[] = {&native_dialect, NULL};

static struct gateway gateway;

/* Starts with one more table; false and a sentence when it refuses. */
static bool starts(const struct dialect_route *rows, char ret_error[ROUTE_ERROR_SIZE])
{
	const struct dialect_route *const tables[] = {rows, NULL};
	memset(&gateway, 0, sizeof(gateway));
	gateway.authn = authn_new(NULL);
	const struct pipeline_options options = {.methods = no_methods,
	                                         .tables = tables,
	                                         .dialects = dialects,
	                                         .mounts = {.dialects = "", .hosts = "", .origins = ""}};
	enum status status = pipeline_init(&gateway, &options, ret_error);
	pipeline_end(&gateway);
	authn_free(&gateway.authn);
	return status == ST_OK;
}

Test(gateway_pipeline, takes_any_number_of_routes)
{
	static struct dialect_route rows[1001];
	static char paths[1000][24];
	char error[ROUTE_ERROR_SIZE];
	for (int i = 0; i < 1000; i++) {
		snprintf(paths[i], sizeof(paths[i]), "/more/%d", i);
		rows[i] = (struct dialect_route){
		    .verb = "GET", .path = paths[i], .permission = "none", .answer = answer_nothing};
	}
	cr_assert(starts(rows, error), "%s", error);
	rows[999].path = "/v1/users";
	cr_assert_not(starts(rows, error));
	cr_assert_str_eq(error, "The routes GET /v1/users and /v1/users overlap.");
}

Test(gateway_pipeline, refuses_more_permissions_than_bits)
{
	static struct dialect_route rows[AUTHN_PERMISSIONS_MAX + 2];
	static char paths[AUTHN_PERMISSIONS_MAX + 1][24], permissions[AUTHN_PERMISSIONS_MAX + 1][24];
	char error[ROUTE_ERROR_SIZE];
	for (int i = 0; i <= AUTHN_PERMISSIONS_MAX; i++) {
		snprintf(paths[i], sizeof(paths[i]), "/more/%d", i);
		snprintf(permissions[i], sizeof(permissions[i]), "more%d:read", i);
		rows[i] = (struct dialect_route){
		    .verb = "GET", .path = paths[i], .permission = permissions[i], .answer = answer_nothing};
	}
	cr_assert_not(starts(rows, error));
	cr_assert(strstr(error, "The route GET /more/") && strstr(error, "all permissions together are more than 64"),
	          "%s", error);
	rows[8].verb = NULL;
	cr_assert(starts(rows, error), "%s", error);
}

static struct exchange exchange;

/* One request from an address; the status of its answer. */
static int ask(const char *path, const char *peer)
{
	struct arena *arena = exchange.arena ? exchange.arena : arena_new(1 << 20);
	buf_free(&exchange.response.body);
	arena_reset(arena);
	memset(&exchange, 0, sizeof(exchange));
	exchange.arena = arena;
	exchange.gateway = &gateway;
	exchange.request = (struct http_request){.verb = "GET", .path = path, .peer = peer};
	pipeline_serve(&exchange);
	return exchange.response.status;
}

/* Public routes have a budget for each address; what must be answered always has none. */
Test(gateway_pipeline, limits_public_routes_by_address)
{
	static const struct dialect_route rows[] = {
	    {.verb = "GET", .path = "/open", .permission = "none", .answer = answer_nothing},
	    {.verb = "GET", .path = "/always", .permission = "none", .rate = RATE_NONE, .answer = answer_nothing},
	    {0}};
	const struct dialect_route *const tables[] = {rows, NULL};
	const struct pipeline_options options = {.methods = no_methods,
	                                         .tables = tables,
	                                         .dialects = dialects,
	                                         .mounts = {.dialects = "", .hosts = "", .origins = ""}};
	char error[ROUTE_ERROR_SIZE];
	secret_init();
	gateway.authn = authn_new(NULL);
	gateway.limits = limits_new(&(struct limits_options){.key = 1, .account = 1, .address = 3});
	cr_assert_eq(pipeline_init(&gateway, &options, error), ST_OK);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(ask("/open", "192.0.2.1"), 204);
	cr_assert_eq(ask("/open", "192.0.2.1"), 429);
	cr_assert_eq(exchange.failure.status, ST_RESOURCE_EXHAUSTED);
	cr_assert_gt(exchange.failure.retry_after_ms, 0);
	cr_assert_eq(ask("/open", "::ffff:192.0.2.1"), 429, "the same address written otherwise");
	cr_assert_eq(ask("/open", "192.0.2.2"), 204, "another address has its own budget");
	for (int i = 0; i < 50; i++)
		cr_assert_eq(ask("/always", "192.0.2.1"), 204);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(ask("/open", "2001:db8::1"), 204);
	cr_assert_eq(ask("/open", "2001:db8::ffff:2"), 429, "an IPv6 client has its whole /64");
	cr_assert_eq(ask("/open", "2001:db8:0:1::1"), 204);
	pipeline_end(&gateway);
	limits_free(&gateway.limits);
	authn_free(&gateway.authn);
}

static int reads;

static int read_five(void *arg, void *ret_data, size_t len_bytes)
{
	(void)arg;
	reads++;
	memset(ret_data, 'x', len_bytes);
	return (int)len_bytes;
}

static size_t body_seen;

static bool find_nothing(struct exchange *at, struct credential *ret_credential)
{
	(void)ret_credential;
	body_seen = at->body.len;
	return false;
}

/* Nobody who is unknown gets a body read, but where the credential stands in it. */
Test(gateway_pipeline, reads_the_body_first_only_for_its_credential)
{
	static const char *const roots[] = {"", NULL};
	static const struct dialect_route rows[] = {
	    {.verb = "POST", .path = "/header", .accepts = CALLER_KEYS, .permission = "none", .answer = answer_nothing},
	    {.verb = "POST",
	     .path = "/body",
	     .accepts = CALLER_KEYS,
	     .permission = "none",
	     .credential_in_body = true,
	     .answer = answer_nothing},
	    {0}};
	static const struct dialect plain = {.name = "plain",
	                                     .roots = roots,
	                                     .routes = rows,
	                                     .credential = find_nothing,
	                                     .print_failure = problem_print};
	static const struct dialect *const only[] = {&plain, NULL};
	static const struct dialect_route *const no_tables[] = {NULL};
	const struct pipeline_options options = {.methods = no_methods,
	                                         .tables = no_tables,
	                                         .dialects = only,
	                                         .mounts = {.dialects = "", .hosts = "", .origins = ""}};
	char error[ROUTE_ERROR_SIZE];
	gateway.body_max_bytes = 100;
	gateway.authn = authn_new(NULL);
	gateway.limits = limits_new(&(struct limits_options){0});
	cr_assert_eq(pipeline_init(&gateway, &options, error), ST_OK, "%s", error);
	for (int in_body = 0; in_body < 2; in_body++) {
		memset(&exchange, 0, sizeof(exchange));
		exchange.arena = arena_new(1 << 20);
		exchange.gateway = &gateway;
		exchange.request = (struct http_request){.verb = "POST",
		                                         .path = in_body ? "/body" : "/header",
		                                         .peer = "127.0.0.1",
		                                         .content_length = 5,
		                                         .io = {.read = read_five}};
		exchange.body_left = 5;
		pipeline_serve(&exchange);
		cr_expect_eq(exchange.response.status, 401);
		cr_expect_eq(body_seen, in_body ? 5 : 0);
		cr_expect_eq(reads > 0, in_body);
		buf_free(&exchange.body);
		buf_free(&exchange.response.body);
		arena_free(&exchange.arena);
	}
	pipeline_end(&gateway);
	limits_free(&gateway.limits);
	authn_free(&gateway.authn);
}
