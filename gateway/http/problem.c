/* RFC 9457 problem documents, printed from the proto message so that they cannot drift from the contract. */
#include "http/problem.h"

#include "common.pb-c.h"
#include "json/pbjson.h"

#include <stdio.h>
#include <string.h>

void problem_document(const struct failure *failure, const char *request_id, struct buf *out)
{
	const struct status_info *info = status_info((int)failure->status);
	char type[96];
	Common__Problem problem = COMMON__PROBLEM__INIT;
	snprintf(type, sizeof(type), "urn:denizen:error:%s", info->name);
	problem.type = type;
	problem.title = (char *)info->text;
	problem.has_status = 1;
	problem.status = (uint32_t)info->http;
	problem.code = (char *)info->name;
	problem.detail = (char *)(failure->reason ? failure->reason : info->text);
	problem.field = failure->field && failure->field[0] != '\0' ? (char *)failure->field : NULL;
	problem.request_id = (char *)request_id;
	pbjson_print(&problem.base, out);
}

/* Overload and outages always say when to come back. */
static uint32_t problem_retry_sec(const struct failure *failure, int http)
{
	if (failure->retry_after_ms > 0)
		return (failure->retry_after_ms + 999) / 1000;
	return http == 429 || http == 503 || http == 504 ? 1 : 0;
}

void problem_headers(struct exchange *exchange, int http)
{
	const struct failure *failure = &exchange->failure;
	char seconds[16];
	if (http == 401)
		http_header_add(exchange, "WWW-Authenticate", "Bearer realm=\"denizen\"");
	if (http == 405 && failure->allow)
		http_header_add(exchange, "Allow", failure->allow);
	uint32_t retry_sec = problem_retry_sec(failure, http);
	if (retry_sec > 0) {
		snprintf(seconds, sizeof(seconds), "%u", retry_sec);
		http_header_add(exchange, "Retry-After", seconds);
	}
}

void problem_print(struct exchange *exchange)
{
	const struct failure *failure = &exchange->failure;
	int http = status_info((int)failure->status)->http;
	exchange->response.status = http;
	exchange->response.content_type = "application/problem+json";
	problem_headers(exchange, http);
	buf_reset(&exchange->response.body);
	problem_document(failure, exchange->request_id, &exchange->response.body);
}
