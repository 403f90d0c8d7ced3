/* Where in a document something is wrong: the path of a place, and refusals that name it. */
#include "base/buf.h"
#include "base/utf8.h"
#include "json/pbjson_internal.h"

static void add_place(const struct pbjson_place *place, struct buf *path)
{
	if (!place)
		return;
	add_place(place->up, path);
	if (!place->name) {
		buf_add_char(path, '[');
		buf_add_int(path, (int64_t)place->index);
		buf_add_char(path, ']');
		return;
	}
	if (path->len)
		buf_add_char(path, '.');
	buf_add_str(path, place->name);
}

enum status pbjson_refuse_at(struct pbjson_parse *parse, const struct pbjson_place *place, const char *reason)
{
	struct buf path = {0};
	const char *field = NULL;
	size_t len;

	add_place(place, &path);
	len = path.len < PBJSON_PATH_MAX_BYTES ? path.len : PBJSON_PATH_MAX_BYTES;
	if (len)
		field = arena_strndup(parse->arena, path.data, utf8_valid_prefix(path.data, len));
	buf_free(&path);
	return pbjson_refuse(parse->error, field, reason);
}

enum status pbjson_no_memory(struct pbjson_parse *parse, const struct pbjson_place *place)
{
	(void)pbjson_refuse_at(parse, place, "there is no memory left for this request");
	return ST_RESOURCE_EXHAUSTED;
}
