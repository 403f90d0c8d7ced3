/* The route table: a tree of path segments, literal children before the one parameter child. */
#include "front/route.h"

#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS_MAX 16

struct route_node {
	char *literal;            /* NULL for the parameter child and the root */
	struct route_node *child; /* literal children */
	struct route_node *next;  /* sibling */
	struct route_node *param;
	struct route **routes; /* one per verb, owned */
	size_t route_count;
};

struct route_table {
	const struct dialect *dialect;
	size_t count;
	struct route_node root;
};

struct route_segment {
	const char *text;
	size_t len;
};

/* A walk down the tree; candidates in order of preference. */
struct route_walk {
	const char *verb;
	struct route_segment segments[SEGMENTS_MAX];
	size_t count;
	struct route_segment values[HTTP_PARAMS_MAX]; /* of the parameters on the way to found */
	const struct route *found;
	bool path_known;
	struct arena *arena;
	const char *allow;
};

/* Splits "/a/b" at its slashes; false when it does not begin with one or has too many. */
static bool route_split(const char *path, struct route_segment ret_segments[SEGMENTS_MAX], size_t *ret_count)
{
	size_t count = 0;
	if (path[0] != '/')
		return false;
	for (const char *at = path + 1;; count++) {
		size_t len = strcspn(at, "/");
		if (count == SEGMENTS_MAX)
			return false;
		ret_segments[count] = (struct route_segment){at, len};
		at += len;
		if (*at == '\0')
			break;
		at++;
	}
	*ret_count = count + 1;
	return true;
}

static bool route_is_param(const struct route_segment *segment)
{
	return segment->len > 2 && segment->text[0] == '{' && segment->text[segment->len - 1] == '}';
}

static struct route_node *route_literal(const struct route_node *node, const struct route_segment *segment)
{
	for (struct route_node *child = node->child; child; child = child->next) {
		if (strlen(child->literal) == segment->len && memcmp(child->literal, segment->text, segment->len) == 0)
			return child;
	}
	return NULL;
}

/* The child for one segment of a pattern, made when it is missing. NULL without memory. */
static struct route_node *route_grow(struct route_node *node, const struct route_segment *segment)
{
	if (route_is_param(segment)) {
		if (!node->param)
			node->param = calloc(1, sizeof(*node->param));
		return node->param;
	}
	struct route_node *child = route_literal(node, segment);
	if (child)
		return child;
	child = calloc(1, sizeof(*child));
	char *literal = strndup(segment->text, segment->len);
	if (!child || !literal) {
		free(child);
		free(literal);
		return NULL;
	}
	child->literal = literal;
	child->next = node->child;
	node->child = child;
	return child;
}

static void route_free(struct route *route)
{
	for (size_t i = 0; i < HTTP_PARAMS_MAX; i++)
		free((char *)route->params[i]);
	free(route);
}

/* The compiled row, not yet in the tree. NULL and a sentence when it cannot be. */
static struct route *route_compile(const struct route_table *table, const struct dialect_route *row,
                                   const struct route_segment *segments, size_t count, char ret_error[ROUTE_ERROR_SIZE])
{
	size_t params = 0;
	struct route *route = calloc(1, sizeof(*route));
	snprintf(ret_error, ROUTE_ERROR_SIZE, "There is not enough memory for the route table.");
	if (!route)
		return NULL;
	route->row = *row;
	route->dialect = table->dialect;
	route->method = row->method ? method_find(row->method) : NULL;
	for (size_t i = 0; i < count; i++) {
		if (!route_is_param(&segments[i]))
			continue;
		if (params == HTTP_PARAMS_MAX) {
			snprintf(ret_error, ROUTE_ERROR_SIZE, "The route %s %s has more than %d parameters.", row->verb,
			         row->path, HTTP_PARAMS_MAX);
			goto fail;
		}
		route->params[params] = strndup(segments[i].text + 1, segments[i].len - 2);
		if (!route->params[params++])
			goto fail;
	}
	if (row->method && !route->method) {
		snprintf(ret_error, ROUTE_ERROR_SIZE, "The route %s %s calls method %u, which there is not.", row->verb,
		         row->path, row->method);
		goto fail;
	}
	return route;
fail:
	route_free(route);
	return NULL;
}

/* Puts the route into its node. False and a sentence when its verb is taken. */
static bool route_place(struct route_node *node, struct route *route, char ret_error[ROUTE_ERROR_SIZE])
{
	for (size_t i = 0; i < node->route_count; i++) {
		const struct dialect_route *other = &node->routes[i]->row;
		if (strcmp(other->verb, route->row.verb) != 0)
			continue;
		snprintf(ret_error, ROUTE_ERROR_SIZE, "The routes %s %s and %s overlap.", route->row.verb,
		         route->row.path, other->path);
		return false;
	}
	struct route **routes = realloc(node->routes, (node->route_count + 1) * sizeof(*routes));
	if (!routes)
		return false;
	node->routes = routes;
	routes[node->route_count++] = route;
	return true;
}

struct route *route_table_add(struct route_table *table, const struct dialect_route *row,
                              char ret_error[ROUTE_ERROR_SIZE])
{
	struct route_segment segments[SEGMENTS_MAX];
	size_t count = 0;
	if (!route_split(row->path, segments, &count)) {
		snprintf(ret_error, ROUTE_ERROR_SIZE, "The route %s %s is malformed.", row->verb, row->path);
		return NULL;
	}
	struct route *route = route_compile(table, row, segments, count, ret_error);
	if (!route)
		return NULL;
	snprintf(ret_error, ROUTE_ERROR_SIZE, "There is not enough memory for the route table.");
	struct route_node *node = &table->root;
	for (size_t i = 0; i < count && node; i++)
		node = route_grow(node, &segments[i]);
	if (!node || !route_place(node, route, ret_error)) {
		route_free(route);
		return NULL;
	}
	table->count++;
	return route;
}

struct route_table *route_table_new(const struct dialect *dialect)
{
	struct route_table *table = calloc(1, sizeof(*table));
	if (table)
		table->dialect = dialect;
	return table;
}

size_t route_table_count(const struct route_table *table)
{
	return table->count;
}

static void route_node_each(const struct route_node *node, void (*fn)(void *arg, const struct route *route), void *arg)
{
	for (size_t i = 0; i < node->route_count; i++)
		fn(arg, node->routes[i]);
	for (const struct route_node *child = node->child; child; child = child->next)
		route_node_each(child, fn, arg);
	if (node->param)
		route_node_each(node->param, fn, arg);
}

void route_table_each(const struct route_table *table, void (*fn)(void *arg, const struct route *route), void *arg)
{
	route_node_each(&table->root, fn, arg);
}

static void route_node_free(struct route_node *node)
{
	for (struct route_node *child = node->child; child;) {
		struct route_node *next = child->next;
		route_node_free(child);
		free(child);
		child = next;
	}
	if (node->param)
		route_node_free(node->param);
	for (size_t i = 0; i < node->route_count; i++)
		route_free(node->routes[i]);
	free(node->param);
	free(node->literal);
	free(node->routes);
}

void route_table_free(struct route_table **table)
{
	if (!*table)
		return;
	route_node_free(&(*table)->root);
	free(*table);
	*table = NULL;
}

static void route_add_allowed(struct route_walk *walk, const char *verb)
{
	const char *allow =
	    !walk->allow ? arena_strdup(walk->arena, verb) : arena_printf(walk->arena, "%s, %s", walk->allow, verb);
	if (allow)
		walk->allow = allow;
}

/* The path ends here: takes the route of the verb, else remembers what would be allowed. */
static void route_visit_leaf(struct route_walk *walk, const struct route_node *node)
{
	for (size_t i = 0; i < node->route_count && !walk->found; i++) {
		walk->path_known = true;
		if (strcmp(node->routes[i]->row.verb, walk->verb) == 0)
			walk->found = node->routes[i];
	}
	for (size_t i = 0; i < node->route_count && !walk->found; i++) {
		route_add_allowed(walk, node->routes[i]->row.verb);
		if (strcmp(node->routes[i]->row.verb, "GET") == 0)
			route_add_allowed(walk, "HEAD");
	}
}

/* params: how many parameters stand on the way to node. */
static void route_visit(struct route_walk *walk, const struct route_node *node, size_t depth, size_t params)
{
	if (depth == walk->count) {
		route_visit_leaf(walk, node);
		return;
	}
	const struct route_segment *segment = &walk->segments[depth];
	const struct route_node *literal = route_literal(node, segment);
	if (literal)
		route_visit(walk, literal, depth + 1, params);
	if (walk->found || !node->param || segment->len == 0 || params == HTTP_PARAMS_MAX)
		return;
	walk->values[params] = *segment;
	route_visit(walk, node->param, depth + 1, params + 1);
}

/* A value that is not encoded and ends the path is used where it stands. */
static const char *route_value(struct arena *arena, const struct route_segment *segment)
{
	if (memchr(segment->text, '%', segment->len) || !utf8_valid(segment->text, segment->len))
		return http_decode(arena, segment->text, segment->len, false);
	if (segment->text[segment->len] == '\0')
		return segment->text;
	return arena_strndup(arena, segment->text, segment->len);
}

static enum status route_take_params(struct exchange *exchange, const struct route_walk *walk)
{
	exchange->param_count = 0;
	for (size_t i = 0; i < HTTP_PARAMS_MAX && walk->found->params[i]; i++) {
		const char *name = walk->found->params[i];
		const char *value = route_value(exchange->arena, &walk->values[i]);
		if (!value)
			return http_fail(exchange, ST_MALFORMED_REQUEST, name,
			                 "The path is not valid percent-encoded UTF-8");
		exchange->params[exchange->param_count++] = (struct http_param){name, value};
	}
	return ST_OK;
}

enum status route_find(const struct route_table *table, struct exchange *exchange)
{
	bool head = strcmp(exchange->request.verb, "HEAD") == 0;
	struct route_walk walk;
	walk.verb = head ? "GET" : exchange->request.verb;
	walk.arena = exchange->arena;
	walk.found = NULL;
	walk.path_known = false;
	walk.allow = NULL;
	if (route_split(exchange->path, walk.segments, &walk.count))
		route_visit(&walk, &table->root, 0, 0);
	if (walk.found) {
		enum status status = route_take_params(exchange, &walk);
		if (status == ST_OK)
			exchange->route = walk.found;
		return status;
	}
	if (!walk.path_known)
		return http_fail(exchange, ST_NOT_FOUND, NULL, "There is no such path");
	(void)http_fail(exchange, ST_METHOD_NOT_ALLOWED, NULL, NULL);
	exchange->failure.allow = walk.allow;
	return ST_METHOD_NOT_ALLOWED;
}
