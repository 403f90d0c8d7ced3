/* Cross-origin requests (the Fetch standard's CORS protocol), by the policy of the exchange's mount. Any thread. */
#pragma once

#include "front/mount.h"

/* Adds what the page of an allowed origin needs to read the answer. Nothing while the mount allows no origin. */
void cors_allow(struct exchange *exchange);

/* Answers OPTIONS of an allowed origin that asks for a method: 204, or exchange->failure where there is no such path. False when the
 * request is nothing of the kind. */
bool cors_preflight(struct exchange *exchange);
