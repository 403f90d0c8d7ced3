/* From exchanges to calls: operation ids of steps; batches of an import. */
#include "bus/method.h"
#include "calls/upstream.h"
#include "local/import_batch.h"

#include <criterion/criterion.h>
#include <string.h>

static struct exchange exchange;

static struct id operation_of(uint32_t method, unsigned number, const char *key)
{
	const struct upstream_step step = {.method = method, .number = number};
	struct id operation;
	bool keyed = false;
	if (!exchange.arena)
		exchange.arena = arena_new(1 << 20);
	exchange.request.headers[0] = (struct http_header){"Idempotency-Key", key};
	exchange.request.header_count = key ? 1 : 0;
	cr_assert_eq(upstream_operation(&exchange, &step, &operation, &keyed), ST_OK);
	cr_assert_eq(keyed, key != NULL);
	return operation;
}

/* A repeated request must find each of its writes again, and none for another. */
Test(gateway_calls, each_step_has_an_operation_of_its_own)
{
	const uint32_t methods[] = {M_IDENTITY_UPDATE_USER, M_IDENTITY_CREATE_USER};
	const char *const keys[] = {"a", "b"};
	struct id seen[12];
	size_t count = 0;
	secret_init();
	exchange.caller.project = id_new();
	for (size_t m = 0; m < 2; m++) {
		for (unsigned number = 0; number < 3; number++) {
			for (size_t k = 0; k < 2; k++) {
				struct id first = operation_of(methods[m], number, keys[k]);
				struct id again = operation_of(methods[m], number, keys[k]);
				cr_assert(id_equal(&first, &again));
				for (size_t i = 0; i < count; i++)
					cr_assert_not(id_equal(&seen[i], &first));
				seen[count++] = first;
			}
		}
	}
	exchange.caller.project = id_new();
	struct id other = operation_of(methods[0], 0, "a");
	cr_assert_not(id_equal(&seen[0], &other), "another project");
	struct id one = operation_of(methods[0], 1, NULL), two = operation_of(methods[0], 1, NULL);
	cr_assert_not(id_equal(&one, &two), "without a key each call is new");
}

/* A line that is no row takes room as well: what is read of it stands in the batch's memory. */
Test(gateway_calls, a_batch_counts_lines_that_it_refuses)
{
	static char line[60000];
	struct import_batch *batch = import_batch_new();
	uint32_t lines = 0;
	memset(line, ' ', sizeof(line));
	memcpy(line, "{\"nonsense\":1,", 14);
	line[sizeof(line) - 2] = '}';
	line[sizeof(line) - 1] = '\0';
	while (!import_batch_full(batch) && lines < 400)
		import_batch_add(batch, ++lines, line, sizeof(line) - 1);
	cr_assert_lt(lines, 10, "%u lines of 60 kB", lines);
	import_batch_free(&batch);
}
