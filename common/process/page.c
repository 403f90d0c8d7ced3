/* Lists: limits, sealed cursors, replies. */
#include "process/page.h"

#include "base/utf8.h"
#include "process/process.h"
#include "json/message.h"

#include <endian.h>
#include <string.h>

/* Sealed: id, number (big endian), text without NUL. A text that is too long for a cursor is no sort key. */
#define HEAD_BYTES (ID_SIZE + sizeof(uint64_t))
#define TEXT_MAX_BYTES 1024
#define PLAIN_MAX_BYTES (HEAD_BYTES + TEXT_MAX_BYTES)
#define SEALED_MAX_BYTES (PLAIN_MAX_BYTES + SEAL_OVERHEAD)

/* What the seal is bound to: project, service, list. */
static char *cursor_binding(struct call *call, const char *list, size_t *ret_len)
{
	const char *service = call->run->service->name;
	size_t list_len = strlen(list), service_len = strlen(service);
	char *binding = arena_alloc(call->arena, ID_SIZE + service_len + 1 + list_len);
	if (!binding)
		return NULL;
	memcpy(binding, call->project.bytes, ID_SIZE);
	memcpy(binding + ID_SIZE, service, service_len + 1);
	memcpy(binding + ID_SIZE + service_len + 1, list, list_len);
	*ret_len = ID_SIZE + service_len + 1 + list_len;
	return binding;
}

char *page_cursor(struct call *call, const char *list, const struct page_key *key)
{
	uint8_t plain[PLAIN_MAX_BYTES], sealed[SEALED_MAX_BYTES];
	size_t binding_len, text_len = key->text ? strlen(key->text) : 0;
	char *binding = cursor_binding(call, list, &binding_len);
	if (!binding || text_len > TEXT_MAX_BYTES)
		return NULL;
	uint64_t number = htobe64((uint64_t)key->number);
	memcpy(plain, key->id.bytes, ID_SIZE);
	memcpy(plain + ID_SIZE, &number, sizeof(number));
	memcpy(plain + HEAD_BYTES, key->text ? key->text : "", text_len);
	struct secret_piece piece = {plain, HEAD_BYTES + text_len};
	secret_seal(call->run->cursor_key, binding, binding_len, &piece, sealed);
	char *text = arena_alloc(call->arena, BASE64URL_SIZE(piece.len + SEAL_OVERHEAD));
	if (text)
		base64url_encode(sealed, piece.len + SEAL_OVERHEAD, text);
	return text;
}

static bool cursor_open(struct call *call, const char *list, const char *cursor, struct page_key *ret_key)
{
	uint8_t plain[PLAIN_MAX_BYTES], sealed[SEALED_MAX_BYTES];
	size_t binding_len, len = sizeof(sealed), cursor_len = strlen(cursor);
	char *binding = cursor_binding(call, list, &binding_len);
	if (!binding || cursor_len >= BASE64URL_SIZE(SEALED_MAX_BYTES) ||
	    !base64url_decode(cursor, cursor_len, sealed, &len) || len < HEAD_BYTES + SEAL_OVERHEAD)
		return false;
	struct secret_piece piece = {sealed, len};
	if (secret_open(call->run->cursor_key, binding, binding_len, &piece, plain) != ST_OK)
		return false;
	uint64_t number;
	const char *text = (const char *)plain + HEAD_BYTES;
	size_t text_len = len - SEAL_OVERHEAD - HEAD_BYTES;
	memcpy(ret_key->id.bytes, plain, ID_SIZE);
	memcpy(&number, plain + ID_SIZE, sizeof(number));
	ret_key->number = (int64_t)be64toh(number);
	ret_key->text = arena_strndup(call->arena, text, text_len);
	return ret_key->text && utf8_valid(text, text_len);
}

enum status page_after(struct call *call, const char *list, const char *cursor, struct page_key *ret_key)
{
	struct page_key key;
	if (!cursor_open(call, list, cursor, &key))
		return call_fail(call, ST_INVALID_ARGUMENT, "after", "It is not a cursor of this list in this order");
	*ret_key = key;
	return ST_OK;
}

/* ---- request and reply, by the names of their fields ---- */

static void *field_at(const ProtobufCMessage *message, const char *name)
{
	const ProtobufCFieldDescriptor *field = message_field(message->descriptor, name);
	return field && message_has(message, field) ? (char *)message + field->offset : NULL;
}

enum status page_open(struct call *call, struct page *page, const ProtobufCMessage *request)
{
	const uint32_t *limit = field_at(request, "limit");
	const char *const *after = field_at(request, "after");
	if (limit && (*limit < 1 || *limit > page->limit_max))
		return call_fail(call, ST_INVALID_ARGUMENT, "limit", "It must be between 1 and %u", page->limit_max);
	page->limit = limit ? *limit : page->limit_default;
	page->has_after = after;
	return after ? page_after(call, page->list, *after, &page->after) : ST_OK;
}

/* The public messages of rows, until the page is full. */
struct shown {
	ProtobufCMessage **list;
	size_t count, bytes;
};

static enum status page_show(struct call *call, const struct page *page, const ProtobufCMessage *row,
                             struct shown *shown, const ProtobufCMessageDescriptor *type)
{
	ProtobufCMessage *message = arena_alloc(call->arena, type->sizeof_message);
	if (!message)
		return ST_RESOURCE_EXHAUSTED;
	protobuf_c_message_init(type, message);
	enum status status = page->show(call, row, message);
	shown->list[shown->count++] = message;
	if (status == ST_OK && page->max_bytes)
		shown->bytes += protobuf_c_message_get_packed_size(message);
	return status;
}

static struct page_key page_place(const struct page *page, const ProtobufCMessage *row)
{
	if (page->key)
		return page->key(row);
	const char *const *text = field_at(row, page->key_field);
	return (struct page_key){.text = text ? *text : NULL};
}

enum status page_reply(struct call *call, const struct page *page, const struct page_row *rows, size_t count,
                       ProtobufCMessage *reply)
{
	const ProtobufCFieldDescriptor *data = message_field(reply->descriptor, "data");
	const ProtobufCFieldDescriptor *total = message_field(reply->descriptor, "total");
	const ProtobufCFieldDescriptor *next = message_field(reply->descriptor, "next");
	char *base = (char *)reply;
	size_t found = count > 0 && !rows[0].row ? 0 : count,
	       most = found < (size_t)page->limit ? found : (size_t)page->limit;
	struct shown shown = {.list = arena_alloc(call->arena, (most + 1) * sizeof(*shown.list))};
	if (!shown.list)
		return ST_RESOURCE_EXHAUSTED;
	while (shown.count < most && (page->max_bytes == 0 || shown.bytes < page->max_bytes)) {
		enum status status = page_show(call, page, rows[shown.count].row, &shown, data->descriptor);
		if (status != ST_OK)
			return status;
	}
	*(ProtobufCMessage ***)(void *)(base + data->offset) = shown.list;
	*(size_t *)(void *)(base + data->quantifier_offset) = shown.count;
	*(int64_t *)(void *)(base + total->offset) = count > 0 ? rows[0].total : 0;
	*(protobuf_c_boolean *)(base + total->quantifier_offset) = true;
	if (shown.count == found)
		return ST_OK;
	struct page_key key = page_place(page, rows[shown.count - 1].row);
	char *cursor = page_cursor(call, page->list, &key);
	*(char **)(void *)(base + next->offset) = cursor;
	return cursor ? ST_OK : ST_RESOURCE_EXHAUSTED;
}
