/* From an exchange to the bus and back. */
#include "calls/upstream.h"

#include <stdio.h>
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

enum status upstream_operation(struct exchange *exchange, const struct upstream_step *step, struct id *ret_operation,
                               bool *ret_keyed)
{
	const char *key = http_header_find(&exchange->request, "Idempotency-Key");
	uint8_t hash[SHA256_SIZE];
	*ret_keyed = key;
	if (!key) {
		*ret_operation = id_new();
		return ST_OK;
	}
	if (!upstream_key_valid(key))
		return http_fail(exchange, ST_INVALID_ARGUMENT, "Idempotency-Key",
		                 "Idempotency-Key must be 1 to 255 visible ASCII characters");
	const struct secret_piece pieces[] = {
	    {exchange->caller.project.bytes, ID_SIZE}, {&step->method, sizeof(step->method)}, {key, strlen(key)}};
	secret_sha256_pieces(pieces, 3, hash);
	memcpy(ret_operation->bytes, hash, ID_SIZE);
	if (step->number > 0) {
		char label[32];
		snprintf(label, sizeof(label), "step-%u", step->number);
		*ret_operation = id_derive(ret_operation, label);
	}
	return ST_OK;
}

/* What makes two requests with one key the same request. It is kept for a day beside the change, and a body may hold a password:
 * so the hash is keyed with the Idempotency-Key, of which only a hash is kept. */
static void upstream_request_hash(const struct exchange *exchange, uint8_t ret_hash[SHA256_SIZE])
{
	const struct http_request *request = &exchange->request;
	const char *query = request->query ? request->query : "";
	const char *match = http_header_find(request, "If-Match");
	match = match ? match : "";
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

/* Fills what the call of a step carries; hash is memory for its operation_hash. */
static enum status upstream_prepare(struct exchange *exchange, const struct upstream_step *step,
                                    uint8_t hash[SHA256_SIZE], struct client_call *ret_call)
{
	const struct method *facts = method_find(step->method);
	bool keyed = false;
	*ret_call = (struct client_call){.project = exchange->caller.project, .actor = caller_actor(&exchange->caller)};
	memcpy(ret_call->trace, exchange->trace, sizeof(ret_call->trace));
	if (!facts || !facts->write)
		return ST_OK;
	enum status status = upstream_operation(exchange, step, &ret_call->operation, &keyed);
	if (status == ST_OK && keyed) {
		upstream_request_hash(exchange, hash);
		ret_call->operation_hash = hash;
	}
	return status;
}

static enum status upstream_fail(struct exchange *exchange, enum status status, const struct client_call *call)
{
	(void)http_fail(exchange, status, call->ret_field, call->ret_reason);
	exchange->failure.retry_after_ms = call->ret_retry_after_ms;
	return status;
}

enum status upstream_step(struct exchange *exchange, struct upstream_step *step)
{
	struct client_call call;
	uint8_t hash[SHA256_SIZE];
	step->status = upstream_prepare(exchange, step, hash, &call);
	if (step->status != ST_OK)
		return step->status;
	step->status =
	    client_send(exchange->services, &call, step->method, step->request, exchange->arena, &step->reply);
	return step->status == ST_OK ? ST_OK : upstream_fail(exchange, step->status, &call);
}

enum status upstream_send(struct exchange *exchange, uint32_t method, const ProtobufCMessage *request,
                          ProtobufCMessage **ret_reply)
{
	struct upstream_step step = {.method = method, .request = request};
	enum status status = upstream_step(exchange, &step);
	if (status == ST_OK)
		*ret_reply = step.reply;
	return status;
}

enum status upstream_steps(struct exchange *exchange, struct upstream_step *steps, size_t count)
{
	struct client_part *parts = arena_alloc(exchange->arena, count * sizeof(*parts));
	uint8_t(*hashes)[SHA256_SIZE] = arena_alloc(exchange->arena, count * sizeof(*hashes));
	if (count > 0 && (!parts || !hashes))
		return http_fail(exchange, ST_UNAVAILABLE, NULL, "The gateway is out of memory");
	for (size_t i = 0; i < count; i++) {
		enum status status = upstream_prepare(exchange, &steps[i], hashes[i], &parts[i].call);
		if (status != ST_OK)
			return status;
		parts[i].method = steps[i].method;
		parts[i].request = steps[i].request;
		parts[i].arena = exchange->arena;
	}
	client_send_many(exchange->services, parts, count);
	enum status first = ST_OK;
	for (size_t i = 0; i < count; i++) {
		steps[i].status = parts[i].status;
		steps[i].reply = parts[i].reply;
		if (first == ST_OK && steps[i].status != ST_OK)
			first = upstream_fail(exchange, steps[i].status, &parts[i].call);
	}
	return first;
}
