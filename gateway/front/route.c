/* The route table: a tree of path segments, literal children before the one parameter child. */
#include "front/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS_MAX 16

struct route_node {
	char *literal;            /* NULL for the parameter child and the root */
	struct route_node *child; /* literal children */
	struct route_node *next;  /* sibling */
	struct route_node *param;
	const struct dialect_route **rows; /* one per verb */
	size_t row_count;
};

struct route_table {
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
	const struct dialect_route *found;
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
	for (struct route_node *child = node->child; child != NULL; child = child->next) {
		if (strlen(child->literal) == segment->len && memcmp(child->literal, segment->text, segment->len) == 0)
			return child;
	}
	return NULL;
}

/* The child for one segment of a pattern, made when it is missing. NULL without memory. */
static struct route_node *route_grow(struct route_node *node, const struct route_segment *segment)
{
	if (route_is_param(segment)) {
		if (node->param == NULL)
			node->param = calloc(1, sizeof(*node->param));
		return node->param;
	}
	struct route_node *child = route_literal(node, segment);
	if (child != NULL)
		return child;
	child = calloc(1, sizeof(*child));
	char *literal = strndup(segment->text, segment->len);
	if (child == NULL || literal == NULL) {
		free(child);
		free(literal);
		return NULL;
	}
	child->literal = literal;
	child->next = node->child;
	node->child = child;
	return child;
}

static bool route_add(struct route_table *table, const struct dialect_route *row, char ret_error[ROUTE_ERROR_SIZE])
{
	struct route_segment segments[SEGMENTS_MAX];
	size_t count = 0;
	struct route_node *node = &table->root;
	snprintf(ret_error, ROUTE_ERROR_SIZE, "The route %s %s is malformed.", row->verb, row->path);
	if (!route_split(row->path, segments, &count))
		return false;
	for (size_t i = 0; i < count && node != NULL; i++)
		node = route_grow(node, &segments[i]);
	const struct dialect_route **rows =
	    node == NULL ? NULL : realloc(node->rows, (node->row_count + 1) * sizeof(*rows));
	if (rows == NULL) {
		snprintf(ret_error, ROUTE_ERROR_SIZE, "There is not enough memory for the route table.");
		return false;
	}
	node->rows = rows;
	for (size_t i = 0; i < node->row_count; i++) {
		if (strcmp(rows[i]->verb, row->verb) != 0)
			continue;
		snprintf(ret_error, ROUTE_ERROR_SIZE, "The routes %s %s and %s overlap.", row->verb, row->path,
		         rows[i]->path);
		return false;
	}
	rows[node->row_count++] = row;
	return true;
}

struct route_table *route_table_new(const struct dialect_route *rows, size_t count, char ret_error[ROUTE_ERROR_SIZE])
{
	struct route_table *table = calloc(1, sizeof(*table));
	if (table == NULL) {
		snprintf(ret_error, ROUTE_ERROR_SIZE, "There is not enough memory for the route table.");
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		if (!route_add(table, &rows[i], ret_error)) {
			route_table_free(&table);
			return NULL;
		}
	}
	return table;
}

static void route_node_free(struct route_node *node)
{
	for (struct route_node *child = node->child; child != NULL;) {
		struct route_node *next = child->next;
		route_node_free(child);
		free(child);
		child = next;
	}
	if (node->param != NULL)
		route_node_free(node->param);
	free(node->param);
	free(node->literal);
	free(node->rows);
}

void route_table_free(struct route_table **table)
{
	if (*table == NULL)
		return;
	route_node_free(&(*table)->root);
	free(*table);
	*table = NULL;
}

static void route_add_allowed(struct route_walk *walk, const char *verb)
{
	const char *allow = walk->allow == NULL ? arena_strdup(walk->arena, verb)
	                                        : arena_printf(walk->arena, "%s, %s", walk->allow, verb);
	if (allow != NULL)
		walk->allow = allow;
}

/* The path ends here: takes the row of the verb, else remembers what would be allowed. */
static void route_visit_leaf(struct route_walk *walk, const struct route_node *node)
{
	for (size_t i = 0; i < node->row_count && walk->found == NULL; i++) {
		walk->path_known = true;
		if (strcmp(node->rows[i]->verb, walk->verb) == 0)
			walk->found = node->rows[i];
	}
	for (size_t i = 0; i < node->row_count && walk->found == NULL; i++) {
		route_add_allowed(walk, node->rows[i]->verb);
		if (strcmp(node->rows[i]->verb, "GET") == 0)
			route_add_allowed(walk, "HEAD");
	}
}

static void route_visit(struct route_walk *walk, const struct route_node *node, size_t depth)
{
	if (walk->found != NULL)
		return;
	if (depth == walk->count) {
		route_visit_leaf(walk, node);
		return;
	}
	const struct route_node *literal = route_literal(node, &walk->segments[depth]);
	if (literal != NULL)
		route_visit(walk, literal, depth + 1);
	if (node->param != NULL && walk->segments[depth].len > 0)
		route_visit(walk, node->param, depth + 1);
}

/* Decodes the segments that stand where the row's pattern has parameters. */
static enum status route_take_params(struct exchange *exchange, const struct route_walk *walk)
{
	struct route_segment pattern[SEGMENTS_MAX];
	size_t count = 0;
	exchange->param_count = 0;
	if (!route_split(walk->found->path, pattern, &count))
		return http_fail(exchange, ST_INTERNAL, NULL, NULL);
	for (size_t i = 0; i < count && exchange->param_count < HTTP_PARAMS_MAX; i++) {
		if (!route_is_param(&pattern[i]))
			continue;
		const char *name = arena_strndup(exchange->arena, pattern[i].text + 1, pattern[i].len - 2);
		const char *value = http_decode(exchange->arena, walk->segments[i].text, walk->segments[i].len, false);
		if (name == NULL || value == NULL)
			return http_fail(exchange, ST_MALFORMED_REQUEST, name,
			                 "The path is not valid percent-encoded UTF-8");
		exchange->params[exchange->param_count++] = (struct http_param){name, value};
	}
	return ST_OK;
}

enum status route_find(const struct route_table *table, struct exchange *exchange)
{
	bool head = strcmp(exchange->request.verb, "HEAD") == 0;
	struct route_walk walk = {.verb = head ? "GET" : exchange->request.verb, .arena = exchange->arena};
	if (route_split(exchange->request.path, walk.segments, &walk.count))
		route_visit(&walk, &table->root, 0);
	if (walk.found != NULL) {
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
