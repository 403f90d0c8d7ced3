/* Outcome of every fallible function. Values, names and HTTP statuses come from proto/errors.txt. */
#pragma once

#include "errors.gen.h" /* enum status { ST_OK = 0, ST_INVALID_ARGUMENT, ... ST_COUNT } */

#include <stdbool.h>

/* Functions whose result must be looked at. */
#define MUST_USE __attribute__((warn_unused_result))

/* Facts about one status; all strings are static. */
struct status_info {
	const char *name; /* as in errors.txt: "not_found" */
	const char *text; /* one sentence */
	int http;         /* HTTP status */
	bool retryable;   /* the same call may succeed later without a change */
};

/* Never NULL: an unknown number gives the facts of ST_INTERNAL. Any thread. */
const struct status_info *status_info(int status);

/* Short for status_info(status)->name. */
const char *status_name(int status);
