/* What a handler has of its call: refusing, also when there is no room left. */
#include "base/arena.h"
#include "process/call.h"

#include <criterion/criterion.h>

Test(call, a_refusal_keeps_field_and_reason)
{
	struct call call = {.arena = arena_new(1 << 16)};
	cr_expect_eq(call_fail(&call, ST_INVALID_ARGUMENT, "name", "at most %d bytes", 7), ST_INVALID_ARGUMENT);
	cr_expect_str_eq(call.field, "name");
	cr_expect_str_eq(call.reason, "at most 7 bytes");
	arena_free(&call.arena);
}

/* A field's path is made in the arena, so it is NULL when that is full. */
Test(call, a_refusal_without_room_is_still_one)
{
	struct call call = {.arena = arena_new(1024)};
	while (arena_alloc(call.arena, 16))
		;
	const char *field = arena_printf(call.arena, "emails[%d]", 1);
	cr_assert_null(field);
	cr_expect_eq(call_fail(&call, ST_NOT_FOUND, field, "there is no such address"), ST_NOT_FOUND);
	cr_expect_null(call.field);
	cr_expect_null(call.reason);
	arena_free(&call.arena);
}
