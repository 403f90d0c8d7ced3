/* Fibers: ucontext makes a stack, setjmp and longjmp switch between stacks, because swapcontext asks the kernel for the signal
 * mask each time. With a sanitizer swapcontext switches, and notes tell it of the stacks: it takes a longjmp for an unwinding. */
#include "loop/fiber.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FIBER_SANITIZED 1
#else
#define FIBER_SANITIZED 0
#endif

/* A place to go on from. */
struct place {
	ucontext_t context; /* of a new fiber, and always with a sanitizer */
	jmp_buf jump;
	int is_jump;
};

struct fiber {
	struct place self, caller;
	void (*fn)(void *arg);
	void *arg;
	char *stack;       /* usable part, above the guard page */
	size_t stack_size; /* bytes */
	int ended;
	void *fake_stack, *caller_fake_stack; /* address sanitizer */
	const void *caller_stack;
	size_t caller_stack_size;
	void *tsan_self, *tsan_caller; /* thread sanitizer */
};

/* Leaves for `to`; returns when somebody leaves for `from`. Never inlined: its caller's locals live through the second return. */
static __attribute__((noinline)) void place_switch(struct place *from, struct place *to)
{
	if (FIBER_SANITIZED) {
		swapcontext(&from->context, &to->context);
		return;
	}
	from->is_jump = 1;
	if (_setjmp(from->jump) != 0)
		return;
	if (to->is_jump)
		_longjmp(to->jump, 1);
	setcontext(&to->context);
}

/* First code on a new stack; runs one function after the other. The pointer comes in two halves because makecontext passes
 * ints. */
static void fiber_start(unsigned low, unsigned high)
{
	struct fiber *fiber = (struct fiber *)((uintptr_t)low | (uintptr_t)high << 32);
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_finish_switch_fiber(NULL, &fiber->caller_stack, &fiber->caller_stack_size);
#endif
	for (;;) {
		fiber->fn(fiber->arg);
		fiber->ended = 1;
		fiber_suspend(fiber);
	}
}

/* Points a new fiber at fiber_start. */
static void fiber_begin(struct fiber *fiber)
{
	uintptr_t address = (uintptr_t)fiber;
	getcontext(&fiber->self.context);
	fiber->self.context.uc_stack.ss_sp = fiber->stack;
	fiber->self.context.uc_stack.ss_size = fiber->stack_size;
	makecontext(&fiber->self.context, (void (*)(void))fiber_start, 2, (unsigned)address, (unsigned)(address >> 32));
}

struct fiber *fiber_new(size_t stack_bytes)
{
	struct fiber *fiber = calloc(1, sizeof(*fiber));
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);
	if (!fiber)
		return NULL;
	char *memory = mmap(NULL, stack_bytes + guard, PROT_READ | PROT_WRITE,
	                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (memory == MAP_FAILED) {
		free(fiber);
		return NULL;
	}
	if (mprotect(memory, guard, PROT_NONE) != 0) {
		munmap(memory, stack_bytes + guard);
		free(fiber);
		return NULL;
	}
	fiber->stack = memory + guard;
	fiber->stack_size = stack_bytes;
#if defined(__SANITIZE_THREAD__)
	fiber->tsan_self = __tsan_create_fiber(0);
#endif
	fiber_begin(fiber);
	return fiber;
}

void fiber_free(struct fiber **fiber)
{
	if (!*fiber)
		return;
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);
#if defined(__SANITIZE_THREAD__)
	__tsan_destroy_fiber((*fiber)->tsan_self);
#endif
	munmap((*fiber)->stack - guard, (*fiber)->stack_size + guard);
	free(*fiber);
	*fiber = NULL;
}

void fiber_prepare(struct fiber *fiber, void (*fn)(void *arg), void *arg)
{
	fiber->fn = fn;
	fiber->arg = arg;
	fiber->ended = 0;
}

int fiber_enter(struct fiber *fiber)
{
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_start_switch_fiber(&fiber->caller_fake_stack, fiber->stack, fiber->stack_size);
#endif
#if defined(__SANITIZE_THREAD__)
	fiber->tsan_caller = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(fiber->tsan_self, 0);
#endif
	place_switch(&fiber->caller, &fiber->self);
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_finish_switch_fiber(fiber->caller_fake_stack, NULL, NULL);
#endif
	return fiber->ended;
}

void fiber_suspend(struct fiber *fiber)
{
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_start_switch_fiber(&fiber->fake_stack, fiber->caller_stack, fiber->caller_stack_size);
#endif
#if defined(__SANITIZE_THREAD__)
	__tsan_switch_to_fiber(fiber->tsan_caller, 0);
#endif
	place_switch(&fiber->self, &fiber->caller);
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_finish_switch_fiber(fiber->fake_stack, &fiber->caller_stack, &fiber->caller_stack_size);
#endif
}
