/* The part of Criterion's interface that the loop's and the bus's tests use, without its processes: Criterion 2.4.1 does not
 * start under the thread sanitizer. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Registers a test; they run one after another in the order of their files. */
void tsan_register(const char *name, void (*fn)(void));
/* Notes a failure; the run ends with status 1. */
void tsan_fail(const char *file, int line, const char *what);

#define Test(suite, name, ...)                                                                                         \
	static void suite##_##name(void);                                                                              \
	__attribute__((constructor)) static void register_##suite##_##name(void)                                       \
	{                                                                                                              \
		tsan_register(#suite "/" #name, suite##_##name);                                                       \
	}                                                                                                              \
	static void suite##_##name(void)
#define TSAN_CHECK(condition)                                                                                          \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			tsan_fail(__FILE__, __LINE__, #condition);                                                     \
	} while (0)
#define cr_assert(a, ...) TSAN_CHECK(a)
#define cr_assert_eq(a, b, ...) TSAN_CHECK((a) == (b))
#define cr_assert_not_null(a, ...) TSAN_CHECK((a) != NULL)
#define cr_assert_fail(...) TSAN_CHECK(0)
#define cr_expect(a, ...) TSAN_CHECK(a)
#define cr_expect_eq(a, b, ...) TSAN_CHECK((a) == (b))
#define cr_expect_gt(a, b, ...) TSAN_CHECK((a) > (b))
#define cr_expect_lt(a, b, ...) TSAN_CHECK((a) < (b))
#define cr_expect_geq(a, b, ...) TSAN_CHECK((a) >= (b))
#define cr_expect_null(a, ...) TSAN_CHECK((a) == NULL)
#define cr_expect_not_null(a, ...) TSAN_CHECK((a) != NULL)
#define cr_expect_not(a, ...) TSAN_CHECK(!(a))
#define cr_expect_str_eq(a, b, ...) TSAN_CHECK(strcmp(a, b) == 0)
