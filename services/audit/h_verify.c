/* Verify: recomputes the hash chain of a project, page by page, and compares its end with the head row. */
#include "audit.pb-c.h"
#include "service.h"
#include "verify.h"

enum status h_verify(struct call *call, const Audit__VerifyRequest *request, Audit__VerifyReply *reply)
{
	struct sql_scope scope = call_sql(call);
	struct verdict verdict = {0};
	if (id_is_zero(&call->project))
		return call_fail(call, ST_INVALID_ARGUMENT, "", "the call has no project");
	if (request->after < 0)
		return call_fail(call, ST_INVALID_ARGUMENT, "after", "must not be negative");
	enum status status = verify_chain(&scope, &call->project, request->after, &verdict);
	if (status == ST_NOT_FOUND)
		return call_fail(call, ST_INVALID_ARGUMENT, "after", "is beyond the newest event");
	if (status != ST_OK)
		return status;
	uint8_t *hash = arena_memdup(call->arena, verdict.head.hash, SHA256_SIZE);
	if (!hash)
		return ST_RESOURCE_EXHAUSTED;
	reply->has_ok = reply->has_checked = reply->has_head = reply->has_head_hash = true;
	reply->ok = verdict.complete && verdict.chain.first_bad == 0;
	reply->checked = verdict.chain.checked;
	reply->head = verdict.head.seq;
	reply->head_hash = (ProtobufCBinaryData){SHA256_SIZE, hash};
	reply->has_first_bad = verdict.chain.first_bad != 0;
	reply->first_bad = verdict.chain.first_bad;
	if (verdict.chain.first_bad)
		reply->reason = arena_strdup(call->arena, verdict.chain.reason);
	else if (!verdict.complete)
		reply->reason = arena_printf(call->arena, "good so far, but the time ran out; go on with after=%lld",
		                             (long long)verdict.chain.seq);
	return ST_OK;
}
