/* The gateway as a subscriber of the ledger: revocations, revoked keys, rotated signing keys. */
#pragma once

#include "front/gateway.h"

/* Starts following events not older than revocation_keep_sec; loop's thread, before loop_run. */
struct follow *ledger_follow(struct gateway *gateway, struct loop *loop, int64_t lifetime_sec);
