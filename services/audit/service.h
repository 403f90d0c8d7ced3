/* The audit service: its state and its handlers. */
#pragma once

#include "ledger.h"
#include "process/process.h"

extern const struct service audit_service;

/* service_run.state */
struct audit_state {
	struct ledger *ledger;
};

/* One handler per rpc of proto/audit.proto. */
enum status h_append_events(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply);
enum status h_read_events(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply);
enum status h_read_stream(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply);
enum status h_verify_chain(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply);

/* How a handler's statements run: on the process's database, in the call's arena, until its deadline. */
struct store_call service_store_call(const struct call *call);
