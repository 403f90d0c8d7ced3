/* From an exchange to the bus: who asks, trace, operation id, and failures back. Any thread. */
#pragma once

#include "bus/client.h"
#include "http/request.h"

/* Sends request as the exchange's caller and waits. On failure exchange->failure is filled (field, reason, retry). A write
 * carries the operation id of the Idempotency-Key header, or a fresh one: it is step 0 of its request. */
MUST_USE enum status upstream_send(struct exchange *exchange, uint32_t method, const ProtobufCMessage *request,
                                   ProtobufCMessage **ret_reply);

/* One of several calls for one request. Two writes of one method need two numbers: the operation id is derived from the request's and the
 * number, so that a repeated request repeats neither and mistakes none for the other. A step keeps its number, whatever ran before it. */
struct upstream_step {
	uint32_t method;
	unsigned number;
	const ProtobufCMessage *request;
	/* filled */
	enum status status;
	ProtobufCMessage *reply;
};

/* One step, waited for. */
MUST_USE enum status upstream_step(struct exchange *exchange, struct upstream_step *step);

/* All side by side, waited for together. Gives the status of the first, by place, that failed; exchange->failure is its. */
MUST_USE enum status upstream_steps(struct exchange *exchange, struct upstream_step *steps, size_t count);

/* The operation id of a step: that of the request with an Idempotency-Key, fresh without. ST_INVALID_ARGUMENT (failure filled) when the
 * header is not 1 to 255 visible ASCII characters. ret_keyed tells whether there was one. */
MUST_USE enum status upstream_operation(struct exchange *exchange, const struct upstream_step *step,
                                        struct id *ret_operation, bool *ret_keyed);
