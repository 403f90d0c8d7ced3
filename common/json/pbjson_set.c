/* One field of a message from text: a path segment or a query parameter. */
#include "base/utf8.h"
#include "json/pbjson_internal.h"

#include <stdlib.h>
#include <string.h>

static bool text_to_real(const char *text, double *ret_value)
{
	size_t len = strlen(text);
	bool integer;

	if (len == 0 || jvalue_number_len(text, len, &integer) != len || !jvalue_number_fits(text, len, integer))
		return false;
	*ret_value = strtod(text, NULL);
	return true;
}

static enum status set_text(struct pbjson_parse *parse, const struct pbjson_place *place,
                            const ProtobufCFieldDescriptor *field, const char *text, void *at)
{
	const char *copy = arena_strdup(parse->arena, text);

	return copy ? pbjson_store_text(parse, place, field, copy, at) : pbjson_no_memory(parse, place);
}

static enum status set_object(struct pbjson_parse *parse, const struct pbjson_place *place, const char *text, void *at)
{
	const struct jvalue *object;
	const char *compact;
	size_t len;
	enum status status = jvalue_read_object(text, place->name, parse->arena, &object, parse->error);

	if (status != ST_OK)
		return status;
	compact = jvalue_text(object, parse->arena, &len);
	if (!compact)
		return pbjson_no_memory(parse, place);
	if (len > PBJSON_STRING_MAX_BYTES)
		return pbjson_refuse_at(parse, place, "is longer than 65536 bytes");
	*(const char **)at = compact;
	return ST_OK;
}

static enum status set_value(struct pbjson_parse *parse, const struct pbjson_place *place,
                             const ProtobufCFieldDescriptor *field, const char *text, void *at)
{
	enum pbjson_wanted wanted = pbjson_wanted(parse, field);
	int64_t integer;
	double real;

	switch (wanted) {
	case WANT_INTEGER:
		if (!pbjson_text_to_integer(text, &integer))
			break;
		return pbjson_store_integer(parse, place, field, integer, at);
	case WANT_REAL:
		if (!text_to_real(text, &real))
			break;
		return pbjson_store_real(parse, place, field, real, at);
	case WANT_BOOL:
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
			break;
		*(protobuf_c_boolean *)at = text[0] == 't';
		return ST_OK;
	case WANT_TEXT:
		return set_text(parse, place, field, text, at);
	case WANT_OBJECT:
		return set_object(parse, place, text, at);
	case WANT_MESSAGE:
		break;
	}
	return pbjson_refuse_at(parse, place, pbjson_wanted_reasons[wanted]);
}

enum status pbjson_set_styled(ProtobufCMessage *message, const struct pbjson_text *pair,
                              const struct pbjson_style *style, struct arena *arena, struct pbjson_error *ret_error)
{
	const struct pbjson_rules rules = {.style = style};
	struct pbjson_parse parse = {.arena = arena, .error = ret_error, .rules = &rules};
	struct pbjson_place place = {.name = pair->name};
	const char *text = pair->text;
	enum pbjson_shape shape;
	const ProtobufCFieldDescriptor *field = pbjson_style_find(style, message->descriptor, pair->name, &shape);
	char *base = (char *)message;
	enum status status;
	uint64_t element[2] = {0}; /* room for the largest type, a ProtobufCBinaryData */
	void *at = element;

	if (!field) {
		(void)pbjson_refuse_at(&parse, &place, "is no parameter of this request");
		return ST_NOT_FOUND;
	}
	if (!utf8_valid(text, strlen(text)))
		return pbjson_refuse_at(&parse, &place, "is not valid UTF-8");
	if (field->label != PROTOBUF_C_LABEL_REPEATED) {
		if (pbjson_is_set(field, base))
			return pbjson_refuse_at(&parse, &place, "is given more than once");
		status = set_value(&parse, &place, field, text, base + field->offset);
		if (status == ST_OK)
			pbjson_mark_set(field, base);
		return status;
	}
	status = set_value(&parse, &place, field, text, element);
	if (status != ST_OK)
		return status;
	at = pbjson_append(&parse, field, base);
	if (!at)
		return pbjson_no_memory(&parse, &place);
	memcpy(at, element, pbjson_element_size(field));
	return ST_OK;
}

enum status pbjson_set(ProtobufCMessage *message, const char *name, const char *text, struct arena *arena,
                       struct pbjson_error *ret_error)
{
	const struct pbjson_text pair = {name, text};

	return pbjson_set_styled(message, &pair, NULL, arena, ret_error);
}
