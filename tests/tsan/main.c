/* Runs the registered tests in one process under the thread sanitizer; prints `N passed, N failed`. */
#include <criterion/criterion.h>

#define TESTS_MAX 64

static struct {
	const char *name;
	void (*fn)(void);
} tests[TESTS_MAX];
static int count, failures;

void tsan_register(const char *name, void (*fn)(void))
{
	if (count == TESTS_MAX)
		abort();
	tests[count].name = name;
	tests[count++].fn = fn;
}

void tsan_fail(const char *file, int line, const char *what)
{
	printf("%s:%d: %s\n", file, line, what);
	failures++;
}

int main(void)
{
	int failed = 0;
	for (int i = 0; i < count; i++) {
		failures = 0;
		printf("%s\n", tests[i].name);
		fflush(stdout);
		tests[i].fn();
		failed += failures > 0;
	}
	printf("%d passed, %d failed\n", count - failed, failed);
	return failed ? 1 : 0;
}
