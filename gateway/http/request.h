/* One HTTP request and its answer, free of the HTTP server's types. Everything lives as long as the exchange. */
#pragma once

#include "base/address.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/secret.h"
#include "base/status.h"
#include "http/caller.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEADERS_MAX 64
#define HTTP_PARAMS_MAX 8
#define HTTP_REQUEST_ID_SIZE 33

struct client;
struct gateway;
struct mount;
struct route;

struct http_header {
	const char *name;
	const char *value;
};

enum http_read {
	HTTP_READ_END = 0,
	HTTP_READ_BROKEN = -1,    /* the peer broke off */
	HTTP_READ_SLOW = -2,      /* the body came too slowly */
	HTTP_READ_MALFORMED = -3, /* not the chunked coding */
};

/* The length of a body that only its chunks tell. */
#define HTTP_LENGTH_CHUNKED (-1)

/* A header field of an answer. */
struct http_field {
	struct http_field *next;
	const char *name;
	const char *value;
};

/* The connection behind a request; implemented by server.c. */
struct http_io {
	/* Reads at least one and at most len_bytes of the body. Returns the bytes read, or an enum http_read; the end is only told of a chunked
	 * body. Answers "Expect: 100-continue" at the first call. */
	int (*read)(void *arg, void *ret_data, size_t len_bytes);
	/* Writes all bytes; false when the peer is gone or too slow. */
	bool (*write)(void *arg, const void *data, size_t len_bytes);
	void *arg;
};

struct http_request {
	const char *verb;  /* "GET" */
	const char *path;  /* as received, without the query: starts with '/', still percent-encoded */
	const char *query; /* as received, without '?'; NULL = none */
	bool http_1_0;
	struct http_header headers[HTTP_HEADERS_MAX];
	size_t header_count;
	const char *peer;   /* address of the TCP peer */
	bool empty_segment; /* the path has one, as "//" or a slash at its end; filled by the guard */
	int64_t
	    content_length; /* 0 when there is no body, HTTP_LENGTH_CHUNKED when its chunks tell; filled by the guard */
	struct http_io io;
};

struct http_response {
	int status;                             /* 0 = nothing was decided yet */
	const char *content_type;               /* NULL = no body */
	struct http_field *fields, *last_field; /* in the order they were added; in the arena */
	bool unprintable;                       /* a header field could not be added: the answer becomes 500 */
	struct buf body;
	unsigned max_age_sec; /* anyone may keep the answer for so long; 0 = nobody */
	bool close;           /* the connection ends after this answer */
	bool started;         /* streaming: the head was sent, body pieces follow by http_send_piece */
	bool broken;          /* streaming: the peer is gone */
};

/* Why a request is refused; printed by the mount's dialect. */
struct failure {
	enum status status;
	const char *field;  /* NULL = none */
	const char *reason; /* NULL = the status's text */
	uint32_t retry_after_ms;
	const char *allow; /* value of the Allow header with ST_METHOD_NOT_ALLOWED */
};

struct http_param {
	const char *name;
	const char *value; /* percent-decoded, valid UTF-8, in the arena */
};

/* One request on its way through the gateway. Owned by server.c, reused for later requests. */
struct exchange {
	struct gateway *gateway;
	struct client *services; /* the way to them */
	struct http_request request;
	struct http_response response;
	struct arena *arena;
	const struct mount *mount; /* who answers; chosen first */
	const char *path;          /* the part of request.path that the routes of the mount see */
	const struct route *route; /* NULL until found */
	struct http_param params[HTTP_PARAMS_MAX];
	size_t param_count;
	struct caller caller;
	const char *client; /* address of the client: the peer, or what a trusted proxy says */
	uint8_t trace[16];
	char request_id[HTTP_REQUEST_ID_SIZE];
	struct failure failure;
	struct buf body;   /* of the request, once read */
	int64_t body_left; /* bytes of it that were not read yet; INT64_MAX = unknown */
	int64_t body_room; /* how many more are taken */
	bool draining;     /* the process is leaving: every connection ends after its answer */
	int64_t started_us;
	uint64_t seed; /* for trace ids */
};

/* Value of the first header with this name, in any case; NULL when absent. */
const char *http_header_find(const struct http_request *request, const char *name);

/* The client's address: the peer's, or what trusted proxies say in X-Forwarded-For, or without that in Forwarded. */
void http_client(const struct http_request *request, const struct address_list *trusted,
                 char ret_text[ADDRESS_TEXT_SIZE]);

/* Decoded path parameter; NULL when the route has none of this name. */
const char *http_param_find(const struct exchange *exchange, const char *name);

/* Adds a header field to the answer, beside others of its name (Set-Cookie). name is static; value is copied to the arena. Without memory, or when
 * value holds control bytes, the answer becomes 500. */
void http_header_add(struct exchange *exchange, const char *name, const char *value);

/* Adds ETag; tag has its quotes. True when If-None-Match names it. */
bool http_tag(struct exchange *exchange, const char *tag);

/* For an answer that anyone may keep for max_age_sec: adds Cache-Control and ETag. True when the client has it already: the answer is
 * 304 then. */
bool http_cache(struct exchange *exchange, unsigned max_age_sec, const char *tag);

/* Sets trace and request id from a valid W3C traceparent, else from a fresh id. */
void http_trace_begin(struct exchange *exchange);

/* Says how long the body may be, before it is read. ST_CONTENT_TOO_LARGE when it declares to be longer; the answer then closes the connection. */
MUST_USE enum status http_limit_body(struct exchange *exchange, int64_t max_bytes);

/* Reads up to len_bytes of what is left of the body. Returns the bytes read, 0 at its end. -1 = it broke off, came too slowly or grew too
 * long: that is recorded as the failure, and the answer closes the connection. */
int http_read_piece(struct exchange *exchange, void *ret_data, size_t len_bytes);

/* Reads the whole body into exchange->body. ST_CONTENT_TOO_LARGE above max_bytes, ST_MALFORMED_REQUEST when it ends
 * early, ST_REQUEST_TIMEOUT when it is too slow. On failure the answer closes the connection. */
MUST_USE enum status http_read_body(struct exchange *exchange, int64_t max_bytes);

/* Reads and forgets a small body that nobody wants, so that the connection stays usable; a large one ends it. */
void http_drop_body(struct exchange *exchange);

/* Decodes percent-encoding (and '+' as a blank when `form`) into the arena; NULL when malformed or not valid UTF-8. */
const char *http_decode(struct arena *arena, const char *text, size_t len_chars, bool form);

/* Records a refusal and returns status. reason and field are borrowed for the exchange. */
enum status http_fail(struct exchange *exchange, enum status status, const char *field, const char *reason);

/* Appends the status line and all headers to out. body_len -1 = chunked, or up to the end of the connection with HTTP/1.0. Date is now. */
void http_print_head(struct exchange *exchange, int64_t body_len, struct buf *out);

/* Streaming answers: sends the head with chunked framing (HTTP/1.0: none), then pieces, then the end. After a failure the rest is ignored
 * and response.broken is set. */
void http_send_head(struct exchange *exchange);
void http_send_piece(struct exchange *exchange, const void *data, size_t len_bytes);
void http_send_end(struct exchange *exchange);
