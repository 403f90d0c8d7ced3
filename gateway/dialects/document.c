/* Documents of a dialect. */
#include "dialects/document.h"

#include "http/pairs.h"

#include <string.h>

const struct dialect_error *dialect_error_find(const struct dialect_error *errors, const struct exchange *exchange)
{
	const struct failure *failure = &exchange->failure;
	const struct method *method = exchange->route ? exchange->route->method : NULL;
	for (; errors->status != ST_OK; errors++) {
		if (errors->status != failure->status ||
		    (errors->method != 0 && (!method || method->id != errors->method)))
			continue;
		if (!errors->field || (failure->field && strcmp(errors->field, failure->field) == 0))
			return errors;
	}
	return errors;
}

static enum status document_fail(struct exchange *exchange, enum status status, const struct pbjson_error *error)
{
	return http_fail(exchange, status == ST_RESOURCE_EXHAUSTED ? ST_UNAVAILABLE : status, error->field,
	                 error->reason);
}

enum status document_read(struct exchange *exchange, const ProtobufCMessageDescriptor *type,
                          const struct pbjson_rules *rules, ProtobufCMessage **ret_message)
{
	const char *said = http_header_find(&exchange->request, "Content-Type");
	const char *json = exchange->body.len > 0 ? exchange->body.data : "{}";
	size_t len = exchange->body.len > 0 ? exchange->body.len : 2;
	struct pbjson_error error = {0};
	if (exchange->body.len > 0 && said && !pairs_type_is(said, "application/json"))
		return http_fail(exchange, ST_UNSUPPORTED_MEDIA_TYPE, NULL,
		                 "The Content-Type must be application/json");
	enum status status = pbjson_parse(type, json, len, rules, exchange->arena, ret_message, &error);
	return status == ST_OK ? ST_OK : document_fail(exchange, status, &error);
}

enum status document_read_query(struct exchange *exchange, const ProtobufCMessageDescriptor *type,
                                const struct pbjson_rules *rules, ProtobufCMessage **ret_message)
{
	const char *query = exchange->request.query;
	struct pbjson_error error = {0};
	struct pairs pairs;
	ProtobufCMessage *message = document_new(exchange, type);
	if (!message)
		return exchange->failure.status;
	enum status status = pairs_read(query, query ? strlen(query) : 0, exchange->arena, &pairs, &error);
	if (status == ST_OK)
		status = pairs_to_message(&pairs, rules, message, exchange->arena, &error);
	if (status != ST_OK)
		return document_fail(exchange, status, &error);
	*ret_message = message;
	return ST_OK;
}

void *document_new(struct exchange *exchange, const ProtobufCMessageDescriptor *type)
{
	void *message = arena_alloc(exchange->arena, type->sizeof_message);
	if (message)
		protobuf_c_message_init(type, message);
	else
		(void)http_fail(exchange, ST_UNAVAILABLE, NULL, "The gateway is out of memory");
	return message;
}

void document_print(struct exchange *exchange, int http, const ProtobufCMessage *message,
                    const struct pbjson_style *style)
{
	exchange->response.status = http;
	exchange->response.content_type = "application/json";
	buf_reset(&exchange->response.body);
	pbjson_print_styled(message, style, &exchange->response.body);
}

void document_redirect(struct exchange *exchange, int http, const char *address)
{
	bool printable = address[0] != '\0';
	for (const char *at = address; *at; at++)
		printable = printable && *at > ' ' && *at <= '~';
	if (!printable) {
		(void)http_fail(exchange, ST_INTERNAL, NULL, NULL);
		return;
	}
	exchange->response.status = http;
	http_header_add(exchange, "Location", address);
}
