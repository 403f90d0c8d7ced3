/* The HTTP server over civetweb 1.15: everything happens in begin_request; see docs for the traps that are avoided here. */
#include "http/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/chunked.h"
#include "http/guard.h"
#include "http/places.h"
#include "http/problem.h"

#include <civetweb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define ARENA_CAP_BYTES (64UL * 1024 * 1024)
#define KEEP_BUFFER_BYTES (128UL * 1024)
#define BODY_WINDOW_US (10 * US_PER_SEC)
#define STREAM_WINDOW_US (30 * US_PER_SEC)
#define POLL_MS 250
#define READER_STALL_US (60 * US_PER_SEC)
#define DRAIN_MAX_US (10 * US_PER_SEC)
#define DRAIN_QUIET_US (250 * US_PER_MS)
#define REQUEST_MAX_BYTES 16384 /* of a request line and its header fields */
#define QUEUE_MAX 256           /* connections that were accepted and wait for a thread */
#define OWN_DESCRIPTORS 128     /* the bus, logs, libraries */
#define THREADS_MIN 4

/* What one request needs; kept in a stack and used again. */
struct server_context {
	struct server_context *next;
	struct http_server *server;
	struct mg_connection *connection;
	struct place *place;
	const char *head_end; /* of the request, in the library's buffer */
	struct exchange exchange;
	struct buf out;
	struct chunked chunked;
	size_t raw;     /* bytes of a chunked body taken from the library's buffer */
	bool first;     /* request of its connection */
	bool continued; /* 100 Continue was sent */
};

struct http_server {
	struct http_server_options options;
	struct mg_context *http;
	struct places *places;
	pthread_mutex_t lock;
	struct server_context *spare;
	atomic_int in_flight;
	atomic_bool draining;
	atomic_bool stopping;
};

static struct server_context *server_context_take(struct http_server *server)
{
	pthread_mutex_lock(&server->lock);
	struct server_context *context = server->spare;
	if (context)
		server->spare = context->next;
	pthread_mutex_unlock(&server->lock);
	if (context)
		return context;
	context = calloc(1, sizeof(*context));
	if (!context)
		return NULL;
	context->server = server;
	context->exchange.arena = arena_new(ARENA_CAP_BYTES);
	if (!context->exchange.arena) {
		free(context);
		return NULL;
	}
	return context;
}

static void server_buffer_trim(struct buf *buffer)
{
	if (buffer->capacity > KEEP_BUFFER_BYTES || buffer->failed)
		buf_free(buffer);
	else
		buf_reset(buffer);
	buffer->max = 0;
}

/* Empties the context for the next request; passwords and tokens do not stay in its buffers, nor in the arena, which wipes itself. */
static void server_context_give(struct server_context *context)
{
	struct exchange *exchange = &context->exchange;
	struct http_server *server = context->server;
	struct arena *arena = exchange->arena;
	struct buf body = exchange->body;
	struct buf response = exchange->response.body;
	uint64_t seed = exchange->seed;
	if (body.len > 0)
		secret_wipe(body.data, body.len);
	if (response.len > 0)
		secret_wipe(response.data, response.len);
	if (context->out.len > 0)
		secret_wipe(context->out.data, context->out.len);
	server_buffer_trim(&body);
	server_buffer_trim(&response);
	server_buffer_trim(&context->out);
	arena_reset(arena);
	memset(exchange, 0, sizeof(*exchange));
	exchange->arena = arena;
	exchange->body = body;
	exchange->response.body = response;
	exchange->seed = seed;
	context->continued = false;
	context->raw = 0;
	memset(&context->chunked, 0, sizeof(context->chunked));
	pthread_mutex_lock(&server->lock);
	context->next = server->spare;
	server->spare = context;
	pthread_mutex_unlock(&server->lock);
}

/* civetweb gives up after 10 s in which the client took nothing. The reader of a streamed answer may be busy for longer with what it
 * has, as one that writes an export into a database. */
static bool server_write(void *arg, const void *data, size_t len_bytes)
{
	struct server_context *context = arg;
	const char *left = data;
	int64_t moved_us = clock_monotonic_us();
	for (;;) {
		int sent = mg_write(context->connection, left, len_bytes);
		if (sent == (int)len_bytes)
			return true;
		if (sent < 0 || !context->exchange.response.started || atomic_load(&context->server->draining))
			return false;
		int64_t now_us = clock_monotonic_us();
		if (sent > 0)
			moved_us = now_us;
		if (now_us - moved_us >= READER_STALL_US)
			return false;
		left += sent;
		len_bytes -= (size_t)sent;
	}
}

/* Whether reading goes on: the client keeps its pace, and the library was not stopped. */
static bool server_patient(const struct server_context *context)
{
	return !atomic_load(&context->place->cut) && !atomic_load(&context->server->stopping);
}

/* Fills data, as the library does unless nothing comes for 10 s, or it was stopped. */
static int server_read_plain(struct server_context *context, char *data, size_t len_bytes)
{
	size_t len = 0;
	for (;;) {
		int got = mg_read(context->connection, data + len, len_bytes - len);
		len += got > 0 ? (size_t)got : 0;
		if (len == len_bytes)
			return (int)len;
		if (got < 0 || (got == 0 && !server_patient(context)))
			return HTTP_READ_BROKEN;
	}
}

/* What the connection brings, past the library, which reads chunks its own way: first what its buffer holds behind the head, then from the
 * socket. Returns the bytes, or HTTP_READ_BROKEN. */
static int server_receive(struct server_context *context, char *data, size_t len_bytes)
{
	const struct wire *wire = &context->place->wire;
	struct pollfd socket = {.fd = atomic_load(&wire->fd), .events = POLLIN};
	size_t held = (size_t)(wire->end - context->head_end) - context->raw;
	if (held > 0) {
		size_t len = held < len_bytes ? held : len_bytes;
		memcpy(data, context->head_end + context->raw, len);
		context->raw += len;
		return (int)len;
	}
	while (poll(&socket, 1, POLL_MS) == 0 && server_patient(context))
		continue;
	ssize_t got = recv(socket.fd, data, len_bytes, MSG_DONTWAIT);
	return got > 0 ? (int)got : HTTP_READ_BROKEN;
}

static int server_read_chunked(struct server_context *context, char *data, size_t len_bytes)
{
	struct chunked *chunked = &context->chunked;
	size_t len = 0;
	while (len < len_bytes && chunked->state < CHUNKED_END) {
		int got = server_receive(context, data + len, len_bytes - len);
		if (got < 0)
			return got;
		len += chunked_decode(chunked, data + len, (size_t)got);
	}
	if (chunked->state == CHUNKED_BAD)
		return HTTP_READ_MALFORMED;
	return (int)len; /* 0 = CHUNKED_END */
}

/* civetweb's own time-out starts anew with every byte; the pace of a body is watched by its place. */
static int server_read(void *arg, void *ret_data, size_t len_bytes)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct server_context *context = arg;
	const struct exchange *exchange = &context->exchange;
	bool chunked = exchange->request.content_length == HTTP_LENGTH_CHUNKED;
	bool streams = exchange->body_room > context->server->options.body_max_bytes;
	if (!context->continued && http_header_find(&exchange->request, "Expect") &&
	    !server_write(context, go_on, sizeof(go_on) - 1))
		return HTTP_READ_BROKEN;
	context->continued = true;
	place_read(context->place, streams ? STREAM_WINDOW_US : BODY_WINDOW_US);
	int got = chunked ? server_read_chunked(context, ret_data, len_bytes)
	                  : server_read_plain(context, ret_data, len_bytes);
	place_read(context->place, 0);
	return got == HTTP_READ_BROKEN && atomic_load(&context->place->cut) ? HTTP_READ_SLOW : got;
}

static void server_request_fill(struct server_context *context, const struct mg_request_info *info)
{
	struct http_request *request = &context->exchange.request;
	request->verb = info->request_method;
	request->path = info->request_uri ? info->request_uri : "";
	request->query = info->query_string;
	request->http_1_0 = strcmp(info->http_version, "1.1") != 0;
	request->peer = info->remote_addr;
	request->header_count = info->num_headers < HTTP_HEADERS_MAX ? (size_t)info->num_headers : HTTP_HEADERS_MAX;
	for (size_t i = 0; i < request->header_count; i++)
		request->headers[i] = (struct http_header){info->http_headers[i].name, info->http_headers[i].value};
	request->io = (struct http_io){.read = server_read, .write = server_write, .arg = context};
}

/* Blanks behind a value are none of it (RFC 9112 section 5.1); civetweb takes only those before it away,
 * and refuses a tab itself. */
static void server_trim_values(struct exchange *exchange)
{
	for (size_t i = 0; i < exchange->request.header_count; i++) {
		struct http_header *header = &exchange->request.headers[i];
		size_t len = strlen(header->value), kept = len;
		while (kept > 0 && header->value[kept - 1] == ' ')
			kept--;
		const char *trimmed = kept < len ? arena_strndup(exchange->arena, header->value, kept) : NULL;
		if (trimmed)
			header->value = trimmed;
	}
}

static struct guard_verdict server_guard(struct server_context *context, const char *version)
{
	struct http_request *request = &context->exchange.request;
	context->head_end = request->header_count < HTTP_HEADERS_MAX ? guard_layout(request, version) : NULL;
	bool whole = context->head_end && wire_frames(&context->place->wire, request->verb, context->head_end);
	if (request->header_count < HTTP_HEADERS_MAX && !whole)
		return (struct guard_verdict){.status = ST_MALFORMED_REQUEST,
		                              .reason = "The header block is not well formed"};
	server_trim_values(&context->exchange);
	if (!guard_absolute(request))
		return (struct guard_verdict){.status = ST_MALFORMED_REQUEST,
		                              .reason = "The target names another host than the Host header field"};
	return guard_check(request);
}

/* Whether the connection ends after the answer. Its client may want that (RFC 9112 section 9.3); and civetweb does it to every client
 * that sends other options, such as Upgrade: unannounced, the next request would be sent into that end. */
static bool server_connection_ends(const struct http_request *request)
{
	bool named = false;
	for (size_t i = 0; i < request->header_count; i++) {
		if (strcasecmp(request->headers[i].name, "Connection") != 0)
			continue;
		if (strcasecmp(request->headers[i].value, "keep-alive") != 0)
			return true;
		named = true;
	}
	return request->http_1_0 && !named;
}

/* One write: head and body in one buffer. */
static void server_answer(struct server_context *context)
{
	struct exchange *exchange = &context->exchange;
	struct http_response *response = &exchange->response;
	bool head = strcmp(exchange->request.verb, "HEAD") == 0;
	bool bodiless = response->status == 204 || response->status == 304;
	if (response->started)
		return;
	response->close = response->close || exchange->draining;
	if (!buf_ok(&response->body) || response->status == 0 || response->unprintable) {
		response->fields = response->last_field = NULL;
		response->max_age_sec = 0;
		(void)http_fail(exchange, ST_INTERNAL, NULL, NULL);
		problem_print(exchange);
	}
	http_print_head(exchange, (int64_t)response->body.len, &context->out);
	if (!head && !bodiless)
		buf_add(&context->out, response->body.data, response->body.len);
	if (!buf_ok(&context->out) || !server_write(context, context->out.data, context->out.len))
		response->close = true;
}

/* Whether there is room for the connection, which is asked at its first request. Health is answered always. */
static bool server_admits(const struct server_context *context)
{
	const struct http_request *request = &context->exchange.request;
	bool always = false;
	for (const char *const *path = context->server->options.always; *path && !always; path++)
		always = strcmp(request->path, *path) == 0;
	return !context->first || place_admit(context->place, request->peer, always);
}

static void server_serve(struct server_context *context, const char *version)
{
	struct exchange *exchange = &context->exchange;
	struct guard_verdict verdict = server_guard(context, version);
	if (verdict.status == ST_OK && !server_admits(context))
		verdict =
		    (struct guard_verdict){.status = ST_UNAVAILABLE, .reason = "There is no room for more connections"};
	exchange->started_us = clock_monotonic_us();
	exchange->draining = atomic_load_explicit(&context->server->draining, memory_order_relaxed);
	exchange->gateway = context->server->options.gateway;
	http_trace_begin(exchange);
	bool chunked = verdict.content_length == HTTP_LENGTH_CHUNKED;
	exchange->request.content_length = verdict.content_length;
	exchange->body_left = chunked ? INT64_MAX : verdict.content_length;
	/* Behind a chunked body the library would read on in its own way. */
	bool ends = chunked || server_connection_ends(&exchange->request);
	exchange->request.empty_segment = verdict.empty_segment;
	if (verdict.status == ST_OK) {
		exchange->response.close = ends;
		context->server->options.handle(exchange);
	} else {
		exchange->response.close = true;
		context->server->options.refuse(exchange, verdict.status, verdict.reason);
		exchange->response.close = exchange->response.close || ends;
	}
	http_drop_body(exchange);
}

/* Mark a connection: one that had a request, and one whose last request was refused by server_http_error. */
static char server_request_seen, server_parse_refused;

static int server_begin_request(struct mg_connection *connection)
{
	const struct mg_request_info *info = mg_get_request_info(connection);
	struct http_server *server = info->user_data;
	struct place *place = mg_get_thread_pointer(connection);
	struct server_context *context = place ? server_context_take(server) : NULL;
	if (!context) {
		mg_disable_connection_keep_alive(connection);
		return 503; /* no memory for an answer either */
	}
	atomic_store(&place->busy, true);
	atomic_fetch_add(&server->in_flight, 1);
	place->wire.in_body = true;
	context->place = place;
	context->first = !mg_get_user_connection_data(connection);
	mg_set_user_connection_data(connection, &server_request_seen);
	context->connection = connection;
	server_request_fill(context, info);
	server_serve(context, info->http_version);
	if (context->exchange.response.close)
		mg_disable_connection_keep_alive(connection);
	server_answer(context);
	int status = context->exchange.response.status;
	if (context->exchange.response.close)
		mg_disable_connection_keep_alive(connection);
	else
		wire_next(&place->wire, context->head_end, context->exchange.request.content_length);
	server_context_give(context);
	atomic_fetch_sub(&server->in_flight, 1);
	atomic_store(&place->busy, false);
	return status > 0 ? status : 500;
}

/* A thread of the library begins: 1 is one that serves connections. */
static void *server_init_thread(const struct mg_context *http, int kind)
{
	const struct http_server *server = mg_get_user_data(http);
	struct place *place = kind == 1 ? place_new(server->places) : NULL;
	wire_attach(place ? &place->wire : NULL);
	return place;
}

static void server_exit_thread(const struct mg_context *http, int kind, void *arg)
{
	struct place *place = arg;
	(void)http;
	(void)kind;
	wire_attach(NULL);
	place_free(&place);
}

static int server_init_connection(const struct mg_connection *connection, void **ret_data)
{
	struct place *place = mg_get_thread_pointer(connection);
	*ret_data = NULL;
	if (place)
		place_take(place);
	return 0;
}

static void server_connection_closed(const struct mg_connection *connection)
{
	struct place *place = mg_get_thread_pointer(connection);
	if (place)
		place_leave(place);
}

/* The library says 400 when its buffer is full before the head has ended. */
static bool server_head_overflows(const struct wire *wire)
{
	return wire->end - wire->start >= REQUEST_MAX_BYTES;
}

static enum status server_parse_failure(int http, const struct wire *wire)
{
	static const enum status candidates[] = {ST_REQUEST_TIMEOUT, ST_LENGTH_REQUIRED, ST_CONTENT_TOO_LARGE,
	                                         ST_URI_TOO_LONG, ST_HEADERS_TOO_LARGE};
	if (wire && server_head_overflows(wire))
		return memchr(wire->start, '\n', REQUEST_MAX_BYTES) ? ST_HEADERS_TOO_LARGE : ST_URI_TOO_LONG;
	for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
		if (status_info((int)candidates[i])->http == http)
			return candidates[i];
	}
	return ST_MALFORMED_REQUEST;
}

/* What civetweb could not parse at all: the same shape of answer, and the end of the connection. None of these statuses has a header of
 * its own, so no arena is needed. */
static int server_http_error(struct mg_connection *connection, int http, const char *message)
{
	const struct place *place = mg_get_thread_pointer(connection);
	enum status status = server_parse_failure(http, place ? &place->wire : NULL);
	struct exchange exchange = {.failure = {.status = status}, .response = {.close = true}};
	struct buf out = {0};
	http_trace_begin(&exchange);
	problem_print(&exchange);
	http_print_head(&exchange, (int64_t)exchange.response.body.len, &out);
	buf_add(&out, exchange.response.body.data, exchange.response.body.len);
	mg_set_user_connection_data(connection, &server_parse_refused);
	mg_disable_connection_keep_alive(connection);
	if (buf_ok(&out))
		mg_write(connection, out.data, out.len);
	log_event(LOG_DEBUG, "request not parsed", "reason", message, NULL);
	buf_free(&exchange.response.body);
	buf_free(&out);
	return 0;
}

/* Some requests civetweb parses and then drops without a word: a target that is no path of this server, as "*" or the URL of another
 * host. */
static void server_connection_close(const struct mg_connection *connection)
{
	const struct mg_request_info *info = mg_get_request_info(connection);
	if (!info || !info->request_method || !info->request_uri || info->local_uri_raw)
		return;
	if (mg_get_user_connection_data(connection) != &server_parse_refused)
		server_http_error((struct mg_connection *)connection, 400, "the target is no path of this server");
}

static int server_log_message(const struct mg_connection *connection, const char *message)
{
	log_event(LOG_DEBUG, "http server", "message", message, NULL);
	return 1;
}

#ifndef PR_FUTEX_HASH
#define PR_FUTEX_HASH 78
#define PR_FUTEX_HASH_SET_SLOTS 1
#endif
#define FUTEX_SLOTS 4096

/* Since Linux 6.16 a process has a futex table of its own, small by default. The idle workers all wait in one bucket of it, and a
 * wake-up that shares the bucket walks past a thousand of them (12 % of the gateway's time): more buckets. Older kernels refuse. */
static void server_spread_futexes(void)
{
	(void)prctl(PR_FUTEX_HASH, PR_FUTEX_HASH_SET_SLOTS, FUTEX_SLOTS, 0, 0);
}

/* A quarter of the threads. */
static int server_queue(int threads)
{
	int queue = threads / 4;
	if (queue > QUEUE_MAX)
		return QUEUE_MAX;
	return queue > 0 ? queue : 1;
}

static struct mg_context *server_listen(struct http_server *server)
{
	char ports[64], threads[16], keep_alive[16], queue[16], request_max[16];
	const struct http_server_options *options = &server->options;
	snprintf(ports, sizeof(ports), options->address[0] != '\0' ? "%s:%d" : "%s%d", options->address, options->port);
	snprintf(threads, sizeof(threads), "%d", options->threads);
	snprintf(keep_alive, sizeof(keep_alive), "%d", options->keep_alive_ms);
	snprintf(request_max, sizeof(request_max), "%d", REQUEST_MAX_BYTES);
	snprintf(queue, sizeof(queue), "%d", server_queue(options->threads));
	const char *settings[] = {
	    "listening_ports",
	    ports,
	    "num_threads",
	    threads,
	    "keep_alive_timeout_ms",
	    keep_alive,
	    "enable_keep_alive",
	    "yes",
	    "connection_queue",
	    queue,
	    "listen_backlog",
	    "1024",
	    "tcp_nodelay",
	    "1",
	    "request_timeout_ms",
	    "10000",
	    "max_request_size",
	    request_max,
	    "decode_url",
	    "no",
	    "decode_query_string",
	    "no",
	    "access_control_allow_methods",
	    "",
	    "enable_auth_domain_check",
	    "no",
	    NULL,
	};
	struct mg_callbacks callbacks = {
	    .init_thread = server_init_thread,
	    .exit_thread = server_exit_thread,
	    .init_connection = server_init_connection,
	    .begin_request = server_begin_request,
	    .connection_close = server_connection_close,
	    .connection_closed = server_connection_closed,
	    .http_error = server_http_error,
	    .log_message = server_log_message,
	};
	/* Its threads have stacks of 100 KiB: handlers keep large things on the heap. */
	return mg_start(&callbacks, server, settings);
}

/* A connection that cannot be accepted for want of a descriptor stays in the listener's queue, and the library, which finds it there
 * again at once, uses up a processor. So descriptors must not run out before threads do. */
int http_server_threads(int wanted, int64_t descriptors)
{
	int64_t left = descriptors - OWN_DESCRIPTORS;
	int64_t most = left - QUEUE_MAX > left * 4 / 5 ? left - QUEUE_MAX : left * 4 / 5;
	if (most >= wanted)
		return wanted;
	return most > THREADS_MIN ? (int)most : THREADS_MIN;
}

static void server_free(struct http_server **server)
{
	for (struct server_context *context = (*server)->spare; context;) {
		struct server_context *next = context->next;
		buf_free(&context->exchange.body);
		buf_free(&context->exchange.response.body);
		buf_free(&context->out);
		arena_free(&context->exchange.arena);
		free(context);
		context = next;
	}
	places_free(&(*server)->places);
	pthread_mutex_destroy(&(*server)->lock);
	free(*server);
	*server = NULL;
}

enum status http_server_start(const struct http_server_options *options, struct http_server **ret_server)
{
	struct http_server *server = calloc(1, sizeof(*server));
	if (!server)
		return ST_UNAVAILABLE;
	server->options = *options;
	pthread_mutex_init(&server->lock, NULL);
	server->places = places_new(&(struct places_options){.port = options->port,
	                                                     .count = options->threads,
	                                                     .share_percent = options->address_share_percent,
	                                                     .proxies = options->proxies});
	mg_init_library(0);
	server_spread_futexes();
	if (server->places)
		server->http = server_listen(server);
	if (!server->http) {
		log_event(LOG_ERROR, "cannot listen: is the port taken, or are threads or file descriptors limited?",
		          "port", LOG_NUM(options->port), "threads", LOG_NUM(options->threads), NULL);
		server_free(&server);
		return ST_UNAVAILABLE;
	}
	*ret_server = server;
	return ST_OK;
}

static void server_nap(void)
{
	struct timespec nap = {.tv_nsec = 10 * 1000 * 1000};
	nanosleep(&nap, NULL);
}

void http_server_drain(struct http_server *server, int min_ms)
{
	int64_t start_us = clock_monotonic_us();
	atomic_store(&server->draining, true);
	while (clock_monotonic_us() - start_us < min_ms * US_PER_MS)
		server_nap();
	places_close_door(server->places);
	int64_t quiet_since_us = clock_monotonic_us();
	for (int64_t now_us = quiet_since_us; now_us - start_us < DRAIN_MAX_US; now_us = clock_monotonic_us()) {
		if (places_taken(server->places) == 0)
			return;
		if (atomic_load(&server->in_flight) > 0)
			quiet_since_us = now_us;
		if (now_us - quiet_since_us >= DRAIN_QUIET_US)
			return;
		server_nap();
	}
}

void http_server_stop(struct http_server **server)
{
	if (!*server)
		return;
	atomic_store(&(*server)->draining, true);
	atomic_store(&(*server)->stopping, true);
	mg_stop((*server)->http);
	mg_exit_library();
	server_free(server);
}

int http_server_in_flight(const struct http_server *server)
{
	return atomic_load(&server->in_flight);
}
