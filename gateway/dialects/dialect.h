/* What a dialect is: routes as data, pure mapping functions, and its own shape of errors. A dialect knows neither the HTTP
 * server nor the bus; the loop around the routes (pipeline.c) does everything else. */
#pragma once

#include "bus/method.h"
#include "http/request.h"

struct dialect_route {
	const char *verb; /* "GET"; HEAD is answered from GET */
	const char *path; /* "/v1/users/{user_id}" */
	const struct dialect *dialect;
	const struct method *method; /* what it calls */
	const char *permission;      /* "users:read"; "none" = public */
	/* Builds the message to send from path, query, headers and body. NULL with a local route. On failure it has called
	 * http_fail. */
	enum status (*map_in)(struct exchange *exchange, ProtobufCMessage **ret_request);
	/* Prints the reply: status, headers, body. */
	void (*map_out)(struct exchange *exchange, const ProtobufCMessage *reply);
	/* Answers without map_in and map_out; set by the gateway for methods that it implements itself. */
	void (*serve)(struct exchange *exchange);
};

struct dialect {
	const char *name;
	/* Prints exchange->failure: status, headers, body. */
	void (*print_failure)(struct exchange *exchange);
};

/* Appends the native API's routes, one per method that declares a path. Returns how many there are; writes at most max. */
size_t native_routes(struct dialect_route *ret_routes, size_t max);
extern const struct dialect native_dialect;
