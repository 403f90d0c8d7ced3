/* Fuzz target: the guard over request lines and headers in any bytes. What passes must be safe to route. */
#include "http/guard.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* Cuts the next line out of text; NULL at the end. */
static char *next_line(char **text)
{
	char *line = *text;
	if (line == NULL)
		return NULL;
	char *newline = strchr(line, '\n');
	if (newline != NULL)
		*newline++ = '\0';
	*text = newline;
	return line;
}

/* First line "VERB path query", then "name:value" lines. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct http_request request = {.verb = "GET", .path = ""};
	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	char *rest = text;
	char *line = next_line(&rest);
	char *path = strchr(line, ' ');
	if (path != NULL) {
		*path++ = '\0';
		request.verb = line;
		request.path = path;
		char *query = strchr(path, ' ');
		if (query != NULL)
			*query++ = '\0';
		request.query = query;
	}
	while ((line = next_line(&rest)) != NULL && request.header_count < HTTP_HEADERS_MAX) {
		char *colon = strchr(line, ':');
		if (colon != NULL)
			*colon++ = '\0';
		request.headers[request.header_count++] = (struct http_header){line, colon != NULL ? colon : line};
	}
	struct guard_verdict verdict = guard_check(&request);
	if (verdict.status == ST_OK) {
		must(request.path[0] == '/' && (verdict.empty_segment || strstr(request.path, "//") == NULL) &&
		     strstr(request.path, "/../") == NULL);
		must(strcasestr(request.path, "%2f") == NULL && strcasestr(request.path, "%00") == NULL);
		const char *coding = http_header_find(&request, "Transfer-Encoding");
		must(http_header_find(&request, "Host") != NULL);
		must(!coding || (strcmp(coding, "chunked") == 0 && !http_header_find(&request, "Content-Length")));
		must(coding ? verdict.content_length == HTTP_LENGTH_CHUNKED : verdict.content_length >= 0);
	}
	free(text);
	return 0;
}
