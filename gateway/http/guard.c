/* Strict check of a parsed HTTP request (RFC 9110, RFC 9112). */
#include "http/guard.h"

#include <string.h>
#include <strings.h>

#define TARGET_MAX 8192
#define LENGTH_DIGITS_MAX 15

static const char *const verbs[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};

/* Headers that steer the gateway: a second one could be read differently by the next reader. */
static const char *const single_headers[] = {"Host",     "Content-Length",  "Authorization", "Content-Type",
                                             "If-Match", "Idempotency-Key", "Expect",        "Transfer-Encoding"};

static struct guard_verdict guard_refuse(enum status status, const char *reason)
{
	return (struct guard_verdict){.status = status, .reason = reason};
}

bool guard_token_char(unsigned char c)
{
	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return true;
	return c != '\0' && strchr("!#$%&'*+-.^_`|~", c);
}

static bool guard_header_name(const char *name)
{
	if (name[0] == '\0')
		return false;
	for (; *name != '\0'; name++) {
		if (!guard_token_char((unsigned char)*name))
			return false;
	}
	return true;
}

static bool guard_header_value(const char *value)
{
	for (; *value != '\0'; value++) {
		unsigned char c = (unsigned char)*value;
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static int guard_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Percent-encodings must be whole and must not hide a control byte or a path separator. */
static bool guard_percent(const char *text, bool path)
{
	for (; *text != '\0'; text++) {
		if (*text != '%')
			continue;
		int high = guard_hex(text[1]);
		int low = high < 0 ? -1 : guard_hex(text[2]);
		if (low < 0)
			return false;
		int byte = high * 16 + low;
		if (byte == 0 || (path && (byte < 0x20 || byte == 0x7f || byte == '/' || byte == '\\')))
			return false;
	}
	return true;
}

static bool guard_visible(const char *text)
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		if (c <= 0x20 || c >= 0x7f)
			return false;
	}
	return true;
}

/* One segment is a dot segment, also when its dots are percent-encoded. */
static bool guard_dot_segment(const char *segment, size_t len)
{
	size_t dots = 0;
	for (size_t i = 0; i < len; dots++) {
		if (segment[i] == '.') {
			i++;
		} else if (len - i >= 3 && segment[i] == '%' && segment[i + 1] == '2' &&
		           (segment[i + 2] | 0x20) == 'e') {
			i += 3;
		} else {
			return false;
		}
	}
	return dots == 1 || dots == 2;
}

static bool guard_path(const char *path, bool *ret_empty_segment)
{
	if (path[0] != '/' || strchr(path, ';') || strchr(path, '\\') || strchr(path, '#'))
		return false;
	if (!guard_visible(path) || !guard_percent(path, true))
		return false;
	for (const char *segment = path + 1;;) {
		size_t len = strcspn(segment, "/");
		bool last = segment[len] == '\0';
		if (guard_dot_segment(segment, len))
			return false;
		*ret_empty_segment = *ret_empty_segment || (len == 0 && !(last && segment == path + 1));
		if (last)
			return true;
		segment += len + 1;
	}
}

static struct guard_verdict guard_target(const struct http_request *request)
{
	size_t len = strlen(request->path) + (request->query ? strlen(request->query) : 0);
	if (len > TARGET_MAX)
		return guard_refuse(ST_URI_TOO_LONG, NULL);
	struct guard_verdict verdict = {.status = ST_OK};
	if (!guard_path(request->path, &verdict.empty_segment))
		return guard_refuse(ST_MALFORMED_REQUEST, GUARD_PATH_REASON);
	if (request->query && (!guard_visible(request->query) || !guard_percent(request->query, false)))
		return guard_refuse(ST_MALFORMED_REQUEST, "The query is not acceptable");
	return verdict;
}

static bool guard_verb(const char *verb)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verb, verbs[i]) == 0)
			return true;
	}
	return false;
}

static bool guard_content_length(const char *text, int64_t *ret_length)
{
	size_t digits = strspn(text, "0123456789");
	if (digits == 0 || text[digits] != '\0')
		return false;
	int64_t length = 0;
	if (digits > LENGTH_DIGITS_MAX) {
		length = INT64_MAX; /* refused as too large */
	} else {
		for (size_t i = 0; i < digits; i++)
			length = length * 10 + (text[i] - '0');
	}
	*ret_length = length;
	return true;
}

static bool guard_repeated(const struct http_request *request)
{
	for (size_t s = 0; s < sizeof(single_headers) / sizeof(single_headers[0]); s++) {
		int seen = 0;
		for (size_t i = 0; i < request->header_count; i++)
			seen += strcasecmp(request->headers[i].name, single_headers[s]) == 0;
		if (seen > 1)
			return true;
	}
	return false;
}

/* Host is uri-host [ ":" port ]: no blanks, no userinfo, no path. */
static bool guard_host(const char *host)
{
	return host && host[0] != '\0' && guard_visible(host) && !strpbrk(host, "/@\\?#,");
}

static struct guard_verdict guard_headers(const struct http_request *request)
{
	if (request->header_count >= HTTP_HEADERS_MAX)
		return guard_refuse(ST_HEADERS_TOO_LARGE, NULL);
	for (size_t i = 0; i < request->header_count; i++) {
		if (!guard_header_name(request->headers[i].name) || !guard_header_value(request->headers[i].value))
			return guard_refuse(ST_MALFORMED_REQUEST, "A header field is not well formed");
	}
	if (guard_repeated(request))
		return guard_refuse(ST_MALFORMED_REQUEST, "A header field that may occur once is repeated");
	if (!guard_host(http_header_find(request, "Host")))
		return guard_refuse(ST_MALFORMED_REQUEST, "The request needs one valid Host header field");
	const char *expect = http_header_find(request, "Expect");
	if (expect && strcasecmp(expect, "100-continue") != 0)
		return guard_refuse(ST_MALFORMED_REQUEST, "The Expect header field is not supported");
	return (struct guard_verdict){.status = ST_OK};
}

/* How long the body is: one of Content-Length and Transfer-Encoding says it, never both. */
static struct guard_verdict guard_length(const struct http_request *request, struct guard_verdict verdict)
{
	const char *length = http_header_find(request, "Content-Length");
	const char *coding = http_header_find(request, "Transfer-Encoding");
	if (coding && (length || request->http_1_0 || strcmp(coding, "chunked") != 0))
		return guard_refuse(ST_MALFORMED_REQUEST,
		                    "Transfer-Encoding must be chunked, in HTTP/1.1 and without Content-Length");
	if (coding)
		verdict.content_length = HTTP_LENGTH_CHUNKED;
	if (length && !guard_content_length(length, &verdict.content_length))
		return guard_refuse(ST_MALFORMED_REQUEST, "Content-Length must be a decimal number");
	bool bodiless = strcmp(request->verb, "GET") == 0 || strcmp(request->verb, "HEAD") == 0;
	if (bodiless && verdict.content_length != 0)
		return guard_refuse(ST_MALFORMED_REQUEST, "A GET or HEAD request carries no body");
	return verdict;
}

struct guard_verdict guard_check(const struct http_request *request)
{
	struct guard_verdict verdict = guard_headers(request);
	if (verdict.status == ST_OK)
		verdict = guard_target(request);
	if (verdict.status == ST_OK)
		verdict = guard_length(request, verdict);
	/* Last: all else is in order, so it can be asked what this path allows. */
	if (verdict.status == ST_OK && !guard_verb(request->verb))
		verdict.status = ST_METHOD_NOT_ALLOWED;
	return verdict;
}

bool guard_absolute(struct http_request *request)
{
	const char *host = http_header_find(request, "Host");
	const char *authority = request->path;
	if (request->path[0] == '/')
		return true;
	if (strncasecmp(authority, "http://", 7) == 0)
		authority += 7;
	else if (strncasecmp(authority, "https://", 8) == 0)
		authority += 8;
	size_t len = strcspn(authority, "/");
	if (authority == request->path || !host || strlen(host) != len || strncasecmp(authority, host, len) != 0)
		return false;
	request->path = authority + len;
	return true;
}

/* "GET /path?query HTTP/1.1" with single blanks, each separator now NUL. */
static bool guard_request_line(const struct http_request *request, const char *version)
{
	const char *last = request->query ? request->query : request->path;
	if (request->path != request->verb + strlen(request->verb) + 1)
		return false;
	if (request->query && request->query != request->path + strlen(request->path) + 1)
		return false;
	return version == last + strlen(last) + 1 + strlen("HTTP/");
}

const char *guard_layout(const struct http_request *request, const char *version)
{
	/* Each line was ended by CR LF (both now NUL) and the next one follows at once. */
	const char *next = version + strlen(version) + 2;
	if (!guard_request_line(request, version))
		return NULL;
	for (size_t i = 0; i < request->header_count; i++) {
		const struct http_header *header = &request->headers[i];
		if (header->name != next)
			return NULL;
		/* Between the colon (now NUL) and the value only optional white space may stand. */
		for (const char *blank = header->name + strlen(header->name) + 1; blank < header->value; blank++) {
			if (*blank != ' ' && *blank != '\t')
				return NULL;
		}
		next = header->value + strlen(header->value) + 2;
	}
	/* The empty line ends the block; its LF is NUL by now. */
	return request->header_count > 0 && next[0] == '\r' && next[1] == '\0' ? next + 2 : NULL;
}
