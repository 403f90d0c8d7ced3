/* What a dialect is: routes as data, pure mapping functions, and its own shape of errors. A dialect knows neither the HTTP
 * server nor the bus; the loop around the routes (pipeline.c) does everything else. */
#pragma once

#include "bus/method.h"
#include "dialects/credential.h"

#include <stdatomic.h>

/* Whose budget a request is taken from (front/limits.h). */
enum rate_class {
	RATE_CALLER,  /* of who asks: a key, an account; the address where nobody is known */
	RATE_ADDRESS, /* of the address, whoever asks, before it is known */
	RATE_NONE,    /* none: what must be answered always */
};

/* A row of a dialect's table. */
struct dialect_route {
	const char *verb;       /* "GET"; HEAD is answered from GET */
	const char *path;       /* "/v1/users/{user_id}" */
	uint32_t method;        /* M_...: what it calls; 0 = no method of the contract */
	unsigned accepts;       /* CALLER_BITs of who may call; 0 = a public route */
	const char *permission; /* "users:read"; "none" = whoever is accepted */
	enum rate_class rate;
	bool credential_in_body; /* the caller is known only when the body is read */
	/* Builds the message to send from path, query, headers and body. NULL with a row that has answer. On failure it has called
	 * http_fail. */
	enum status (*map_in)(struct exchange *exchange, ProtobufCMessage **ret_request);
	/* Prints the reply: status, headers, body; or calls http_fail. */
	void (*map_out)(struct exchange *exchange, const ProtobufCMessage *reply);
	/* Answers without map_in and map_out: fills exchange->response, or exchange->failure. */
	void (*answer)(struct exchange *exchange);
};

/* What pages of other origins may do; which origins, the settings say. */
struct dialect_cors {
	const char *headers; /* of requests, beyond those that are always allowed; NULL = none */
	const char *exposed; /* of answers; NULL = none */
	bool credentials;    /* cookies, for listed origins */
	int max_age_sec;     /* how long a preflight is remembered */
};

struct dialect {
	const char *name; /* "descope"; also where it is mounted: /descope */
	/* The paths that are its own at every host, ended by NULL; its routes lie under them. { "" } = all that no other takes. */
	const char *const *roots;
	bool lenient_slashes; /* "//a/" is "/a"; else it is refused */
	struct dialect_cors cors;
	const struct dialect_route *routes; /* ended by a row without verb; NULL = none */
	/* Makes the row of a method of the contract; false = it has none. NULL = the dialect has only the rows above. */
	bool (*method_route)(const struct method *method, struct dialect_route *ret_row);
	/* Finds what the request presents, without looking anything up. False when there is nothing acceptable. */
	bool (*credential)(struct exchange *exchange, struct credential *ret_credential);
	/* Prints exchange->failure: status, headers, body. */
	void (*print_failure)(struct exchange *exchange);
};

#define ROUTE_STATUSES 24

/* A row as it is served, compiled once (front/route.c); immutable while requests are served, but for its histograms. */
struct route {
	struct dialect_route row;
	const struct dialect *dialect;
	const struct method *method;         /* NULL = no method of the contract */
	uint64_t permission;                 /* bit of row.permission; 0 = none */
	const char *params[HTTP_PARAMS_MAX]; /* names, in the order of the path */
	_Atomic(struct metric *) seconds[ROUTE_STATUSES];
};

extern const struct dialect native_dialect, descope_dialect;
