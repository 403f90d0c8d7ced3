/* Gives memory back while a process is idle. */
#pragma once

#include "loop/loop.h"

/* From now on, whenever a second with little work follows one with more (the start is one): the pages of program text that only
 * the busy time needed leave the resident set, and free heap returns to the kernel. Text stays in the page cache, the next
 * call maps what it needs again (some 0.1 ms in all). On the loop's thread; lives as long as the loop. */
void memory_settle_when_idle(struct loop *loop);
