/* The audit service: its state and its handlers. */
#pragma once

#include "audit_handlers.gen.h"
#include "ledger.h"
#include "process/process.h"

extern const struct service audit_service;

/* service_run.state */
struct audit_state {
	struct ledger *ledger;
};

/* One handler per rpc of proto/audit.proto. */

/* How a handler's statements run: on the process's database, in the call's arena, until its deadline. */
struct store_call service_store_call(const struct call *call);
