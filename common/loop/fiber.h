/* Stacks and context switches of fibers; used by loop_fiber.c only. One thread switches all fibers of a loop. */
#pragma once

#include <stddef.h>

struct fiber;

/* A fiber that will run fn(arg) on a stack of stack_bytes below a guard page; NULL without memory. */
struct fiber *fiber_new(size_t stack_bytes);
void fiber_free(struct fiber **fiber); /* must not be running */
/* Prepares a new or finished fiber to run fn(arg) at the next fiber_enter. */
void fiber_prepare(struct fiber *fiber, void (*fn)(void *arg), void *arg);
/* Runs the fiber until it suspends or ends. Returns 1 when it ended. Called outside of fibers. */
int fiber_enter(struct fiber *fiber);
/* Back to whoever entered; returns at the next fiber_enter. Called inside the fiber. */
void fiber_suspend(struct fiber *fiber);
