/* Fuzz target: bytes on a connection to the real server, guard and reader of bodies together. A reader of our own, which knows nothing but
 * RFC 9112, says which requests the bytes hold. What was served must be the first of these, with these bodies; and there is one answer to
 * each and at most one refusal. */
#include "http/server.h"

#include "base/log.h"
#include "http/problem.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUESTS_MAX 64
#define BODY_MAX_BYTES 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	struct buf verb, target, body;
};
struct seen_list {
	struct seen requests[REQUESTS_MAX];
	size_t count;
};

static struct seen_list served, wanted;
static int port;

static void must(bool ok)
{
	if (!ok)
		abort();
}

static struct seen *list_add(struct seen_list *list)
{
	return list->count < REQUESTS_MAX ? &list->requests[list->count++] : NULL;
}

static void list_clear(struct seen_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		buf_free(&list->requests[i].verb);
		buf_free(&list->requests[i].target);
		buf_free(&list->requests[i].body);
	}
	list->count = 0;
}

/* One connection is served at a time. */
static void serve(struct exchange *exchange)
{
	if (http_read_body(exchange, BODY_MAX_BYTES) != ST_OK) {
		exchange->response.status = 400;
		return;
	}
	exchange->response.status = 200;
	struct seen *seen = list_add(&served);
	if (!seen) {
		exchange->response.close = true;
		return;
	}
	buf_add_str(&seen->verb, exchange->request.verb);
	buf_add_str(&seen->target, exchange->request.path);
	if (exchange->request.query) {
		buf_add_char(&seen->target, '?');
		buf_add_str(&seen->target, exchange->request.query);
	}
	buf_add(&seen->body, exchange->body.data, exchange->body.len);
}

static const struct address_list proxies;
static const char *const always[] = {NULL};

static void refuse(struct exchange *exchange, enum status status, const char *reason)
{
	(void)http_fail(exchange, status, NULL, reason);
	problem_print(exchange);
}

static void start(void)
{
	struct http_server *server;
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	secret_init();
	log_init("fuzz", LOG_ERROR);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	must(bind(fd, (struct sockaddr *)&address, len) == 0 &&
	     getsockname(fd, (struct sockaddr *)&address, &len) == 0);
	close(fd);
	port = ntohs(address.sin_port);
	struct http_server_options options = {.address = "",
	                                      .port = port,
	                                      .threads = 2,
	                                      .keep_alive_ms = 60000,
	                                      .body_max_bytes = BODY_MAX_BYTES,
	                                      .handle = serve,
	                                      .address_share_percent = 25,
	                                      .proxies = &proxies,
	                                      .always = always,
	                                      .refuse = refuse};
	must(http_server_start(&options, &server) == ST_OK);
}

/* ---- the reader of our own */

/* Cuts a line that ends with CR LF and holds no other CR, LF or NUL. */
static bool cut_line(const char **at, const char *end, const char **ret_line, size_t *ret_len)
{
	const char *newline = memchr(*at, '\n', (size_t)(end - *at));
	if (!newline || newline == *at || newline[-1] != '\r')
		return false;
	*ret_line = *at;
	*ret_len = (size_t)(newline - *at) - 1;
	*at = newline + 1;
	return !memchr(*ret_line, '\r', *ret_len) && !memchr(*ret_line, '\0', *ret_len);
}

static bool read_number(const char *text, size_t len, size_t *ret_number)
{
	size_t number = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9' || number > SIZE_MAX / 16)
			return false;
		number = number * 10 + (size_t)(text[i] - '0');
	}
	*ret_number = number;
	return len > 0;
}

static bool is_named(const char *line, size_t len, const char *name)
{
	return len > strlen(name) && line[strlen(name)] == ':' && strncasecmp(line, name, strlen(name)) == 0;
}

struct framing {
	size_t lengths, codings; /* fields of these names */
	size_t body_len;
};

/* The value of a field, without blanks around it. */
static const char *field_value(const char *line, size_t len, size_t *ret_len)
{
	const char *value = (const char *)memchr(line, ':', len) + 1, *end = line + len;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (value < end && end[-1] == ' ')
		end--;
	*ret_len = (size_t)(end - value);
	return value;
}

/* Header fields up to the empty line. */
static bool read_fields(const char **at, const char *end, struct framing *ret_framing)
{
	const char *line;
	size_t len, value_len;
	while (cut_line(at, end, &line, &len)) {
		if (len == 0)
			return ret_framing->lengths + ret_framing->codings <= 1;
		if (line[0] == ' ' || line[0] == '\t')
			return false;
		if (is_named(line, len, "Content-Length")) {
			const char *value = field_value(line, len, &value_len);
			if (!read_number(value, value_len, &ret_framing->body_len))
				return false;
			ret_framing->lengths++;
		} else if (is_named(line, len, "Transfer-Encoding")) {
			const char *value = field_value(line, len, &value_len);
			if (value_len != strlen("chunked") || memcmp(value, "chunked", value_len) != 0)
				return false;
			ret_framing->codings++;
		}
	}
	return false;
}

/* Chunks to the end of the trailer, by lines. */
static bool read_chunks(const char **at, const char *end, struct buf *body)
{
	const char *line;
	size_t len, digits;
	for (;;) {
		if (!cut_line(at, end, &line, &len))
			return false;
		size_t size = 0;
		for (digits = 0; digits < len && digits < 16 && strchr("0123456789abcdefABCDEF", line[digits]);
		     digits++)
			size = size * 16 +
			       (size_t)(line[digits] <= '9' ? line[digits] - '0' : (line[digits] | 32) - 'a' + 10);
		if (digits == 0 || digits > 15 || (digits < len && !strchr("; \t", line[digits])))
			return false;
		if (size == 0)
			break;
		if ((size_t)(end - *at) < size + 2 || memcmp(*at + size, "\r\n", 2) != 0)
			return false;
		buf_add(body, *at, size);
		*at += size + 2;
	}
	do {
		if (!cut_line(at, end, &line, &len))
			return false;
	} while (len > 0);
	return true;
}

static bool read_request(const char **at, const char *end)
{
	const char *line;
	size_t len;
	struct framing framing = {0};
	struct buf body = {0};
	if (end - *at >= 2 && memcmp(*at, "\r\n", 2) == 0)
		*at += 2;
	if (!cut_line(at, end, &line, &len))
		return false;
	const char *target = memchr(line, ' ', len);
	const char *version = target ? memchr(target + 1, ' ', len - (size_t)(target + 1 - line)) : NULL;
	if (!version || target == line || version == target + 1 || line + len - version != 9 ||
	    memcmp(version, " HTTP/1.", 8) != 0)
		return false;
	if (!read_fields(at, end, &framing) || (size_t)(end - *at) < framing.body_len)
		return false;
	bool whole = framing.codings == 0 || read_chunks(at, end, &body);
	struct seen *seen = whole ? list_add(&wanted) : NULL;
	if (!seen) {
		buf_free(&body);
		return false;
	}
	buf_add(&seen->verb, line, (size_t)(target - line));
	buf_add(&seen->target, target + 1, (size_t)(version - target - 1));
	if (framing.codings == 0)
		buf_add(&body, *at, framing.body_len);
	seen->body = body;
	*at += framing.body_len;
	return true;
}

/* ---- */

static bool buf_same(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* Sends the bytes, then nothing more; returns how many final answers came. */
static size_t converse(const char *data, size_t size)
{
	static unsigned runs;
	/* Another address of this machine each time: closed connections keep a port busy for a while. */
	struct sockaddr_in address = {.sin_family = AF_INET,
	                              .sin_port = htons((uint16_t)port),
	                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK + runs++ % 200)};
	struct buf answers = {0};
	char piece[4096];
	ssize_t got;
	size_t count = 0;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	must(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	for (size_t sent = 0; sent < size;) {
		got = send(fd, data + sent, size - sent, MSG_NOSIGNAL);
		if (got <= 0)
			break;
		sent += (size_t)got;
	}
	shutdown(fd, SHUT_WR);
	while ((got = read(fd, piece, sizeof(piece))) > 0)
		buf_add(&answers, piece, (size_t)got);
	close(fd);
	buf_add_char(&answers, '\0');
	for (const char *at = answers.data; (at = strstr(at, "HTTP/1.1 ")); at++)
		count += at[9] >= '1' && at[9] <= '5' && strncmp(at + 9, "100", 3) != 0;
	buf_free(&answers);
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool started;
	const char *at = (const char *)data;
	const char *end = at + size;
	if (!started)
		start();
	started = true;
	while (at < end && read_request(&at, end))
		continue;
	size_t answers = converse((const char *)data, size);
	must(served.count <= wanted.count && answers <= served.count + 1);
	for (size_t i = 0; i < served.count; i++) {
		must(buf_same(&served.requests[i].verb, &wanted.requests[i].verb));
		must(buf_same(&served.requests[i].target, &wanted.requests[i].target));
		must(buf_same(&served.requests[i].body, &wanted.requests[i].body));
	}
	list_clear(&served);
	list_clear(&wanted);
	return 0;
}
