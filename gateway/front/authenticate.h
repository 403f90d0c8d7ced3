/* From what a request presents to who asks. */
#pragma once

#include "http/request.h"

/* Lets the mount's dialect find the credential, verifies it by its kind and fills exchange->caller with one that the route accepts.
 * ST_UNAUTHENTICATED, ST_INVALID_TOKEN, ST_ACCOUNT_DISABLED, ST_THROTTLED, or the bus's failure; exchange->failure is filled and the caller is
 * nobody. Any thread. */
MUST_USE enum status authenticate(struct exchange *exchange);
