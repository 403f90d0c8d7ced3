/* GET /v1/users/export: all users as NDJSON, oldest first, page by page; memory is bounded by one page. */
#include "local/local.h"

#include "audit.pb-c.h"
#include "calls/upstream.h"
#include "gateway.pb-c.h"
#include "identity.pb-c.h"
#include "json/pbjson.h"

#include <stdio.h>
#include <string.h>

#define PAGE_ROWS 500

/* The ledger's head before the first page: whoever follows from there misses nothing. */
static enum status export_sequence(struct exchange *exchange)
{
	Audit__ReadEventsRequest request = AUDIT__READ_EVENTS_REQUEST__INIT;
	ProtobufCMessage *reply = NULL;
	char text[24];
	request.has_after = 1;
	request.after = 0;
	request.has_limit = 1;
	request.limit = 1;
	enum status status = upstream_send(exchange, M_AUDIT_READ_EVENTS, &request.base, &reply);
	if (status != ST_OK)
		return status;
	snprintf(text, sizeof(text), "%lld", (long long)((const Audit__ReadEventsReply *)reply)->head);
	http_header_add(exchange, "Denizen-Sequence", text);
	return ST_OK;
}

/* Reads the page after a cursor; NULL cursor = the first. */
static enum status export_page(struct exchange *exchange, char *after, Identity__ListUsersReply **ret_page)
{
	Identity__ListUsersRequest request = IDENTITY__LIST_USERS_REQUEST__INIT;
	ProtobufCMessage *reply = NULL;
	request.has_limit = 1;
	request.limit = PAGE_ROWS;
	request.sort = (char *)"created_at";
	request.after = after;
	enum status status = upstream_send(exchange, M_IDENTITY_LIST_USERS, &request.base, &reply);
	if (status == ST_OK)
		*ret_page = (Identity__ListUsersReply *)reply;
	return status;
}

static void export_send(struct exchange *exchange, const Identity__ListUsersReply *page)
{
	struct buf *body = &exchange->response.body;
	buf_reset(body);
	for (size_t i = 0; i < page->n_data; i++) {
		pbjson_print(&page->data[i]->base, body);
		buf_add_char(body, '\n');
	}
	if (buf_ok(body))
		http_send_piece(exchange, body->data, body->len);
	else
		exchange->response.broken = true;
}

/* Sends pages until the last. A failure in the middle cannot become a status any more: the connection breaks without the
 * last chunk, so no client takes the part for the whole. */
static void export_stream(struct exchange *exchange, Identity__ListUsersReply *page)
{
	char after[512];
	struct arena *whole = exchange->arena;
	struct arena *arena = arena_new(0x4000000);
	bool complete = false;
	while (arena && !exchange->response.broken) {
		export_send(exchange, page);
		complete = !page->next || page->next[0] == '\0';
		if (complete || strlen(page->next) >= sizeof(after))
			break;
		memcpy(after, page->next, strlen(page->next) + 1);
		arena_reset(arena);
		exchange->arena = arena;
		enum status status = export_page(exchange, after, &page);
		exchange->arena = whole;
		exchange->failure = (struct failure){0};
		if (status != ST_OK)
			break;
	}
	if (complete)
		http_send_end(exchange);
	else
		exchange->response.close = true;
	arena_free(&arena);
}

void export_serve(struct exchange *exchange)
{
	ProtobufCMessage *message = NULL;
	Identity__ListUsersReply *page = NULL;
	if (exchange->route->row.map_in(exchange, &message) != ST_OK || export_sequence(exchange) != ST_OK)
		return;
	if (export_page(exchange, ((Gateway__ExportQuery *)message)->after, &page) != ST_OK)
		return;
	exchange->response.status = 200;
	exchange->response.content_type = "application/x-ndjson";
	http_send_head(exchange);
	if (strcmp(exchange->request.verb, "HEAD") != 0)
		export_stream(exchange, page);
}
