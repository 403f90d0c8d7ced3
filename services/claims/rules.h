/* What custom claims may look like. Pure: no store, no bus, no log. */
#pragma once

#include "base/status.h"
#include "json/jvalue.h"

#define CLAIMS_MAX_BYTES 4096 /* of the compact JSON, braces included */

/* Why a document was refused; both strings are static. */
struct claims_fault {
	const char *field;  /* "claims", or "claims.<name>" for a reserved name */
	const char *reason; /* one sentence */
};

/* Checks a JSON object whose compact text has len_bytes: size, reserved names at the top level, no empty names at any level.
 * ST_CLAIMS_TOO_LARGE or ST_INVALID_ARGUMENT fill *ret_fault. */
MUST_USE enum status rules_check_claims(const struct jvalue *claims, size_t len_bytes, struct claims_fault *ret_fault);
