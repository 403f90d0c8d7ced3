/* Fuzzes pages: the first line is a template, the rest a value. Whatever both are, no character of the value ends the place it stands in:
 * put into the same template, a value of letters leads to the same tags. */
#include "http/html.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
	if (!truth)
		abort();
}

static size_t count_of(const struct html *page, char c)
{
	size_t count = 0;
	for (size_t i = 0; i < page->out.len; i++)
		count += page->out.data[i] == c;
	return count;
}

/* Renders the template with one value for every name that stands in it. */
static void render(struct html *page, const char *template, const char *text)
{
	const struct html_value values[] = {{.name = "x", .text = text}, {.name = "", .text = text}, {0}};
	html_add(page, template, values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char marks[] = "<>\"'";
	struct html page = {0}, plain = {0};
	char *template = malloc(size + 1), *value = "";
	require(template);
	if (size)
		memcpy(template, data, size);
	template[size] = '\0';
	if (strchr(template, '\n')) {
		value = strchr(template, '\n');
		*value++ = '\0';
	}
	render(&page, template, value);
	render(&plain, template, "plain");
	require(page.refused == plain.refused && page.place == plain.place);
	for (size_t i = 0; i < sizeof(marks) - 1 && !page.refused; i++)
		require(count_of(&page, marks[i]) == count_of(&plain, marks[i]));
	html_free(&page);
	html_free(&plain);
	free(template);
	return 0;
}
