/* The route table: rows compiled to a tree of path segments. Immutable after route_table_new; any thread. */
#pragma once

#include "dialects/dialect.h"

struct route_table;

/* Compiles rows (borrowed for the table's life). Returns NULL and a sentence in ret_error when two rows overlap (same verb
 * and same shape), a path is malformed, or memory is out. A literal segment is preferred to a parameter. */
#define ROUTE_ERROR_SIZE 256
struct route_table *route_table_new(const struct dialect_route *rows, size_t count, char ret_error[ROUTE_ERROR_SIZE]);
void route_table_free(struct route_table **table);

/* Finds the row for verb and path and fills exchange->route and exchange->params. ST_NOT_FOUND; ST_METHOD_NOT_ALLOWED
 * (failure.allow filled); ST_MALFORMED_REQUEST when a parameter is not valid percent-encoded UTF-8. On failure it has
 * filled exchange->failure. */
MUST_USE enum status route_find(const struct route_table *table, struct exchange *exchange);
