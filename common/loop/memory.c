/* Gives memory back while a process is idle: text pages to the page cache, free heap to the kernel. */
#include "loop/memory.h"

#include "base/clock.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define LOOK_EVERY_US (1 * US_PER_SEC)
#define IDLE_CPU_US (30 * US_PER_MS) /* less processor time than this between two looks: idle */

struct memory {
	struct loop_timer *timer;
	int64_t cpu_us; /* at the last look */
	bool settled;   /* nothing happened since */
};

static int64_t cpu_used_us(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * US_PER_SEC + usage.ru_utime.tv_usec +
	       usage.ru_stime.tv_usec;
}

/* Only segments that nobody can have written to: what is dropped is read from the file again, relocated data would be lost. */
static int object_settle(struct dl_phdr_info *object, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	for (unsigned i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		if (segment->p_type != PT_LOAD || segment->p_flags & PF_W)
			continue;
		uintptr_t from = (object->dlpi_addr + segment->p_vaddr) & ~(page - 1);
		uintptr_t until = object->dlpi_addr + segment->p_vaddr + segment->p_memsz;
		(void)madvise((void *)from, until - from, MADV_DONTNEED); /* a hint: where it fails, nothing is lost */
	}
	return 0;
}

static void memory_look(void *arg)
{
	struct memory *memory = arg;
	int64_t cpu_us = cpu_used_us();
	bool idle = cpu_us - memory->cpu_us < IDLE_CPU_US;
	memory->cpu_us = cpu_us;
	if (!idle) {
		memory->settled = false;
	} else if (!memory->settled) {
		memory->settled = true;
		malloc_trim(0);
		dl_iterate_phdr(object_settle, NULL);
	}
	loop_timer_set(memory->timer, clock_monotonic_us() + LOOK_EVERY_US);
}

void memory_settle_when_idle(struct loop *loop)
{
	struct memory *memory = calloc(1, sizeof(*memory));
	if (!memory)
		return;
	memory->timer = loop_timer_new(loop, memory_look, memory);
	loop_timer_set(memory->timer, clock_monotonic_us() + LOOK_EVERY_US);
}
