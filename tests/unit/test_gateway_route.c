/* Routes: literals before parameters, overlaps refused, 404 and 405 told apart. */
#include "front/route.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define ROW(verb_, path_) .verb = (verb_), .path = (path_)

static enum status find(const struct route_table *table, struct exchange *exchange, const char *verb, const char *path)
{
	struct arena *arena = exchange->arena != NULL ? exchange->arena : arena_new(1 << 20);
	memset(exchange, 0, sizeof(*exchange));
	exchange->arena = arena;
	exchange->request.verb = verb;
	exchange->request.path = exchange->path = path;
	return route_find(table, exchange);
}

/* A table with the rows, or NULL and why not. */
static struct route_table *table_of(const struct dialect_route *rows, size_t count, char ret_error[ROUTE_ERROR_SIZE])
{
	struct route_table *table = route_table_new(&native_dialect);
	for (size_t i = 0; i < count && table; i++) {
		if (!route_table_add(table, &rows[i], ret_error))
			route_table_free(&table);
	}
	return table;
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
	struct route_table *table = table_of(rows, sizeof(rows) / sizeof(rows[0]), error);
	cr_assert_not_null(table);
	cr_assert_eq(find(table, &exchange, "GET", "/v1/users"), ST_OK);
	cr_assert_str_eq(exchange.route->row.path, rows[0].path);
	cr_assert_str_eq(exchange.route->row.verb, rows[0].verb);
	cr_assert_eq(find(table, &exchange, "HEAD", "/v1/users"), ST_OK);
	cr_assert_str_eq(exchange.route->row.path, rows[0].path);
	cr_assert_str_eq(exchange.route->row.verb, rows[0].verb);
	cr_assert_eq(find(table, &exchange, "GET", "/v1/users/export"), ST_OK);
	cr_assert_str_eq(exchange.route->row.path, rows[4].path);
	cr_assert_str_eq(exchange.route->row.verb, rows[4].verb);
	cr_assert_eq(find(table, &exchange, "PATCH", "/v1/users/export"), ST_OK);
	cr_assert_str_eq(exchange.route->row.path, rows[3].path);
	cr_assert_str_eq(exchange.route->row.verb, rows[3].verb);
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
	cr_assert_null(table_of(same, 2, error));
	cr_assert(strstr(error, "overlap") != NULL);
	cr_assert_null(table_of(malformed, 1, error));
	struct route_table *table = table_of(other_verb, 2, error);
	cr_assert_not_null(table);
	route_table_free(&table);
}

/* The names of parameters belong to the row, not to the place in the tree. */
Test(gateway_route, each_verb_names_its_own_parameters)
{
	static const struct dialect_route rows[] = {{ROW("GET", "/a/{x}/b")}, {ROW("PUT", "/a/{y}/b")}};
	static struct exchange exchange;
	char error[ROUTE_ERROR_SIZE] = "";
	struct route_table *table = table_of(rows, 2, error);
	cr_assert_eq(find(table, &exchange, "PUT", "/a/1/b"), ST_OK);
	cr_assert_str_eq(http_param_find(&exchange, "y"), "1");
	cr_assert_null(http_param_find(&exchange, "x"));
	arena_free(&exchange.arena);
	route_table_free(&table);
}

/* A tree of any size, and a parameter that ends the path costs no copy. */
Test(gateway_route, has_no_bound)
{
	static struct exchange exchange;
	char error[ROUTE_ERROR_SIZE] = "", paths[2000][24];
	struct route_table *table = route_table_new(&native_dialect);
	for (int i = 0; i < 2000; i++) {
		snprintf(paths[i], sizeof(paths[i]), "/v%d/{id}", i);
		const struct dialect_route row = {ROW("GET", paths[i])};
		cr_assert(route_table_add(table, &row, error));
	}
	cr_assert_eq(route_table_count(table), 2000);
	for (int i = 0; i < 2000; i++) {
		char path[24];
		snprintf(path, sizeof(path), "/v%d/usr_1", i);
		cr_assert_eq(find(table, &exchange, "GET", path), ST_OK);
		cr_assert_str_eq(exchange.route->row.path, paths[i]);
		cr_assert_eq(http_param_find(&exchange, "id"), strrchr(path, '/') + 1);
		arena_reset(exchange.arena);
	}
	arena_free(&exchange.arena);
	route_table_free(&table);
}

Test(gateway_route, refuses_what_it_cannot_hold)
{
	static const struct dialect_route many[] = {{ROW("GET", "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}")}};
	static const struct dialect_route unknown[] = {{ROW("GET", "/a"), .method = 999999}};
	char error[ROUTE_ERROR_SIZE] = "";
	cr_assert_null(table_of(many, 1, error));
	cr_assert(strstr(error, "more than 8 parameters"), "%s", error);
	cr_assert_null(table_of(unknown, 1, error));
	cr_assert(strstr(error, "calls method 999999"), "%s", error);
}
