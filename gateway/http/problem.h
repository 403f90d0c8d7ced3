/* RFC 9457 problem documents: the native API's errors, and those of requests that reached no route. */
#pragma once

#include "http/request.h"

/* Fills exchange->response from exchange->failure: status, document, WWW-Authenticate, Retry-After, Allow. */
void problem_print(struct exchange *exchange);

/* Adds what a failure of this HTTP status has in its head, whatever the body's shape: WWW-Authenticate, Retry-After, Allow. */
void problem_headers(struct exchange *exchange, int http);

/* Prints a problem document alone; request_id may be NULL. field and reason as in struct failure. */
void problem_document(const struct failure *failure, const char *request_id, struct buf *out);
