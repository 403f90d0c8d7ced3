/* Joins several Prometheus texts into one. */
#include "local/metrics_merge.h"

#include <stdlib.h>
#include <string.h>

static struct metrics_family *metrics_merge_family(struct metrics_merge *merge, const char *name, size_t len)
{
	for (size_t i = 0; i < merge->count; i++) {
		if (strlen(merge->families[i].name) == len && memcmp(merge->families[i].name, name, len) == 0)
			return &merge->families[i];
	}
	if (merge->count == METRICS_MERGE_FAMILIES)
		return NULL;
	struct metrics_family *family = &merge->families[merge->count];
	family->name = strndup(name, len);
	if (!family->name)
		return NULL;
	merge->count++;
	return family;
}

/* The name after "# HELP " or "# TYPE "; NULL when the line is neither. */
static const char *metrics_merge_comment(const char *line, size_t len)
{
	if (len > 7 && (memcmp(line, "# HELP ", 7) == 0 || memcmp(line, "# TYPE ", 7) == 0))
		return line + 7;
	return NULL;
}

void metrics_merge_add(struct metrics_merge *merge, const char *text, size_t len_bytes)
{
	struct metrics_family *family = NULL; /* samples follow their comments */
	const char *end = text + len_bytes;
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t len = newline ? (size_t)(newline - text) : (size_t)(end - text);
		const char *name = metrics_merge_comment(text, len);
		if (name) {
			const char *blank = memchr(name, ' ', (size_t)(text + len - name));
			family = metrics_merge_family(merge, name, (size_t)((blank ? blank : text + len) - name));
		}
		struct buf *target = !family ? NULL : name ? &family->head : &family->samples;
		/* The comments of the first text are kept: a second HELP or TYPE would be an error. */
		if (target && len > 0 && (!name || family->samples.len == 0)) {
			buf_add(target, text, len);
			buf_add_char(target, '\n');
		}
		text += len + 1;
	}
}

void metrics_merge_print(const struct metrics_merge *merge, struct buf *out)
{
	for (size_t i = 0; i < merge->count; i++) {
		buf_add(out, merge->families[i].head.data, merge->families[i].head.len);
		buf_add(out, merge->families[i].samples.data, merge->families[i].samples.len);
	}
}

void metrics_merge_free(struct metrics_merge *merge)
{
	for (size_t i = 0; i < merge->count; i++) {
		free(merge->families[i].name);
		buf_free(&merge->families[i].head);
		buf_free(&merge->families[i].samples);
	}
	merge->count = 0;
}
