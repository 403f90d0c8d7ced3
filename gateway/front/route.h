/* The route table: rows compiled to a tree of path segments. Immutable while requests are served; any thread then. */
#pragma once

#include "dialects/dialect.h"

#define ROUTE_ERROR_SIZE 256

struct route_table;

/* An empty table for the rows of one dialect. NULL without memory. */
struct route_table *route_table_new(const struct dialect *dialect);
void route_table_free(struct route_table **table);

/* Compiles a row (copied; its texts are borrowed) and adds it. NULL and a sentence in ret_error when it overlaps another (same verb and
 * same shape), its path is malformed, its method is not of the contract, or memory is out. A literal segment is preferred to a
 * parameter. */
struct route *route_table_add(struct route_table *table, const struct dialect_route *row,
                              char ret_error[ROUTE_ERROR_SIZE]);

/* Calls fn for each row, in no order. */
void route_table_each(const struct route_table *table, void (*fn)(void *arg, const struct route *route), void *arg);

/* How many rows it holds. */
size_t route_table_count(const struct route_table *table);

/* Finds the row for verb and exchange->path and fills exchange->route and exchange->params. ST_NOT_FOUND; ST_METHOD_NOT_ALLOWED
 * (failure.allow filled); ST_MALFORMED_REQUEST when a parameter is not valid percent-encoded UTF-8. On failure it has
 * filled exchange->failure. */
MUST_USE enum status route_find(const struct route_table *table, struct exchange *exchange);
