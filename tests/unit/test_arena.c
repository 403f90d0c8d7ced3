/* Arena: alignment, zeroing, cap, large pieces, deferred functions, protobuf allocator. */
#include "base/arena.h"

#include <criterion/criterion.h>
#include <string.h>

static char order[8];

static void note(void *object)
{
	size_t len = strlen(order);
	order[len] = *(const char *)object;
	order[len + 1] = '\0';
}

Test(arena, aligned_zeroed_counted)
{
	struct arena *arena = arena_new(1 << 20);
	size_t sizes[] = {0, 1, 15, 16, 17, 100, 4096, 5000, 70000};
	for (size_t round = 0; round < 2; round++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			unsigned char *memory = arena_alloc(arena, sizes[i]);
			cr_assert_not_null(memory);
			cr_assert_eq((uintptr_t)memory % 16, 0);
			for (size_t k = 0; k < sizes[i]; k++)
				cr_assert_eq(memory[k], 0);
			memset(memory, 0xa5, sizes[i]);
		}
		cr_assert_geq(arena_used(arena), 70000 + 5000 + 4096 + 100);
		arena_reset(arena);
		cr_assert_eq(arena_used(arena), 0);
	}
	arena_free(&arena);
	cr_assert_null(arena);
	arena_free(&arena);
	arena_free(NULL);
}

Test(arena, never_holds_more_than_its_cap)
{
	for (size_t cap = 16; cap < 40000; cap = cap * 3 / 2 + 5) {
		struct arena *arena = arena_new(cap);
		size_t got = 0;
		while (arena_alloc(arena, 24))
			got += 32;
		cr_assert_leq(got, cap);
		cr_assert_geq(got + 64, cap / 32 * 32, "cap %zu gave only %zu", cap, got);
		cr_assert_null(arena_alloc(arena, cap + 1));
		cr_assert_null(arena_alloc(arena, SIZE_MAX));
		cr_assert_null(arena_strndup(arena, "x", SIZE_MAX));
		cr_assert_not(arena_defer(arena, note, order));
		arena_reset(arena);
		cr_assert_not_null(arena_alloc(arena, 1));
		arena_free(&arena);
	}
}

Test(arena, copies)
{
	struct arena *arena = arena_new(65536);
	cr_assert_str_eq(arena_strdup(arena, "hello"), "hello");
	cr_assert_str_eq(arena_strndup(arena, "hello", 2), "he");
	cr_assert_str_eq(arena_strndup(arena, NULL, 0), "");
	cr_assert_eq(memcmp(arena_memdup(arena, "a\0b", 3), "a\0b", 3), 0);
	cr_assert_not_null(arena_memdup(arena, NULL, 0));
	cr_assert_str_eq(arena_printf(arena, "%d-%s", 42, "x"), "42-x");
	char *wide = arena_printf(arena, "%0*d", 9000, 7);
	cr_assert_eq(strlen(wide), 9000);
	cr_assert_null(arena_printf(arena, "%0*d", 70000, 7));
	arena_free(&arena);
}

Test(arena, deferred_newest_first)
{
	static char a[] = "a", b[] = "b", c[] = "c";
	struct arena *arena = arena_new(4096);
	cr_assert(arena_defer(arena, note, a));
	cr_assert(arena_defer(arena, note, b));
	arena_reset(arena);
	cr_assert_str_eq(order, "ba");
	cr_assert(arena_defer(arena, note, c));
	arena_free(&arena);
	cr_assert_str_eq(order, "bac");
}

Test(arena, protobuf_allocator)
{
	struct arena *arena = arena_new(4096);
	ProtobufCAllocator *allocator = arena_protobuf(arena);
	void *memory = allocator->alloc(allocator->allocator_data, 100);
	cr_assert_not_null(memory);
	allocator->free(allocator->allocator_data, memory);
	memset(memory, 1, 100);
	cr_assert_null(allocator->alloc(allocator->allocator_data, 5000));
	arena_free(&arena);
}

/* ---- wiping ---- */

static size_t marks_wiped;

/* libcrypto's, behind secret_wipe: counts the marks of the tests that it takes away. */
void OPENSSL_cleanse(void *memory, size_t len)
{
	volatile unsigned char *bytes = memory;
	for (size_t i = 0; i < len; i++) {
		marks_wiped += bytes[i] == 0xa5;
		bytes[i] = 0;
	}
}

Test(arena, what_was_handed_out_is_wiped)
{
	static const size_t sizes[] = {1, 100, 3000, 5000, 20000, 70000, 1 << 20};
	struct arena *arena = arena_new(16 << 20);
	for (int round = 0; round < 3; round++) {
		size_t marks = 0;
		marks_wiped = 0;
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			memset(arena_alloc(arena, sizes[i]), 0xa5, sizes[i]);
			marks += sizes[i];
		}
		if (round < 2)
			arena_reset(arena);
		else
			arena_free(&arena);
		cr_expect_eq(marks_wiped, marks, "round %d", round);
	}
}
