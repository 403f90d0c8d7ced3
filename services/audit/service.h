/* The audit service: its state and its handlers. */
#pragma once

#include "appender.h"
#include "audit_handlers.gen.h"
#include "process/process.h"

extern const struct service audit_service;

/* service_run.state */
struct audit_state {
	struct appender *appender;
};
