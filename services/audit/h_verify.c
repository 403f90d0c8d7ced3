/* Verify: recomputes the hash chain of a project, page by page, and compares its end with the head row. */
#include "audit.pb-c.h"
#include "service.h"
#include "verify.h"

enum status h_verify_chain(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	const Audit__VerifyRequest *ask = (const Audit__VerifyRequest *)request;
	Audit__VerifyReply *answer = (Audit__VerifyReply *)reply;
	struct store_call store = service_store_call(call);
	struct verdict verdict = {0};
	if (id_is_zero(&call->project))
		return call_fail(call, ST_INVALID_ARGUMENT, "", "the call has no project");
	if (ask->after < 0)
		return call_fail(call, ST_INVALID_ARGUMENT, "after", "must not be negative");
	enum status status = verify_chain(&store, &call->project, ask->after, &verdict);
	if (status == ST_NOT_FOUND)
		return call_fail(call, ST_INVALID_ARGUMENT, "after", "is beyond the newest event");
	if (status != ST_OK)
		return status;
	uint8_t *hash = arena_memdup(call->arena, verdict.head.hash, SHA256_SIZE);
	if (!hash)
		return ST_RESOURCE_EXHAUSTED;
	answer->has_ok = answer->has_checked = answer->has_head = answer->has_head_hash = true;
	answer->ok = verdict.complete && verdict.chain.first_bad == 0;
	answer->checked = verdict.chain.checked;
	answer->head = verdict.head.seq;
	answer->head_hash = (ProtobufCBinaryData){SHA256_SIZE, hash};
	answer->has_first_bad = verdict.chain.first_bad != 0;
	answer->first_bad = verdict.chain.first_bad;
	if (verdict.chain.first_bad)
		answer->reason = arena_strdup(call->arena, verdict.chain.reason);
	else if (!verdict.complete)
		answer->reason = arena_printf(call->arena, "good so far, but the time ran out; go on with after=%lld",
		                              (long long)verdict.chain.seq);
	return ST_OK;
}
