/* From an exchange to the bus: who asks, trace, operation id, and failures back. Any thread. */
#pragma once

#include "bus/client.h"
#include "http/request.h"

/* Sends request as the exchange's caller and waits. On failure exchange->failure is filled (field, reason, retry). A write
 * carries the operation id of the Idempotency-Key header, or a fresh one. */
MUST_USE enum status upstream_send(struct exchange *exchange, uint32_t method, const ProtobufCMessage *request,
                                   ProtobufCMessage **ret_reply);

/* The operation id of a request with an Idempotency-Key; a fresh one without. ST_INVALID_ARGUMENT (failure filled) when the header
 * is not 1 to 255 visible ASCII characters. ret_keyed tells whether there was one. */
MUST_USE enum status upstream_operation(struct exchange *exchange, uint32_t method, struct id *ret_operation,
                                        bool *ret_keyed);
