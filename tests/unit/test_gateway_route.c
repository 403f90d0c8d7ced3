/* Routes: literals before parameters, overlaps refused, 404 and 405 told apart. */
#include "front/route.h"

#include <criterion/criterion.h>
#include <string.h>

#define ROW(verb_, path_) .verb = (verb_), .path = (path_)

static enum status find(const struct route_table *table, struct exchange *exchange, const char *verb, const char *path)
{
	struct arena *arena = exchange->arena != NULL ? exchange->arena : arena_new(1 << 20);
	memset(exchange, 0, sizeof(*exchange));
	exchange->arena = arena;
	exchange->request.verb = verb;
	exchange->request.path = path;
	return route_find(table, exchange);
}

Test(gateway_route, finds)
{
	static const struct dialect_route rows[] = {
	    {ROW("GET", "/v1/users")},           {ROW("POST", "/v1/users")},
	    {ROW("GET", "/v1/users/{user_id}")}, {ROW("PATCH", "/v1/users/{user_id}")},
	    {ROW("GET", "/v1/users/export")},    {ROW("GET", "/v1/users/{user_id}/claims")},
	    {ROW("GET", "/v1/p/{a}/q/{b}")},
	};
	static struct exchange exchange;
	char error[ROUTE_ERROR_SIZE];
	struct route_table *table = route_table_new(rows, sizeof(rows) / sizeof(rows[0]), error);
	cr_assert_not_null(table);
	cr_assert_eq(find(table, &exchange, "GET", "/v1/users"), ST_OK);
	cr_assert_eq(exchange.route, &rows[0]);
	cr_assert_eq(find(table, &exchange, "HEAD", "/v1/users"), ST_OK);
	cr_assert_eq(exchange.route, &rows[0]);
	cr_assert_eq(find(table, &exchange, "GET", "/v1/users/export"), ST_OK);
	cr_assert_eq(exchange.route, &rows[4]);
	cr_assert_eq(find(table, &exchange, "PATCH", "/v1/users/export"), ST_OK);
	cr_assert_eq(exchange.route, &rows[3]);
	cr_assert_eq(find(table, &exchange, "GET", "/v1/users/export/claims"), ST_OK);
	cr_assert_str_eq(http_param_find(&exchange, "user_id"), "export");
	cr_assert_eq(find(table, &exchange, "GET", "/v1/users/a%20b%c3%a4"), ST_OK);
	cr_assert_str_eq(http_param_find(&exchange, "user_id"), "a b\xc3\xa4");
	cr_assert_eq(find(table, &exchange, "GET", "/v1/p/1/q/2"), ST_OK);
	cr_assert_str_eq(http_param_find(&exchange, "a"), "1");
	cr_assert_str_eq(http_param_find(&exchange, "b"), "2");
	cr_assert_null(http_param_find(&exchange, "c"));
	cr_assert_eq(find(table, &exchange, "GET", "/v1/users/%c0%af"), ST_MALFORMED_REQUEST);
	cr_assert_eq(find(table, &exchange, "GET", "/v1"), ST_NOT_FOUND);
	cr_assert_eq(find(table, &exchange, "GET", "/v1/users/a/b"), ST_NOT_FOUND);
	cr_assert_eq(find(table, &exchange, "GET", "/"), ST_NOT_FOUND);
	cr_assert_eq(find(table, &exchange, "GET", "/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a"), ST_NOT_FOUND);
	cr_assert_eq(find(table, &exchange, "DELETE", "/v1/users"), ST_METHOD_NOT_ALLOWED);
	cr_assert_str_eq(exchange.failure.allow, "GET, HEAD, POST");
	arena_free(&exchange.arena);
	route_table_free(&table);
	cr_assert_null(table);
}

Test(gateway_route, refuses_overlap)
{
	static const struct dialect_route same[] = {{ROW("GET", "/a/{x}")}, {ROW("GET", "/a/{y}")}};
	static const struct dialect_route other_verb[] = {{ROW("GET", "/a/{x}")}, {ROW("PUT", "/a/{y}")}};
	static const struct dialect_route malformed[] = {{ROW("GET", "a")}};
	char error[ROUTE_ERROR_SIZE] = "";
	cr_assert_null(route_table_new(same, 2, error));
	cr_assert(strstr(error, "overlap") != NULL);
	cr_assert_null(route_table_new(malformed, 1, error));
	struct route_table *table = route_table_new(other_verb, 2, error);
	cr_assert_not_null(table);
	route_table_free(&table);
}

Test(gateway_route, native_table_compiles)
{
	static struct dialect_route rows[256];
	char error[ROUTE_ERROR_SIZE] = "";
	size_t count = native_routes(rows, 256);
	cr_assert(count > 20 && count < 256);
	struct route_table *table = route_table_new(rows, count, error);
	cr_assert_not_null(table, "%s", error);
	route_table_free(&table);
}
