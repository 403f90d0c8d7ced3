/* From an exchange to the bus and back. */
#include "calls/upstream.h"

#include <string.h>

#define IDEMPOTENCY_KEY_MAX 255

static bool upstream_key_valid(const char *key)
{
	size_t len = strlen(key);
	if (len == 0 || len > IDEMPOTENCY_KEY_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (key[i] <= 0x20 || key[i] >= 0x7f)
			return false;
	}
	return true;
}

enum status upstream_operation(struct exchange *exchange, uint32_t method, struct id *ret_operation, bool *ret_keyed)
{
	const char *key = http_header_find(&exchange->request, "Idempotency-Key");
	uint8_t hash[SHA256_SIZE];
	*ret_keyed = key != NULL;
	if (key == NULL) {
		*ret_operation = id_new();
		return ST_OK;
	}
	if (!upstream_key_valid(key))
		return http_fail(exchange, ST_INVALID_ARGUMENT, "Idempotency-Key",
		                 "Idempotency-Key must be 1 to 255 visible ASCII characters");
	const struct secret_piece pieces[] = {
	    {exchange->caller.project.bytes, ID_SIZE}, {&method, sizeof(method)}, {key, strlen(key)}};
	secret_sha256_pieces(pieces, 3, hash);
	memcpy(ret_operation->bytes, hash, ID_SIZE);
	return ST_OK;
}

/* What makes two requests with one key the same request. It is kept for a day beside the change, and a body may hold a password:
 * so the hash is keyed with the Idempotency-Key, of which only a hash is kept. */
static void upstream_request_hash(const struct exchange *exchange, uint8_t ret_hash[SHA256_SIZE])
{
	const struct http_request *request = &exchange->request;
	const char *query = request->query != NULL ? request->query : "";
	const char *match = http_header_find(request, "If-Match");
	match = match != NULL ? match : "";
	const struct secret_piece pieces[] = {{request->verb, strlen(request->verb) + 1},
	                                      {request->path, strlen(request->path) + 1},
	                                      {query, strlen(query) + 1},
	                                      {match, strlen(match) + 1},
	                                      {exchange->body.data, exchange->body.len}};
	uint8_t plain[SHA256_SIZE];
	const char *key = http_header_find(request, "Idempotency-Key");
	secret_sha256_pieces(pieces, sizeof(pieces) / sizeof(pieces[0]), plain);
	secret_hmac_sha256(key, strlen(key), plain, sizeof(plain), ret_hash);
}

enum status upstream_send(struct exchange *exchange, uint32_t method, const ProtobufCMessage *request,
                          ProtobufCMessage **ret_reply)
{
	struct client_call call = {.project = exchange->caller.project, .actor = caller_actor(&exchange->caller)};
	uint8_t hash[SHA256_SIZE];
	const struct method *facts = method_find(method);
	memcpy(call.trace, exchange->trace, sizeof(call.trace));
	if (facts->write) {
		bool keyed = false;
		enum status status = upstream_operation(exchange, method, &call.operation, &keyed);
		if (status != ST_OK)
			return status;
		if (keyed) {
			upstream_request_hash(exchange, hash);
			call.operation_hash = hash;
		}
	}
	enum status status = client_send(exchange->services, &call, method, request, exchange->arena, ret_reply);
	if (status != ST_OK) {
		(void)http_fail(exchange, status, call.ret_field, call.ret_reason);
		exchange->failure.retry_after_ms = call.ret_retry_after_ms;
	}
	return status;
}
