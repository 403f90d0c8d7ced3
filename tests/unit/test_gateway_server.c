/* The HTTP server in this process, with one thread, and raw bytes sent to it: what is taken for a request, and whose. */
#include "http/problem.h"
#include "http/server.h"

#include "base/clock.h"
#include "http/problem.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct http_server *server;
static int port;
static atomic_bool released; /* requests for /busy end */
static char served[4096];    /* "POST /a body;" for each request that was handled */

static void serve(struct exchange *exchange)
{
	const struct http_request *request = &exchange->request;
	const char *key = http_header_find(request, "Authorization");
	if (http_read_body(exchange, 1 << 20) != ST_OK) {
		problem_print(exchange);
		return;
	}
	while (strcmp(request->path, "/busy") == 0 && !atomic_load(&released))
		usleep(1000);
	size_t len = strlen(served);
	snprintf(served + len, sizeof(served) - len, "%s %s %.*s%s;", request->verb, request->path,
	         (int)exchange->body.len, exchange->body.len > 0 ? exchange->body.data : "", key ? key : "");
	exchange->response.status = 200;
	for (int i = 0; strcmp(request->path, "/cookies") == 0 && i < 20; i++)
		http_header_add(exchange, "Set-Cookie", arena_printf(exchange->arena, "c%d=%d", i, i));
	if (strcmp(request->path, "/split") == 0)
		http_header_add(exchange, "Location", "/a\r\nSet-Cookie: stolen=1");
	if (request->query)
		exchange->response.status = (int)strtol(request->query, NULL, 10);
}

static const struct address_list proxies;
static const char *const always[] = {"/healthz", NULL};

static void refuse(struct exchange *exchange, enum status status, const char *reason)
{
	(void)http_fail(exchange, status, NULL, reason);
	problem_print(exchange);
}

static int free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, len), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	close(fd);
	return ntohs(address.sin_port);
}

static void start_threads(int threads)
{
	secret_init();
	served[0] = '\0';
	struct http_server_options options = {
	    .address = "127.0.0.1",
	    .threads = threads,
	    .keep_alive_ms = 60000,
	    .body_max_bytes = 1 << 20,
	    .handle = serve,
	    .address_share_percent = 25,
	    .proxies = &proxies,
	    .always = always,
	    .refuse = refuse,
	};
	for (int i = 0; i < 5 && !server; i++) { /* another process may take the port first */
		options.port = port = free_port();
		if (http_server_start(&options, &server) != ST_OK)
			server = NULL;
	}
	cr_assert(server);
}

static void start(void)
{
	start_threads(1);
}

static void stop(void)
{
	atomic_store(&released, true);
	http_server_stop(&server);
}

TestSuite(gateway_server, .init = start, .fini = stop, .timeout = 60);

static int dial_from(const char *source)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval patience = {.tv_sec = 20};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(source)};
	cr_assert_eq(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static int dial(void)
{
	return dial_from("127.0.0.1");
}

static void say(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Reads to the end of the connection; returns the number of final answers. */
static int hear(int fd, char ret_text[8192])
{
	size_t len = 0;
	ssize_t got;
	int answers = 0;
	while (len < 8191 && (got = recv(fd, ret_text + len, 8191 - len, 0)) > 0)
		len += (size_t)got;
	ret_text[len] = '\0';
	for (const char *at = ret_text; (at = strstr(at, "HTTP/1.1 ")); at++)
		answers += strncmp(at + 9, "100", 3) != 0;
	close(fd);
	return answers;
}

/* The answer to these bytes, after which nothing more is sent. */
static int converse(const char *text, char ret_text[8192])
{
	int fd = dial();
	say(fd, text);
	shutdown(fd, SHUT_WR);
	return hear(fd, ret_text);
}

#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

Test(gateway_server, one_request_one_answer_whatever_comes_before_it)
{
	static const struct {
		const char *before;
		int status;
	} rows[] = {
	    {"", 200},
	    {"\r\n", 200},
	    {"\r\n\r\n", 400},
	    {"\r\n\r\n\r\n", 400},
	    {"\n", 400},
	    {" ", 400},
	    {"\t", 400},
	    {"\n\n", 400},
	    {"\r\n\n", 400},
	    {"\r\n ", 400},
	    {" \r\n", 400},
	    {"\r", 400},
	    {"\f\v", 400},
	    {"                ", 400}, /* as long as an allocator's grain */
	    {"            \r\n\r\n", 400},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[512], answer[8192], status[16];
		snprintf(text, sizeof(text),
		         "%sPOST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
		         rows[i].before, strlen(SMUGGLED), SMUGGLED);
		served[0] = '\0';
		cr_assert_eq(converse(text, answer), 1, "row %zu: %s", i, answer);
		snprintf(status, sizeof(status), "HTTP/1.1 %d", rows[i].status);
		cr_assert_eq(strncmp(answer, status, 12), 0, "row %zu: %s", i, answer);
		cr_assert_str_eq(served, rows[i].status == 200 ? "POST /a " SMUGGLED ";" : "", "row %zu", i);
	}
}

/* The same between two requests of one connection, sent at once or one after the other. */
Test(gateway_server, what_comes_between_two_requests)
{
	static const char *const between[] = {"\r\n\r\n", "\n", " ", "\r\n\r\n\r\n"};
	for (size_t i = 0; i < sizeof(between) / sizeof(between[0]); i++) {
		for (int apart = 0; apart < 2; apart++) {
			char answer[8192];
			int fd = dial();
			served[0] = '\0';
			say(fd, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\r\n"
			        "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\ndef");
			if (apart)
				usleep(30000);
			say(fd, between[i]);
			say(fd, SMUGGLED);
			shutdown(fd, SHUT_WR);
			cr_assert_eq(hear(fd, answer), 3, "%s", answer);
			cr_assert_str_eq(served, "POST /a abc;POST /b def;");
		}
	}
}

/* Once it has seen two line ends the library parses its whole buffer, with what an earlier connection left there. */
Test(gateway_server, nobody_speaks_with_what_another_left_behind)
{
	static const char left[] =
	    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	    "\r\nAuthorization: secret\r\n\r\n";
	char text[512], answer[8192];
	snprintf(text, sizeof(text),
	         "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", sizeof(left) - 1,
	         left);
	cr_assert_eq(converse(text, answer), 1);
	served[0] = '\0';
	/* Ends among the other's letters. */
	snprintf(text, sizeof(text), "\r\n\r\nGET /mine HTTP/1.1\r\nHost: y\r\nX-Rest: %0*d", 80, 0);
	cr_assert_eq(converse(text, answer), 1);
	cr_assert_eq(strncmp(answer, "HTTP/1.1 400", 12), 0, "%s", answer);
	cr_assert_str_eq(served, "");
}

Test(gateway_server, pipelined_requests_keep_their_bodies)
{
	char answer[8192];
	cr_assert_eq(converse("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"
	                      "GET /b HTTP/1.1\r\nHost: x\r\n\r\n"
	                      "POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n23",
	                      answer),
	             3);
	cr_assert_str_eq(served, "POST /a 1;GET /b ;POST /c 23;");
}

Test(gateway_server, any_number_of_header_fields)
{
	char answer[8192], wanted[32];
	cr_assert_eq(converse("GET /cookies HTTP/1.1\r\nHost: x\r\n\r\n", answer), 1);
	const char *at = answer;
	for (int i = 0; i < 20; i++) {
		snprintf(wanted, sizeof(wanted), "\r\nSet-Cookie: c%d=%d\r\n", i, i);
		at = strstr(at, wanted);
		cr_assert(at, "%s is missing or out of order in %s", wanted, answer);
	}
	cr_assert_eq(strncmp(answer, "HTTP/1.1 200", 12), 0);
}

/* A field that cannot be sent is not left out: nobody gets a redirect to nowhere. */
Test(gateway_server, a_field_that_cannot_be_sent)
{
	char answer[8192];
	cr_assert_eq(converse("GET /split HTTP/1.1\r\nHost: x\r\n\r\n", answer), 1);
	cr_assert_eq(strncmp(answer, "HTTP/1.1 500", 12), 0, "%s", answer);
	cr_assert(!strstr(answer, "stolen") && !strstr(answer, "Location"), "%s", answer);
}

Test(gateway_server, every_status_has_its_phrase)
{
	static const char *const phrases[] = {"202 Accepted",
	                                      "302 Found",
	                                      "303 See Other",
	                                      "307 Temporary Redirect",
	                                      "308 Permanent Redirect",
	                                      "406 Not Acceptable",
	                                      "421 Misdirected Request",
	                                      "422 Unprocessable Content",
	                                      "428 Precondition Required",
	                                      "502 Bad Gateway"};
	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++) {
		char text[128], answer[8192];
		snprintf(text, sizeof(text), "GET /a?%.3s HTTP/1.1\r\nHost: x\r\n\r\n", phrases[i]);
		cr_assert_eq(converse(text, answer), 1);
		cr_assert_eq(strncmp(answer + 9, phrases[i], strlen(phrases[i])), 0, "%s", answer);
	}
}

/* A client may take the server for a proxy. */
Test(gateway_server, the_target_may_be_a_url)
{
	static const struct {
		const char *authority, *host;
		int status;
	} rows[] = {{"127.0.0.1", "127.0.0.1", 200}, {"Localhost", "localhost", 200}, {"localhost", "other", 400}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[256], answer[8192], status[16];
		served[0] = '\0';
		snprintf(text, sizeof(text), "GET http://%s:%d/b HTTP/1.1\r\nHost: %s:%d\r\n\r\n", rows[i].authority,
		         port, rows[i].host, port);
		cr_assert_eq(converse(text, answer), 1);
		snprintf(status, sizeof(status), "HTTP/1.1 %d", rows[i].status);
		cr_assert_eq(strncmp(answer, status, 12), 0, "row %zu: %s", i, answer);
		cr_assert_str_eq(served, rows[i].status == 200 ? "GET /b ;" : "", "row %zu", i);
	}
}

Test(gateway_server, a_head_that_is_too_large)
{
	static char text[20000];
	char answer[8192];
	memset(text, 'a', sizeof(text) - 1);
	memcpy(text, "GET /", 5);
	cr_assert_eq(converse(text, answer), 1);
	cr_assert_eq(strncmp(answer, "HTTP/1.1 414", 12), 0, "%s", answer);
	memcpy(text, "GET / HTTP/1.1\r\nX: ", 19);
	cr_assert_eq(converse(text, answer), 1);
	cr_assert_eq(strncmp(answer, "HTTP/1.1 431", 12), 0, "%s", answer);
	cr_assert_eq(converse("GET / HTTP/1.1\r\nX: a", answer), 1);
	cr_assert_eq(strncmp(answer, "HTTP/1.1 400", 12), 0, "%s", answer);
}

#define CHUNKED "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"

/* In one piece, byte by byte, behind another request; what follows is never a request. */
Test(gateway_server, chunked_bodies)
{
	static const char text[] = CHUNKED "\r\n3;a=b\r\nabc\r\n0002\r\nde\r\n0\r\nA: b\r\n\r\n" SMUGGLED;
	char answer[8192];
	cr_assert_eq(converse(text, answer), 1, "%s", answer);
	cr_assert_str_eq(served, "POST /a abcde;");
	cr_assert(strstr(answer, "Connection: close"), "%s", answer);
	served[0] = '\0';
	int fd = dial();
	say(fd, "POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nxy");
	for (size_t i = 0; i < sizeof(text) - 1 - strlen(SMUGGLED); i++) {
		say(fd, (const char[]){text[i], '\0'});
		usleep(300);
	}
	cr_assert_eq(hear(fd, answer), 2, "%s", answer);
	cr_assert_str_eq(served, "POST /first xy;POST /a abcde;");
}

Test(gateway_server, a_chunked_body_that_is_none)
{
	static const char *const bodies[] = {"3\r\nabcd\r\n0\r\n\r\n",  "5\rA\r\nabcde\r\n0\r\n\r\n",
	                                     "ffffffffffffffff\r\nabc", "3\r\nabc\r\n0\r\n",
	                                     "3\nabc\n0\n\n",           "3\r\nabc"};
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		char text[512], answer[8192];
		snprintf(text, sizeof(text), CHUNKED "\r\n%s", bodies[i]);
		cr_assert_eq(converse(text, answer), 1, "row %zu: %s", i, answer);
		cr_assert_eq(strncmp(answer, "HTTP/1.1 400", 12), 0, "row %zu: %s", i, answer);
	}
	cr_assert_str_eq(served, "");
}

Test(gateway_server, a_chunked_body_is_bounded)
{
	static char text[(1 << 20) + 4096];
	char answer[8192];
	int len = snprintf(text, sizeof(text), CHUNKED "\r\n100001\r\n");
	memset(text + len, 'x', (1 << 20) + 1);
	memcpy(text + len + (1 << 20) + 1, "\r\n0\r\n\r\n", 8);
	int fd = dial();
	for (const char *at = text; *at != '\0';) {
		ssize_t sent = send(fd, at, strlen(at), MSG_NOSIGNAL);
		if (sent <= 0)
			break;
		at += sent;
	}
	cr_assert_eq(hear(fd, answer), 1);
	cr_assert_eq(strncmp(answer, "HTTP/1.1 413", 12), 0, "%s", answer);
	cr_assert_str_eq(served, "");
	fd = dial();
	say(fd, CHUNKED "Expect: 100-continue\r\n\r\n");
	cr_assert_eq(recv(fd, answer, sizeof(answer), 0), 25);
	cr_assert_eq(memcmp(answer, "HTTP/1.1 100 Continue\r\n\r\n", 25), 0);
	say(fd, "1\r\na\r\n0\r\n\r\n");
	cr_assert_eq(hear(fd, answer), 1);
	cr_assert_str_eq(served, "POST /a a;");
}

Test(gateway_server, a_chunked_body_that_stalls_is_answered_408)
{
	char answer[8192];
	int fd = dial();
	say(fd, CHUNKED "\r\n3\r\nabc\r\n");
	cr_assert_eq(hear(fd, answer), 1);
	cr_assert_eq(strncmp(answer, "HTTP/1.1 408", 12), 0, "%s", answer);
}

Test(gateway_server, a_stalled_body_is_answered_408)
{
	char answer[8192];
	int fd = dial();
	say(fd, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc");
	int64_t began_us = clock_monotonic_us();
	cr_assert_eq(hear(fd, answer), 1);
	int64_t took_us = clock_monotonic_us() - began_us;
	cr_assert_eq(strncmp(answer, "HTTP/1.1 408", 12), 0, "%s", answer);
	cr_assert(strstr(answer, "Connection: close"), "%s", answer);
	cr_assert(took_us > 9 * US_PER_SEC && took_us < 13 * US_PER_SEC, "%ld us", (long)took_us);
}

/* As long as it keeps to the least pace it may take any time. */
Test(gateway_server, a_slow_but_steady_body_is_taken)
{
	char answer[8192];
	int fd = dial();
	say(fd, "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1400\r\n\r\n");
	for (int i = 0; i < 140; i++) {
		say(fd, "0123456789");
		usleep(100000);
	}
	cr_assert_eq(hear(fd, answer), 1);
	cr_assert_eq(strncmp(answer, "HTTP/1.1 200", 12), 0, "%s", answer);
}

/* The time until the answer to a request of a new connection, which is then closed. */
static int64_t ask_us(const char *source, const char *path, int status)
{
	char text[256], answer[8192], wanted[16];
	int64_t began_us = clock_monotonic_us();
	int fd = dial_from(source);
	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
	say(fd, text);
	cr_assert_eq(hear(fd, answer), 1);
	snprintf(wanted, sizeof(wanted), "HTTP/1.1 %d", status);
	cr_assert_eq(strncmp(answer, wanted, 12), 0, "%s", answer);
	return clock_monotonic_us() - began_us;
}

static void start_four(void)
{
	start_threads(4);
}

TestSuite(gateway_places, .init = start_four, .fini = stop, .timeout = 60);

/* Connections in keep-alive, silent ones, and half a request: none of them keeps others out. */
Test(gateway_places, idle_connections_make_room)
{
	static const char *const said[] = {"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "", "GET /a HTTP/1.1\r\nHo"};
	for (size_t kind = 0; kind < sizeof(said) / sizeof(said[0]); kind++) {
		int idle[12];
		for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++) {
			idle[i] = dial_from(i % 2 == 0 ? "127.0.0.1" : "127.0.0.2");
			say(idle[i], said[kind]);
			usleep(2000);
		}
		cr_assert_lt(ask_us("127.0.0.3", "/a", 200), 5 * US_PER_SEC, "kind %zu", kind);
		cr_assert_lt(ask_us("127.0.0.1", "/healthz", 200), 5 * US_PER_SEC, "kind %zu", kind);
		for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++)
			close(idle[i]);
	}
}

/* When all are at work, the last place is for those who ask for health; others are told to come back. */
Test(gateway_places, health_is_answered_always)
{
	int busy[3];
	for (size_t i = 0; i < 3; i++) {
		busy[i] = dial_from("127.0.0.1");
		say(busy[i], "GET /busy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	}
	usleep(50000);
	for (int i = 0; i < 3; i++) {
		cr_assert_lt(ask_us("127.0.0.2", "/healthz", 200), 5 * US_PER_SEC);
		cr_assert_lt(ask_us("127.0.0.2", "/a", 503), 5 * US_PER_SEC);
		cr_assert_lt(ask_us("127.0.0.1", "/a", 503), 5 * US_PER_SEC);
	}
	atomic_store(&released, true);
	for (size_t i = 0; i < 3; i++) {
		char answer[8192];
		cr_assert_eq(hear(busy[i], answer), 1);
		cr_assert_eq(strncmp(answer, "HTTP/1.1 200", 12), 0, "%s", answer);
	}
	cr_assert_lt(ask_us("127.0.0.2", "/a", 200), 5 * US_PER_SEC);
}
