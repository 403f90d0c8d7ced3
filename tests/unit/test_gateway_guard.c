/* The guard: what it lets through and what it refuses, row by row. */
#include "http/guard.h"

#include <criterion/criterion.h>
#include <string.h>

static struct http_request request_of(const char *verb, const char *path, const char *query)
{
	struct http_request request = {.verb = verb, .path = path, .query = query, .header_count = 1};
	request.headers[0] = (struct http_header){"Host", "example.org"};
	return request;
}

static void add_header(struct http_request *request, const char *name, const char *value)
{
	request->headers[request->header_count++] = (struct http_header){name, value};
}

Test(gateway_guard, targets)
{
	static const struct {
		const char *path, *query;
		enum status status;
	} rows[] = {
	    {"/", NULL, ST_OK},
	    {"/v1/users", NULL, ST_OK},
	    {"/v1/users/usr_1", "limit=5&search=a%20b", ST_OK},
	    {"/a%20b", NULL, ST_OK},
	    {"/a.b/...c", NULL, ST_OK},
	    {"", NULL, ST_MALFORMED_REQUEST},
	    {"*", NULL, ST_MALFORMED_REQUEST},
	    {"http://x/y", NULL, ST_MALFORMED_REQUEST},
	    {"//./x", NULL, ST_MALFORMED_REQUEST},
	    {"/x;a=b", NULL, ST_MALFORMED_REQUEST},
	    {"/x\\y", NULL, ST_MALFORMED_REQUEST},
	    {"/.", NULL, ST_MALFORMED_REQUEST},
	    {"/x/..", NULL, ST_MALFORMED_REQUEST},
	    {"/x/%2e%2E/y", NULL, ST_MALFORMED_REQUEST},
	    {"/x/.%2e", NULL, ST_MALFORMED_REQUEST},
	    {"/x%2fy", NULL, ST_MALFORMED_REQUEST},
	    {"/x%5Cy", NULL, ST_MALFORMED_REQUEST},
	    {"/x%00", NULL, ST_MALFORMED_REQUEST},
	    {"/x%0d%0ay", NULL, ST_MALFORMED_REQUEST},
	    {"/x%7f", NULL, ST_MALFORMED_REQUEST},
	    {"/x%", NULL, ST_MALFORMED_REQUEST},
	    {"/x%4", NULL, ST_MALFORMED_REQUEST},
	    {"/x%zz", NULL, ST_MALFORMED_REQUEST},
	    {"/x\x01", NULL, ST_MALFORMED_REQUEST},
	    {"/\xc3\xa4", NULL, ST_MALFORMED_REQUEST},
	    {"/x y", NULL, ST_MALFORMED_REQUEST},
	    {"/x", "a=%00", ST_MALFORMED_REQUEST},
	    {"/x", "a=%g0", ST_MALFORMED_REQUEST},
	    {"/x", "a=b c", ST_MALFORMED_REQUEST},
	    {"/x", "a=\xff", ST_MALFORMED_REQUEST},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_request request = request_of("GET", rows[i].path, rows[i].query);
		cr_assert_eq(guard_check(&request).status, rows[i].status, "row %zu: %s", i, rows[i].path);
	}
	/* The mount says whether those are acceptable. */
	static const char *const empty[] = {"//x", "/x/", "/x//y", "//"};
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		struct http_request request = request_of("GET", empty[i], NULL);
		struct guard_verdict verdict = guard_check(&request);
		cr_assert(verdict.status == ST_OK && verdict.empty_segment, "%s", empty[i]);
	}
	struct http_request plain = request_of("GET", "/", NULL);
	cr_assert_not(guard_check(&plain).empty_segment);
	static char longer[9000];
	memset(longer, 'a', sizeof(longer) - 1);
	longer[0] = '/';
	struct http_request request = request_of("GET", longer, NULL);
	cr_assert_eq(guard_check(&request).status, ST_URI_TOO_LONG);
}

Test(gateway_guard, headers)
{
	static const struct {
		const char *name, *value;
		enum status status;
	} rows[] = {
	    {"X-Any", "value\twith tab", ST_OK},
	    {"Content-Length", "5", ST_OK},
	    {"Content-Length", "0", ST_OK},
	    {"Expect", "100-continue", ST_OK},
	    {"Content-Length", "", ST_MALFORMED_REQUEST},
	    {"Content-Length", "+5", ST_MALFORMED_REQUEST},
	    {"Content-Length", "-1", ST_MALFORMED_REQUEST},
	    {"Content-Length", "5,5", ST_MALFORMED_REQUEST},
	    {"Content-Length", "0x5", ST_MALFORMED_REQUEST},
	    {"Content-Length", "5 ", ST_MALFORMED_REQUEST},
	    {"Transfer-Encoding", "chunked", ST_OK},
	    {"transfer-encoding", "identity", ST_MALFORMED_REQUEST},
	    {"Transfer-Encoding", "", ST_MALFORMED_REQUEST},
	    {"Transfer-Encoding", "Chunked", ST_MALFORMED_REQUEST},
	    {"Transfer-Encoding", "gzip, chunked", ST_MALFORMED_REQUEST},
	    {"Transfer-Encoding", "chunked, chunked", ST_MALFORMED_REQUEST},
	    {"Transfer-Encoding", "chunked;q=1", ST_MALFORMED_REQUEST},
	    {"Host", "second", ST_MALFORMED_REQUEST},
	    {"Expect", "something", ST_MALFORMED_REQUEST},
	    {"Bad Name", "x", ST_MALFORMED_REQUEST},
	    {"Bad(Name)", "x", ST_MALFORMED_REQUEST},
	    {"", "x", ST_MALFORMED_REQUEST},
	    {"X",
	     "a\x01"
	     "b",
	     ST_MALFORMED_REQUEST},
	    {"X", "a\r\nb", ST_MALFORMED_REQUEST},
	    {"X", "a\x7f", ST_MALFORMED_REQUEST},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_request request = request_of("POST", "/x", NULL);
		add_header(&request, rows[i].name, rows[i].value);
		cr_assert_eq(guard_check(&request).status, rows[i].status, "row %zu: %s: %s", i, rows[i].name,
		             rows[i].value);
	}
}

Test(gateway_guard, repeated_and_missing)
{
	static const char *const single[] = {"Content-Length", "Authorization",   "Content-Type",
	                                     "If-Match",       "Idempotency-Key", "Expect"};
	for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
		struct http_request request = request_of("POST", "/x", NULL);
		const char *value = strcmp(single[i], "Expect") == 0 ? "100-continue" : "5";
		add_header(&request, single[i], value);
		cr_assert_eq(guard_check(&request).status, ST_OK);
		add_header(&request, single[i], value);
		cr_assert_eq(guard_check(&request).status, ST_MALFORMED_REQUEST, "%s twice", single[i]);
	}
	static const char *const hosts[] = {"", "a b", "a/b", "u@h", "a,b", "a\\b"};
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		struct http_request request = request_of("GET", "/x", NULL);
		request.headers[0].value = hosts[i];
		cr_assert_eq(guard_check(&request).status, ST_MALFORMED_REQUEST, "host %s", hosts[i]);
	}
	struct http_request none = request_of("GET", "/x", NULL);
	none.header_count = 0;
	cr_assert_eq(guard_check(&none).status, ST_MALFORMED_REQUEST);
	struct http_request many = request_of("GET", "/x", NULL);
	while (many.header_count < HTTP_HEADERS_MAX)
		add_header(&many, "A", "b");
	cr_assert_eq(guard_check(&many).status, ST_HEADERS_TOO_LARGE);
}

Test(gateway_guard, verbs_and_lengths)
{
	static const char *const bad[] = {"TRACE", "CONNECT", "OPTIONS", "get", "", "PROPFIND"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct http_request request = request_of(bad[i], "/x", NULL);
		cr_assert_eq(guard_check(&request).status, ST_METHOD_NOT_ALLOWED);
	}
	struct http_request post = request_of("POST", "/x", NULL);
	add_header(&post, "Content-Length", "12345");
	cr_assert_eq(guard_check(&post).content_length, 12345);
	post.headers[1].value = "99999999999999999999";
	cr_assert_eq(guard_check(&post).content_length, INT64_MAX);
	struct http_request get = request_of("GET", "/x", NULL);
	add_header(&get, "Content-Length", "1");
	cr_assert_eq(guard_check(&get).status, ST_MALFORMED_REQUEST);
	get.headers[1] = (struct http_header){"Transfer-Encoding", "chunked"};
	cr_assert_eq(guard_check(&get).status, ST_MALFORMED_REQUEST);
	post.headers[1] = (struct http_header){"Transfer-Encoding", "chunked"};
	cr_assert_eq(guard_check(&post).content_length, HTTP_LENGTH_CHUNKED);
	add_header(&post, "Content-Length", "0");
	cr_assert_eq(guard_check(&post).status, ST_MALFORMED_REQUEST);
	post.headers[2] = (struct http_header){"Transfer-Encoding", "chunked"};
	cr_assert_eq(guard_check(&post).status, ST_MALFORMED_REQUEST);
	post.header_count = 2;
	post.http_1_0 = true;
	cr_assert_eq(guard_check(&post).status, ST_MALFORMED_REQUEST);
}

/* Lays a header block out as the HTTP server leaves it: separators replaced by NUL. '|' stands for such a NUL. */
static bool layout_of(const char *pattern, const size_t offsets[], size_t count)
{
	static char block[256];
	size_t len = strlen(pattern);
	memcpy(block, pattern, len + 1);
	for (size_t i = 0; i < len; i++)
		block[i] = block[i] == '|' ? '\0' : block[i];
	struct http_request request = {.verb = block, .path = block + 4, .header_count = count};
	for (size_t i = 0; i < count; i++)
		request.headers[i] = (struct http_header){block + offsets[2 * i], block + offsets[2 * i + 1]};
	const char *end = guard_layout(&request, block + 12);
	cr_assert(!end || end == block + len, "behind the empty line");
	return end != NULL;
}

Test(gateway_guard, layout)
{
	cr_assert(layout_of("GET|/a|HTTP/1.1||Host| h||A|b||\r|", (const size_t[]){17, 23, 26, 28}, 2));
	cr_assert_not(layout_of("GET|/a|HTTP/1.1||Host| h|A|b||\r|", (const size_t[]){17, 23, 25, 27}, 2), "bare LF");
	cr_assert_not(layout_of("GET|/a|HTTP/1.1||Host| h||A|b|| c\r|", (const size_t[]){17, 23, 26, 28}, 2), "fold");
	cr_assert_not(layout_of("GET|/a|HTTP/1.1||Host|| h||A|b||\r|", (const size_t[]){17, 24, 27, 29}, 2),
	              "blank, colon");
	cr_assert_not(layout_of("GET|/a|HTTP/1.1|Host| h||\r|", (const size_t[]){16, 22}, 1), "bare LF in line 1");
	cr_assert_not(layout_of("GET|/a|HTTP/1.1||Host| h|\r|", (const size_t[]){17, 23}, 1),
	              "bare LF in the last line");
}

Test(gateway_guard, absolute_targets)
{
	static const struct {
		const char *target, *host, *path; /* NULL = refused */
	} rows[] = {
	    {"/a", "x", "/a"},
	    {"http://x/a", "x", "/a"},
	    {"HTTP://X/", "x", "/"},
	    {"https://x:80/a/b", "x:80", "/a/b"},
	    {"http://[::1]:80/a", "[::1]:80", "/a"},
	    {"http://x/a", "y", NULL},
	    {"http://x:80/a", "x", NULL},
	    {"http://x/a", "x/a", NULL},
	    {"http://u@x/a", "x", NULL},
	    {"http:///a", "", "/a"}, /* and refused for its Host */
	    {"ftp://x/a", "x", NULL},
	    {"x/a", "x", NULL},
	    {"*", "x", NULL},
	    {"", "x", NULL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_request request = request_of("GET", rows[i].target, NULL);
		request.headers[0].value = rows[i].host;
		cr_assert_eq(guard_absolute(&request), rows[i].path != NULL, "row %zu", i);
		cr_assert_str_eq(request.path, rows[i].path ? rows[i].path : rows[i].target, "row %zu", i);
	}
}
