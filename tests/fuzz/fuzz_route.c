/* Fuzz target: paths against the native route table; parameters come out as valid UTF-8 without NUL. */
#include "base/utf8.h"
#include "front/route.h"
#include "json/pbjson.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct route_table *table;
	static struct exchange exchange;
	char error[ROUTE_ERROR_SIZE];
	if (table == NULL) {
		struct dialect_route row;
		table = route_table_new(&native_dialect);
		exchange.arena = arena_new(1 << 22);
		if (table == NULL || exchange.arena == NULL)
			abort();
		for (unsigned i = 0; i < method_count; i++) {
			if (native_dialect.method_route(&method_table[i], &row) && !route_table_add(table, &row, error))
				abort();
		}
	}
	char *path = malloc(size + 1);
	if (path == NULL)
		return 0;
	memcpy(path, data, size);
	path[size] = '\0';
	arena_reset(exchange.arena);
	exchange.route = NULL;
	exchange.request.verb = "GET";
	exchange.request.path = exchange.path = path;
	if (route_find(table, &exchange) == ST_OK) {
		for (size_t i = 0; i < exchange.param_count; i++) {
			const char *value = exchange.params[i].value;
			if (!utf8_valid(value, strlen(value)))
				abort();
		}
	}
	free(path);
	return 0;
}
