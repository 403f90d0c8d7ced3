/* Verifying: walks a project's chain within a deadline. */
#pragma once

#include "entries.h"

struct verdict {
	struct chain chain; /* first_bad 0: nothing wrong found */
	struct head head;   /* the head row when the walk began */
	bool complete;      /* the walk reached the head */
};

/* Recomputes the chain from the entry after `after` (whose own hash is taken as given) to the head, and compares with the head
 * row: a cut tail, an entry beyond the head and another hash count as bad. Stops shortly before scope->deadline_us. Uses
 * arenas of its own page by page. ST_NOT_FOUND: after is beyond the head. */
MUST_USE enum status verify_chain(struct sql_scope *scope, const struct id *project, int64_t after,
                                  struct verdict *ret_verdict);
