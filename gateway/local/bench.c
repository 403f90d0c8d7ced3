/* Routes that only measure, present with DENIZEN_BENCH_ROUTES=1: the bare server, and the bare hop through a service. */
#include "local/local.h"

#include "json/pbjson.h"

static void bench_serve_hello(struct exchange *exchange)
{
	exchange->response.status = 200;
	exchange->response.content_type = "application/json";
	buf_add_str(&exchange->response.body, "{\"hello\":\"world\"}");
}

static void bench_serve_echo(struct exchange *exchange)
{
	ProtobufCMessage *reply = NULL;
	enum status status =
	    client_send_replica(exchange->gateway->client, PROCESS_IDENTITY, 0, M_COMMON_ECHO, exchange->arena, &reply);
	if (status != ST_OK) {
		(void)http_fail(exchange, status, NULL, NULL);
		return;
	}
	exchange->response.status = 200;
	exchange->response.content_type = "application/json";
	pbjson_print(reply, &exchange->response.body);
}

const struct dialect_route bench_routes[] = {
    {.verb = "GET", .path = "/bench/hello", .rate = RATE_NONE, .permission = "none", .answer = bench_serve_hello},
    {.verb = "GET", .path = "/bench/echo", .rate = RATE_NONE, .permission = "none", .answer = bench_serve_echo},
    {0},
};
