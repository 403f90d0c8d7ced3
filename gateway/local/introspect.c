/* POST /v1/tokens/introspect (RFC 7662), answered here (tokens/token_check.h). */
#include "local/local.h"

#include "gateway.pb-c.h"
#include "json/pbjson.h"

static enum status introspect_run(struct exchange *exchange)
{
	struct gateway *gateway = exchange->gateway;
	ProtobufCMessage *message = NULL;
	struct token_state state;
	enum status status = exchange->route->row.map_in(exchange, &message);
	if (status != ST_OK)
		return status;
	const char *token = ((const Gateway__IntrospectRequest *)message)->token;
	if (!token || token[0] == '\0')
		return http_fail(exchange, ST_INVALID_ARGUMENT, "token", "The token to check is missing");
	return token_check(gateway->tokens, exchange, token, &state, &exchange->response.body);
}

void introspect_serve(struct exchange *exchange)
{
	enum status status = introspect_run(exchange);
	if (status == ST_INVALID_TOKEN) {
		Gateway__IntrospectReply inactive = GATEWAY__INTROSPECT_REPLY__INIT;
		inactive.has_active = 1;
		buf_reset(&exchange->response.body);
		pbjson_print(&inactive.base, &exchange->response.body);
		exchange->failure = (struct failure){0};
		status = ST_OK;
	}
	if (status == ST_OK) {
		exchange->response.status = 200;
		exchange->response.content_type = "application/json";
	} else if (exchange->failure.status == ST_OK) {
		(void)http_fail(exchange, status, NULL, NULL);
	}
}
