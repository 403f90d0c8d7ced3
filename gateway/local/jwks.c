/* GET /v1/projects/{project_id}/jwks.json, answered from memory; anyone may ask, and keep the answer. */
#include "local/local.h"

#include "tokens/keyset.h"

#include <string.h>

/* The key set of a project that is not held is read for a client that does not ask for too many projects that are none. */
static enum status jwks_find(struct exchange *exchange, struct keyset **ret_keys)
{
	struct gateway *gateway = exchange->gateway;
	struct keysets_want want = {0};
	uint32_t wait_ms = keysets_holds(gateway->keysets, &exchange->caller.project)
	                       ? 0
	                       : limiter_take_address(gateway->failure_limiter, exchange->client, 0);
	if (wait_ms > 0) {
		(void)http_fail(exchange, ST_THROTTLED, NULL, NULL);
		exchange->failure.retry_after_ms = wait_ms;
		return ST_THROTTLED;
	}
	enum status status = keysets_get(gateway->keysets, exchange, &want, ret_keys);
	if (status == ST_NOT_FOUND)
		(void)limiter_take_address(gateway->failure_limiter, exchange->client, 1);
	return status;
}

void jwks_serve(struct exchange *exchange)
{
	ProtobufCMessage *message = NULL;
	struct keyset *keys = NULL;
	if (exchange->route->row.map_in(exchange, &message) != ST_OK || jwks_find(exchange, &keys) != ST_OK)
		return;
	if (!http_cache(exchange, exchange->route->method->cache_sec, keyset_tag(keys))) {
		const struct buf *document = keyset_document(keys);
		exchange->response.status = 200;
		exchange->response.content_type = "application/json";
		buf_add(&exchange->response.body, document->data, document->len);
	}
	keyset_release(&keys);
}
