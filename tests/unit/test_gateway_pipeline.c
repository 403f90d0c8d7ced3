/* The loop around the routes: what refuses to start, and with which sentence. */
#include "front/gateway.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void answer_nothing(struct exchange *exchange)
{
	exchange->response.status = 204;
}

static const struct local_method no_methods[] = {{0, NULL}};
static const struct dialect *const dialects[] = {&native_dialect, NULL};

/* Starts with one more table; false and a sentence when it refuses. */
static bool starts(const struct dialect_route *rows, char ret_error[ROUTE_ERROR_SIZE])
{
	const struct dialect_route *const tables[] = {rows, NULL};
	static struct gateway gateway;
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
