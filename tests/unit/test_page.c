/* Lists: sealed cursors and their binding. */
#include "process/page.h"

#include "process/process.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct service service = {.name = "identity"};
static struct process run = {.service = &service};
static struct call call;

static void setup(void)
{
	secret_init();
	secret_random(run.cursor_key, sizeof(run.cursor_key));
	call = (struct call){.run = &run, .project = id_new(), .arena = arena_new(1 << 20)};
}

static void teardown(void)
{
	arena_free(&call.arena);
}

TestSuite(page, .init = setup, .fini = teardown);

static const char *cursor_of(const char *text)
{
	struct page_key key = {.id = id_new(), .number = -5, .text = text};
	const char *cursor = page_cursor(&call, "users:email", &key);
	cr_assert_not_null(cursor);
	return cursor;
}

Test(page, a_cursor_brings_back_its_place)
{
	struct page_key key = {.id = id_new(), .number = -5, .text = "ada@example.com"}, read;
	const char *cursor = page_cursor(&call, "users:email", &key);
	cr_assert_eq(page_after(&call, "users:email", cursor, &read), ST_OK);
	cr_assert(id_equal(&read.id, &key.id) && read.number == -5);
	cr_assert_str_eq(read.text, "ada@example.com");
	cr_assert_null(strstr(cursor, "ada"));
}

Test(page, a_cursor_from_elsewhere_is_refused)
{
	struct page_key read = {.number = 7};
	const char *cursor = cursor_of("x");
	cr_assert_eq(page_after(&call, "users:-email", cursor, &read), ST_INVALID_ARGUMENT);
	cr_assert_str_eq(call.field, "after");
	struct id own = call.project;
	call.project = id_new();
	cr_assert_eq(page_after(&call, "users:email", cursor, &read), ST_INVALID_ARGUMENT, "of another project");
	call.project = own;
	run.cursor_key[0] ^= 1;
	cr_assert_eq(page_after(&call, "users:email", cursor, &read), ST_INVALID_ARGUMENT, "of another key");
	run.cursor_key[0] ^= 1;
	cr_assert_eq(read.number, 7, "untouched on failure");
	cr_assert_eq(page_after(&call, "users:email", cursor, &read), ST_OK);
}

Test(page, a_changed_cursor_is_refused)
{
	struct page_key read;
	char *cursor = arena_strdup(call.arena, cursor_of("x"));
	for (size_t i = 0; i < strlen(cursor); i++) {
		char before = cursor[i];
		cursor[i] = before == 'A' ? 'B' : 'A';
		cr_assert_eq(page_after(&call, "users:email", cursor, &read), ST_INVALID_ARGUMENT, "at %zu", i);
		cursor[i] = before;
	}
	static const char *const bad[] = {"", "A", "usr_01", "%", "eyJh"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(page_after(&call, "users:email", bad[i], &read), ST_INVALID_ARGUMENT, "%s", bad[i]);
}
