/* What a dialect may answer besides a document: redirects with cookies, pages, answers that anyone may keep, streams. One route each. */
#include "dialects/document.h"
#include "front/gateway.h"
#include "http/cookie.h"
#include "http/html.h"

#include <criterion/criterion.h>
#include <string.h>

static void answer_redirect(struct exchange *exchange)
{
	const struct cookie session = {.name = "__Host-s", .value = "abc"}, old = {.name = "__Host-old"};
	if (cookie_set(exchange, &session) != ST_OK || cookie_set(exchange, &old) != ST_OK)
		(void)http_fail(exchange, ST_INTERNAL, NULL, NULL);
	else
		document_redirect(exchange, 303, "https://app.example/cb?code=1");
}

static void answer_split(struct exchange *exchange)
{
	document_redirect(exchange, 302, "https://app.example/\r\nSet-Cookie: a=b");
}

static void answer_page(struct exchange *exchange)
{
	const struct html_value values[] = {{.name = "name", .text = "<script>alert(1)</script> & \"co\""}, {0}};
	struct html page = {0};
	html_add(&page, "<!doctype html><title>Hello</title><p>{name}</p>", values);
	if (html_answer(exchange, 200, &page, NULL) != ST_OK)
		html_free(&page);
}

static void answer_kept(struct exchange *exchange)
{
	if (http_cache(exchange, 60, "\"v1\""))
		return;
	exchange->response.status = 200;
	exchange->response.content_type = "application/json";
	buf_add_str(&exchange->response.body, "{}");
}

static void answer_stream(struct exchange *exchange)
{
	exchange->response.status = 200;
	exchange->response.content_type = "application/x-ndjson";
	http_send_head(exchange);
	http_send_piece(exchange, "{}\n", 3);
	http_send_piece(exchange, "{\"a\":1}\n", 8);
	http_send_end(exchange);
}

#define ROW(path_, answer_)                                                                                            \
	{                                                                                                              \
		.verb = "GET", .path = (path_), .permission = "none", .answer = answer_                                \
	}

static const char *const roots[] = {"", NULL};
static const struct dialect_route rows[] = {ROW("/redirect", answer_redirect), ROW("/split", answer_split),
                                            ROW("/page", answer_page),         ROW("/kept", answer_kept),
                                            ROW("/stream", answer_stream),     {0}};
static const struct dialect plain = {.name = "plain", .roots = roots, .routes = rows, .print_failure = problem_print};
static const struct dialect *const dialects[] = {&plain, NULL};
static const struct local_method no_methods[] = {{0, NULL}};
static const struct dialect_route *const no_tables[] = {NULL};

static struct gateway gateway;
static struct exchange exchange;
static struct buf sent; /* head and body, or what was streamed; ends with NUL */

static bool write_all(void *arg, const void *data, size_t len_bytes)
{
	(void)arg;
	buf_add(&sent, data, len_bytes);
	return true;
}

static void start(void)
{
	const struct pipeline_options options = {.methods = no_methods,
	                                         .tables = no_tables,
	                                         .dialects = dialects,
	                                         .mounts = {.dialects = "", .hosts = "", .origins = ""}};
	char error[ROUTE_ERROR_SIZE];
	secret_init();
	gateway.authn = authn_new(NULL);
	gateway.limits = limits_new(&(struct limits_options){0});
	cr_assert_eq(pipeline_init(&gateway, &options, error), ST_OK, "%s", error);
}

static void stop(void)
{
	pipeline_end(&gateway);
	limits_free(&gateway.limits);
	authn_free(&gateway.authn);
	arena_free(&exchange.arena);
	buf_free(&exchange.response.body);
	buf_free(&sent);
}

TestSuite(gateway_answers, .init = start, .fini = stop);

/* The whole answer as it is written. */
static const char *get(const char *path, const char *if_none_match)
{
	struct arena *arena = exchange.arena ? exchange.arena : arena_new(1 << 20);
	buf_free(&exchange.response.body);
	arena_reset(arena);
	buf_reset(&sent);
	memset(&exchange, 0, sizeof(exchange));
	exchange.arena = arena;
	exchange.gateway = &gateway;
	exchange.request =
	    (struct http_request){.verb = "GET", .path = path, .peer = "127.0.0.1", .io = {.write = write_all}};
	exchange.request.headers[0] = (struct http_header){"If-None-Match", if_none_match};
	exchange.request.header_count = if_none_match ? 1 : 0;
	pipeline_serve(&exchange);
	if (!exchange.response.started) {
		http_print_head(&exchange, (int64_t)exchange.response.body.len, &sent);
		buf_add(&sent, exchange.response.body.data, exchange.response.body.len);
	}
	buf_add_char(&sent, '\0');
	return sent.data;
}

Test(gateway_answers, redirects_with_cookies)
{
	const char *answer = get("/redirect", NULL);
	cr_assert(strncmp(answer, "HTTP/1.1 303 See Other\r\n", 24) == 0, "%s", answer);
	cr_assert(strstr(answer, "\r\nLocation: https://app.example/cb?code=1\r\n"));
	const char *first = strstr(answer, "\r\nSet-Cookie: __Host-s=abc;");
	cr_assert(first && strstr(first + 2, "\r\nSet-Cookie: __Host-old=;"), "%s", answer);
	answer = get("/split", NULL);
	cr_assert(strncmp(answer, "HTTP/1.1 500 ", 13) == 0 && !strstr(answer, "Set-Cookie"), "%s", answer);
}

Test(gateway_answers, pages_escape)
{
	const char *answer = get("/page", NULL);
	cr_assert(strstr(answer, "\r\nContent-Type: text/html"), "%s", answer);
	cr_assert(strstr(answer, "\r\nContent-Security-Policy: "));
	cr_assert(strstr(answer, "<p>&lt;script&gt;alert(1)&lt;/script&gt; &amp; "), "%s", answer);
	cr_assert_not(strstr(answer, "<script>"));
}

Test(gateway_answers, anyone_may_keep)
{
	const char *answer = get("/kept", NULL);
	cr_assert(strstr(answer, "\r\nCache-Control: public, max-age=60\r\n") &&
	          strstr(answer, "\r\nETag: \"v1\"\r\n"));
	cr_assert(strncmp(get("/kept", "\"v0\", W/\"v1\""), "HTTP/1.1 304 ", 13) == 0);
	cr_assert(strncmp(get("/kept", "\"v0\""), "HTTP/1.1 200 ", 13) == 0);
	cr_assert(strstr(get("/page", NULL), "\r\nCache-Control: no-store\r\n"));
}

Test(gateway_answers, streams)
{
	const char *answer = get("/stream", NULL);
	cr_assert(strstr(answer, "\r\nTransfer-Encoding: chunked\r\n"), "%s", answer);
	cr_assert(strstr(answer, "\r\n\r\n3\r\n{}\n\r\n8\r\n{\"a\":1}\n\r\n0\r\n\r\n"), "%s", answer);
}
