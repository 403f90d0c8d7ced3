/* What the tests of pbjson share: an arena for each test, comparing texts, deep objects. */
#pragma once

#include "json/pbjson.h"

#include <criterion/criterion.h>
#include <string.h>

static struct arena *arena;

static void set_up(void)
{
	arena = arena_new(8 << 20);
}

static void tear_down(void)
{
	arena_free(&arena);
}

static void assert_text(const char *got, const char *expected)
{
	cr_assert(got && !strcmp(got, expected), "got      %s\nexpected %s", got ? got : "NULL", expected);
}

/* {"attributes":{"a":{"a": ... {} }}} with `depth` objects in all */
static char *nested(size_t depth)
{
	struct buf text = {0};
	char *copy;

	buf_add_str(&text, "{\"attributes\":");
	for (size_t i = 2; i < depth; i++)
		buf_add_str(&text, "{\"a\":");
	buf_add_str(&text, "{}");
	for (size_t i = 1; i < depth; i++)
		buf_add_char(&text, '}');
	copy = arena_strndup(arena, text.data, text.len);
	buf_free(&text);
	return copy;
}
