/* The HTTP server: the only file that knows civetweb. Reads requests through the guard, hands them on as exchanges, writes each
 * answer with one write, ends slow connections, drains. */
#pragma once

#include "http/request.h"

struct http_server;

struct http_server_options {
	const char *address; /* IPv4 address to listen on; "" = all */
	int port;
	int threads;       /* connections served at once, idle ones included */
	int keep_alive_ms; /* an idle connection is closed after this */
	int64_t
	    body_max_bytes; /* bodies up to this must bring 32 bytes a second in each 10 s, larger ones (streams) in each 30 s */
	int address_share_percent; /* of the connections that one address (IPv6: /64) may have when all are taken */
	const struct address_list *proxies; /* have no such share; borrowed */
	const char *const *always;          /* paths that are answered even then; ends with NULL */
	struct gateway *gateway;
	/* Fills exchange->response. Called on a server thread, many at once. */
	void (*handle)(struct exchange *exchange);
	/* Fills exchange->response for a request that the guard refuses (reason may be NULL). The connection ends unless it sets
	 * response.close to false, which it may after ST_METHOD_NOT_ALLOWED. */
	void (*refuse)(struct exchange *exchange, enum status status, const char *reason);
};

/* How many threads this many descriptors are enough for, at most `wanted`, at least 4. */
int http_server_threads(int wanted, int64_t descriptors);

/* Starts listening. ST_UNAVAILABLE (logged) when the port is taken or threads cannot be made. options are copied, their text is
 * borrowed. */
MUST_USE enum status http_server_start(const struct http_server_options *options, struct http_server **ret_server);

/* Every answer ends its connection from now on. Goes on listening for min_ms, so that a proxy sees /readyz fail; then refuses new
 * connections and waits until nobody is connected, or no request has been in flight for 250 ms; at most 10 s in all. */
void http_server_drain(struct http_server *server, int min_ms);

/* Stops listening, ends all threads, frees. Up to 2 s. */
void http_server_stop(struct http_server **server);

/* Requests being answered now. Any thread. */
int http_server_in_flight(const struct http_server *server);
