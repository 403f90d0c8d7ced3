/* Documents of a dialect: bodies and queries to messages, messages to answers, failures to codes. */
#pragma once

#include "dialects/dialect.h"
#include "http/problem.h"
#include "json/pbjson.h"

/* What a failure is called in a dialect's protocol. The first row that fits is taken; the last has ST_OK and fits all. */
struct dialect_error {
	enum status status;
	uint32_t method;   /* of the route; 0 = any, or no route */
	const char *field; /* that the failure names; NULL = any */
	int http;
	const char *code, *text;
};
const struct dialect_error *dialect_error_find(const struct dialect_error *errors, const struct exchange *exchange);

/* Reads the body, JSON of any Content-Type that says JSON or nothing, into a new message; no body is the empty object. On failure it has called
 * http_fail. */
MUST_USE enum status document_read(struct exchange *exchange, const ProtobufCMessageDescriptor *type,
                                   const struct pbjson_rules *rules, ProtobufCMessage **ret_message);

/* The same for the query. */
MUST_USE enum status document_read_query(struct exchange *exchange, const ProtobufCMessageDescriptor *type,
                                         const struct pbjson_rules *rules, ProtobufCMessage **ret_message);

/* A new message of the type, empty; NULL (http_fail called) without memory. */
void *document_new(struct exchange *exchange, const ProtobufCMessageDescriptor *type);

/* Answers with the message. style may be NULL. */
void document_print(struct exchange *exchange, int http, const ProtobufCMessage *message,
                    const struct pbjson_style *style);

/* Answers with a redirect: 302, 303, 307 or 308 to an address of printable ASCII. What is none becomes ST_INTERNAL: an address that came from outside is
 * checked before. */
void document_redirect(struct exchange *exchange, int http, const char *address);
