/* Helpers over one HTTP exchange: headers, trace, body, percent-decoding, response head, chunked streaming. */
#include "http/request.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "json/pbjson.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DROP_MAX_BYTES 65536
#define PIECE_BYTES 65536

struct reason_phrase {
	int status;
	const char *text;
};

static const struct reason_phrase phrases[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

static const char *http_phrase(int status)
{
	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++) {
		if (phrases[i].status == status)
			return phrases[i].text;
	}
	return "Status";
}

const char *http_header_find(const struct http_request *request, const char *name)
{
	for (size_t i = 0; i < request->header_count; i++) {
		if (strcasecmp(request->headers[i].name, name) == 0)
			return request->headers[i].value;
	}
	return NULL;
}

static size_t http_header_lines(const struct http_request *request, const char *name,
                                const char *ret_lines[HTTP_HEADERS_MAX])
{
	size_t count = 0;
	for (size_t i = 0; i < request->header_count; i++) {
		if (strcasecmp(request->headers[i].name, name) == 0)
			ret_lines[count++] = request->headers[i].value;
	}
	return count;
}

void http_client(const struct http_request *request, const struct address_list *trusted,
                 char ret_text[ADDRESS_TEXT_SIZE])
{
	const char *lines[HTTP_HEADERS_MAX];
	size_t count = 0;
	if (trusted->count > 0)
		count = http_header_lines(request, "X-Forwarded-For", lines);
	if (trusted->count > 0 && count == 0)
		count = http_header_lines(request, "Forwarded", lines);
	address_client(trusted, request->peer, lines, count, ret_text);
}

const char *http_param_find(const struct exchange *exchange, const char *name)
{
	for (size_t i = 0; i < exchange->param_count; i++) {
		if (strcmp(exchange->params[i].name, name) == 0)
			return exchange->params[i].value;
	}
	return NULL;
}

static bool http_printable(const char *value)
{
	for (; *value != '\0'; value++) {
		unsigned char c = (unsigned char)*value;
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

void http_header_add(struct exchange *exchange, const char *name, const char *value)
{
	struct http_response *response = &exchange->response;
	struct http_field *field = arena_alloc(exchange->arena, sizeof(*field));
	const char *copy = http_printable(value) ? arena_strdup(exchange->arena, value) : NULL;
	if (!field || !copy) {
		response->unprintable = true;
		return;
	}
	*field = (struct http_field){.name = name, .value = copy};
	if (response->last_field)
		response->last_field->next = field;
	else
		response->fields = field;
	response->last_field = field;
}

/* splitmix64: trace ids must be unlikely to collide, not secret. */
static uint64_t http_next_random(struct exchange *exchange)
{
	if (exchange->seed == 0)
		secret_random(&exchange->seed, sizeof(exchange->seed));
	uint64_t z = (exchange->seed += 0x9e3779b97f4a7c15ULL);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static bool http_parse_traceparent(const char *text, uint8_t ret_trace[16])
{
	static const uint8_t zero[16];
	uint8_t trace[16];
	if (!text || strlen(text) != 55 || text[2] != '-' || text[35] != '-' || text[52] != '-')
		return false;
	if (memcmp(text, "00", 2) != 0 || !hex_decode(text + 3, 32, trace) || memcmp(trace, zero, 16) == 0)
		return false;
	memcpy(ret_trace, trace, sizeof(trace));
	return true;
}

void http_trace_begin(struct exchange *exchange)
{
	const char *lines[HTTP_HEADERS_MAX];
	/* Two of them are as good as none: a trace is information, not a reason to refuse. */
	const char *text = http_header_lines(&exchange->request, "traceparent", lines) == 1 ? lines[0] : NULL;
	if (!http_parse_traceparent(text, exchange->trace)) {
		uint64_t words[2] = {http_next_random(exchange), http_next_random(exchange)};
		memcpy(exchange->trace, words, sizeof(words));
	}
	hex_encode(exchange->trace, sizeof(exchange->trace), exchange->request_id);
}

/* Whether If-None-Match names the tag: it is a list, and W/ makes no difference (RFC 9110 section 13.1.2). A proxy that compresses weakens
 * the tags that pass it. */
static bool http_tag_listed(const char *list, const char *tag)
{
	size_t len = strlen(tag);
	for (;;) {
		list += strspn(list, " \t");
		if (strncmp(list, "W/", 2) == 0)
			list += 2;
		if (strncmp(list, tag, len) == 0 && strchr(" \t,", list[len]))
			return true;
		list += strcspn(list, ",");
		if (*list++ == '\0')
			return false;
	}
}

bool http_tag(struct exchange *exchange, const char *tag)
{
	const char *known = http_header_find(&exchange->request, "If-None-Match");
	http_header_add(exchange, "ETag", tag);
	return known && (strcmp(known, "*") == 0 || http_tag_listed(known, tag));
}

bool http_cache(struct exchange *exchange, unsigned max_age_sec, const char *tag)
{
	exchange->response.max_age_sec = max_age_sec;
	if (!http_tag(exchange, tag))
		return false;
	exchange->response.status = 304;
	return true;
}

enum status http_fail(struct exchange *exchange, enum status status, const char *field, const char *reason)
{
	exchange->failure = (struct failure){.status = status, .field = field, .reason = reason};
	return status;
}

enum status http_limit_body(struct exchange *exchange, int64_t max_bytes)
{
	exchange->body_room = max_bytes;
	if (exchange->request.content_length <= max_bytes)
		return ST_OK;
	exchange->response.close = true;
	return http_fail(exchange, ST_CONTENT_TOO_LARGE, NULL, NULL);
}

/* Records why no more of the body came; returns -1. */
static int http_read_failure(struct exchange *exchange, int outcome)
{
	exchange->response.close = true;
	if (outcome > 0)
		(void)http_fail(exchange, ST_CONTENT_TOO_LARGE, NULL, NULL);
	else if (outcome == HTTP_READ_SLOW)
		(void)http_fail(exchange, ST_REQUEST_TIMEOUT, NULL, "The body came too slowly");
	else if (outcome == HTTP_READ_MALFORMED)
		(void)http_fail(exchange, ST_MALFORMED_REQUEST, NULL, "The body is not in the chunked coding");
	else
		(void)http_fail(exchange, ST_MALFORMED_REQUEST, NULL, "The body ended before its time");
	return -1;
}

int http_read_piece(struct exchange *exchange, void *ret_data, size_t len_bytes)
{
	struct http_io *io = &exchange->request.io;
	bool chunked = exchange->request.content_length == HTTP_LENGTH_CHUNKED;
	if (exchange->body_left < (int64_t)len_bytes)
		len_bytes = (size_t)exchange->body_left;
	if (len_bytes == 0)
		return 0;
	int got = io->read(io->arg, ret_data, len_bytes);
	if (got == HTTP_READ_END && chunked)
		exchange->body_left = 0;
	else if (got <= 0 || got > exchange->body_room)
		return http_read_failure(exchange, got);
	exchange->body_left -= chunked ? 0 : got;
	exchange->body_room -= got;
	return got;
}

enum status http_read_body(struct exchange *exchange, int64_t max_bytes)
{
	struct buf *body = &exchange->body;
	enum status status = http_limit_body(exchange, max_bytes);
	body->max = (size_t)max_bytes + PIECE_BYTES;
	while (status == ST_OK && exchange->body_left > 0) {
		size_t piece = exchange->body_left < PIECE_BYTES ? (size_t)exchange->body_left : PIECE_BYTES;
		char *room = buf_reserve(body, piece);
		if (!room) {
			exchange->response.close = true;
			return http_fail(exchange, ST_UNAVAILABLE, NULL, "The gateway is out of memory");
		}
		int got = http_read_piece(exchange, room, piece);
		if (got < 0)
			return exchange->failure.status;
		body->len += (size_t)got;
	}
	return status;
}

void http_drop_body(struct exchange *exchange)
{
	char scrap[4096];
	int got = 1;
	if (exchange->response.close || exchange->body_left == 0)
		return;
	if (exchange->body_left > DROP_MAX_BYTES || http_header_find(&exchange->request, "Expect")) {
		exchange->response.close = true;
		return;
	}
	exchange->body_room = exchange->body_left;
	while (got > 0)
		got = http_read_piece(exchange, scrap, sizeof(scrap));
}

const char *http_decode(struct arena *arena, const char *text, size_t len_chars, bool form)
{
	char *out = arena_alloc(arena, len_chars + 1);
	if (!out)
		return NULL;
	size_t used = 0;
	for (size_t i = 0; i < len_chars; i++) {
		if (text[i] == '+' && form) {
			out[used++] = ' ';
		} else if (text[i] == '%') {
			if (len_chars - i < 3 || !hex_decode(text + i + 1, 2, out + used))
				return NULL;
			used++;
			i += 2;
		} else {
			out[used++] = text[i];
		}
	}
	out[used] = '\0';
	return utf8_valid(out, used) ? out : NULL;
}

void http_print_head(struct exchange *exchange, int64_t body_len, struct buf *out)
{
	struct http_response *response = &exchange->response;
	char date[CLOCK_HTTP_DATE_SIZE];
	static _Thread_local int64_t cached_sec;
	static _Thread_local char cached_date[CLOCK_HTTP_DATE_SIZE];
	int64_t now_us = clock_wall_us();
	if (now_us / US_PER_SEC != cached_sec) {
		clock_format_http_date(now_us, date);
		memcpy(cached_date, date, sizeof(date));
		cached_sec = now_us / US_PER_SEC;
	}
	buf_add_str(out, "HTTP/1.1 ");
	buf_add_int(out, response->status);
	buf_add_char(out, ' ');
	buf_add_str(out, http_phrase(response->status));
	buf_add_str(out, "\r\nDate: ");
	buf_add_str(out, cached_date);
	if (response->content_type) {
		buf_add_str(out, "\r\nContent-Type: ");
		buf_add_str(out, response->content_type);
	}
	if (body_len < 0) {
		if (!exchange->request.http_1_0) /* which knows no chunks: the end of the connection ends the body */
			buf_add_str(out, "\r\nTransfer-Encoding: chunked");
	} else if (response->status != 204 && response->status != 304) {
		buf_add_str(out, "\r\nContent-Length: ");
		buf_add_int(out, body_len);
	}
	buf_add_str(out, response->close ? "\r\nConnection: close" : "\r\nConnection: keep-alive");
	buf_add_str(out, "\r\nCache-Control: ");
	if (response->max_age_sec > 0)
		buf_printf(out, "public, max-age=%u", response->max_age_sec);
	else
		buf_add_str(out, "no-store");
	buf_add_str(out, "\r\nX-Content-Type-Options: nosniff\r\nX-Request-Id: ");
	buf_add_str(out, exchange->request_id);
	for (const struct http_field *field = response->fields; field; field = field->next) {
		buf_add_str(out, "\r\n");
		buf_add_str(out, field->name);
		buf_add_str(out, ": ");
		buf_add_str(out, field->value);
	}
	buf_add_str(out, "\r\n\r\n");
}

static void http_send(struct exchange *exchange, const struct buf *out)
{
	struct http_response *response = &exchange->response;
	if (response->broken)
		return;
	if (!buf_ok(out) || !exchange->request.io.write(exchange->request.io.arg, out->data, out->len)) {
		response->broken = true;
		response->close = true;
	}
}

void http_send_head(struct exchange *exchange)
{
	struct buf out = {0};
	if (exchange->response.unprintable) { /* the server answers 500 */
		exchange->response.broken = true;
		return;
	}
	exchange->response.close = exchange->response.close || exchange->request.http_1_0 || exchange->draining;
	http_print_head(exchange, -1, &out);
	http_send(exchange, &out);
	exchange->response.started = true;
	buf_free(&out);
}

void http_send_piece(struct exchange *exchange, const void *data, size_t len_bytes)
{
	struct buf out = {0};
	bool chunked = !exchange->request.http_1_0;
	if (len_bytes == 0)
		return;
	if (chunked)
		buf_printf(&out, "%zx\r\n", len_bytes);
	buf_add(&out, data, len_bytes);
	if (chunked)
		buf_add_str(&out, "\r\n");
	http_send(exchange, &out);
	buf_free(&out);
}

void http_send_end(struct exchange *exchange)
{
	static const char last[] = "0\r\n\r\n";
	struct buf out = {0};
	if (exchange->request.http_1_0)
		return;
	buf_add_str(&out, last);
	http_send(exchange, &out);
	buf_free(&out);
}
