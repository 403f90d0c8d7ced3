/* The native API: routes straight from the method table, JSON by field descriptor, RFC 9457 problem documents. */
#include "../dialect.h"

#include "http/pairs.h"
#include "http/problem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fields that only path, headers or the key may set. */
static const char *const reserved_fields[] = {"if_match_version", "null_fields", "project_id"};
#define RESERVED_COUNT (sizeof(reserved_fields) / sizeof(reserved_fields[0]))

static const ProtobufCFieldDescriptor *native_field(const ProtobufCMessageDescriptor *type, const char *name)
{
	return protobuf_c_message_descriptor_get_field_by_name(type, name);
}

/* Names of the proto fields that body and query may not set: reserved ones but null_fields (pbjson fills it from the
 * nulls of the body) and the path's parameters. NULL-ended. */
static void native_skip_list(const struct exchange *exchange, const char *ret_skip[HTTP_PARAMS_MAX + 4])
{
	size_t used = 0;
	for (size_t i = 0; i < RESERVED_COUNT; i++)
		ret_skip[used++] = reserved_fields[i];
	for (size_t i = 0; i < exchange->param_count; i++)
		ret_skip[used++] = exchange->params[i].name;
	ret_skip[used] = NULL;
}

static enum status native_fail_json(struct exchange *exchange, const struct pbjson_error *error)
{
	return http_fail(exchange, ST_INVALID_ARGUMENT, error->field, error->reason);
}

/* A body of JSON becomes the message; one that may be absent is the empty object then. */
static enum status native_map_body(struct exchange *exchange, const char *const *skip, ProtobufCMessage **ret_request)
{
	const struct method *method = exchange->route->method;
	const struct pbjson_rules rules = {.skip = skip, .required = method->required};
	const char *json = exchange->body.data;
	size_t len = exchange->body.len;
	struct pbjson_error error = {0};
	if (len == 0 && method->required && !method->required[0])
		return http_fail(exchange, ST_INVALID_ARGUMENT, "", "The body is missing");
	if (len == 0) {
		json = "{}";
		len = 2;
	} else if (!pairs_type_is(http_header_find(&exchange->request, "Content-Type"), "application/json")) {
		return http_fail(exchange, ST_UNSUPPORTED_MEDIA_TYPE, NULL,
		                 "The Content-Type must be application/json");
	}
	enum status status = pbjson_parse(method->request, json, len, &rules, exchange->arena, ret_request, &error);
	return status == ST_OK ? ST_OK : native_fail_json(exchange, &error);
}

static enum status native_map_query(struct exchange *exchange, const char *const *skip, ProtobufCMessage *request)
{
	const struct pbjson_rules rules = {.skip = skip};
	const char *query = exchange->request.query ? exchange->request.query : "";
	struct pbjson_error error = {0};
	struct pairs pairs;
	enum status status = pairs_read(query, strlen(query), exchange->arena, &pairs, &error);
	if (status == ST_OK)
		status = pairs_to_message(&pairs, &rules, request, exchange->arena, &error);
	return status == ST_OK ? ST_OK : native_fail_json(exchange, &error);
}

static enum status native_refuse_query(struct exchange *exchange)
{
	const char *query = exchange->request.query;
	const char *name = http_decode(exchange->arena, query, strcspn(query, "=&"), true);
	return http_fail(exchange, ST_INVALID_ARGUMENT, name, "This route takes no query parameters");
}

static enum status native_map_path(struct exchange *exchange, ProtobufCMessage *request)
{
	struct pbjson_error error = {0};
	for (size_t i = 0; i < exchange->param_count; i++) {
		enum status status =
		    pbjson_set(request, exchange->params[i].name, exchange->params[i].value, exchange->arena, &error);
		if (status != ST_OK)
			return http_fail(exchange, ST_INVALID_ARGUMENT, exchange->params[i].name, error.reason);
	}
	return ST_OK;
}

/* If-Match: "5" (strong) becomes if_match_version = 5; * asks nothing that the write does not ask anyway. */
static enum status native_map_if_match(struct exchange *exchange, ProtobufCMessage *request)
{
	const char *tag = http_header_find(&exchange->request, "If-Match");
	char digits[20] = "";
	struct pbjson_error error = {0};
	if (!tag || strcmp(tag, "*") == 0 || !exchange->route->method->write)
		return ST_OK;
	if (!native_field(request->descriptor, "if_match_version"))
		return http_fail(exchange, ST_INVALID_ARGUMENT, "If-Match", "This route does not support If-Match");
	size_t len = tag[0] == '"' ? strspn(tag + 1, "0123456789") : 0;
	if (strncmp(tag, "W/", 2) == 0)
		return http_fail(exchange, ST_PRECONDITION_FAILED, "If-Match", "If-Match needs a strong ETag");
	if (len == 0 || len >= sizeof(digits) - 1 || strcmp(tag + 1 + len, "\"") != 0)
		return http_fail(exchange, ST_INVALID_ARGUMENT, "If-Match", "If-Match must be one ETag of this API");
	memcpy(digits, tag + 1, len);
	if (pbjson_set(request, "if_match_version", digits, exchange->arena, &error) != ST_OK)
		return http_fail(exchange, ST_INVALID_ARGUMENT, "If-Match", error.reason);
	return ST_OK;
}

static enum status native_map_in(struct exchange *exchange, ProtobufCMessage **ret_request)
{
	const struct method *method = exchange->route->method;
	const char *skip[HTTP_PARAMS_MAX + 4];
	ProtobufCMessage *request = NULL;
	bool body = strcmp(exchange->route->row.verb, "GET") != 0 && strcmp(exchange->route->row.verb, "DELETE") != 0;
	native_skip_list(exchange, skip);
	if (body) {
		if (exchange->request.query && exchange->request.query[0] != '\0')
			return native_refuse_query(exchange);
		enum status status = native_map_body(exchange, skip, &request);
		if (status != ST_OK)
			return status;
	} else {
		if (exchange->body.len > 0)
			return http_fail(exchange, ST_INVALID_ARGUMENT, "", "This route takes no body");
		request = arena_alloc(exchange->arena, method->request->sizeof_message);
		if (!request)
			return http_fail(exchange, ST_UNAVAILABLE, NULL, "The gateway is out of memory");
		protobuf_c_message_init(method->request, request);
		enum status status = native_map_query(exchange, skip, request);
		if (status != ST_OK)
			return status;
	}
	enum status status = native_map_path(exchange, request);
	if (status == ST_OK)
		status = native_map_if_match(exchange, request);
	if (status == ST_OK)
		*ret_request = request;
	return status;
}

/* Reads a set top-level int64 field; false when the type has none or it is absent. */
static bool native_int_field(const ProtobufCMessage *message, const char *name, int64_t *ret_value)
{
	const ProtobufCFieldDescriptor *field = native_field(message->descriptor, name);
	const char *base = (const char *)message;
	if (!field || field->type != PROTOBUF_C_TYPE_INT64 || field->label != PROTOBUF_C_LABEL_OPTIONAL)
		return false;
	if (!*(const protobuf_c_boolean *)(base + field->quantifier_offset))
		return false;
	*ret_value = *(const int64_t *)(base + field->offset);
	return true;
}

static const char *native_text_field(const ProtobufCMessage *message, const char *name)
{
	const ProtobufCFieldDescriptor *field = native_field(message->descriptor, name);
	if (!field || field->type != PROTOBUF_C_TYPE_STRING || field->label == PROTOBUF_C_LABEL_REPEATED)
		return NULL;
	return *(char *const *)((const char *)message + field->offset);
}

/* Adds ETag and decides 304 for a read whose If-None-Match names the same version. */
static bool native_not_modified(struct exchange *exchange, int64_t version)
{
	char tag[32];
	snprintf(tag, sizeof(tag), "\"%lld\"", (long long)version);
	return http_tag(exchange, tag) && !exchange->route->method->write;
}

/* Whether what a POST to path makes has a path of its own: path, a slash and its id. */
static bool native_has_items(const char *path)
{
	size_t len = strlen(path);
	for (unsigned i = 0; i < method_count; i++) {
		const char *other = method_table[i].http_path;
		if (other && strncmp(other, path, len) == 0 && strncmp(other + len, "/{", 2) == 0 &&
		    !strchr(other + len + 1, '/'))
			return true;
	}
	return false;
}

static void native_map_out(struct exchange *exchange, const ProtobufCMessage *reply)
{
	struct http_response *response = &exchange->response;
	int64_t version;
	response->status = exchange->route->method->http_success;
	if (native_int_field(reply, "version", &version) && native_not_modified(exchange, version)) {
		response->status = 304;
		return;
	}
	if (reply->descriptor->n_fields == 0) {
		response->status = 204;
		return;
	}
	const char *id = native_text_field(reply, "id");
	if (response->status == 201 && id && native_has_items(exchange->route->row.path)) {
		const char *location = arena_printf(exchange->arena, "%s/%s", exchange->request.path, id);
		if (location)
			http_header_add(exchange, "Location", location);
	}
	response->content_type = "application/json";
	pbjson_print(reply, &response->body);
}

/* "Bearer dmk_...", "Bearer dak_..." or Basic with a client's id and secret. */
static bool native_credential(struct exchange *exchange, struct credential *ret_credential)
{
	const char *text = credential_bearer(exchange);
	enum credential_kind wanted = CREDENTIAL_KEY;
	const char *name = NULL;
	if (!text && credential_basic(exchange, &name, &text))
		wanted = CREDENTIAL_CLIENT;
	if (!text || credential_classify(text) != wanted)
		return false;
	*ret_credential = (struct credential){.kind = wanted, .text = text, .name = name};
	return true;
}

/* Every method that declares a path. */
static bool native_method_route(const struct method *method, struct dialect_route *ret_row)
{
	if (!method->http_verb)
		return false;
	*ret_row = (struct dialect_route){.verb = method->http_verb,
	                                  .path = method->http_path,
	                                  .method = method->id,
	                                  .accepts = strcmp(method->permission, "none") == 0 ? 0 : CALLER_KEYS,
	                                  .permission = method->permission,
	                                  .map_in = native_map_in,
	                                  .map_out = native_map_out};
	return true;
}

static const char *const native_roots[] = {"", NULL};

const struct dialect native_dialect = {
    .name = "native",
    .roots = native_roots,
    .cors = {.headers = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, traceparent",
             .exposed = "Denizen-Sequence, ETag, Location, Retry-After, X-Request-Id",
             .max_age_sec = 600},
    .method_route = native_method_route,
    .credential = native_credential,
    .print_failure = problem_print};
