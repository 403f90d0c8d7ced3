/* Bump allocator: blocks that grow, counted against the cap, wiped and released together. */
#include "base/arena.h"

#include "base/secret.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 16u
#define FIRST_BLOCK_BYTES 4096u
#define LARGEST_BLOCK_BYTES 65536u

struct block {
	struct block *next;
	size_t size, used;
	size_t reserved; /* keeps data aligned to 16 */
	unsigned char data[];
};
_Static_assert(offsetof(struct block, data) % ALIGNMENT == 0, "blocks hand out aligned memory");

struct deferred {
	struct deferred *next;
	void (*fn)(void *object);
	void *object;
};

struct arena {
	struct block *current; /* newest first; the last of the list is the first block */
	struct block *first;   /* zero beyond its used bytes */
	struct deferred *deferred;
	size_t cap, held, used;
	ProtobufCAllocator protobuf;
};

static void *protobuf_alloc(void *arena, size_t size_bytes)
{
	return arena_alloc(arena, size_bytes);
}

static void protobuf_free(void *arena, void *pointer)
{
	(void)arena;
	(void)pointer;
}

static struct block *block_new(struct arena *arena, size_t size_bytes)
{
	if (size_bytes > arena->cap - arena->held)
		return NULL;
	struct block *block = malloc(sizeof(*block) + size_bytes);
	if (!block)
		return NULL;
	*block = (struct block){.size = size_bytes};
	arena->held += size_bytes;
	return block;
}

struct arena *arena_new(size_t cap_bytes)
{
	struct arena *arena = calloc(1, sizeof(*arena));
	if (!arena)
		return NULL;
	arena->cap = cap_bytes & ~(size_t)(ALIGNMENT - 1);
	arena->protobuf = (ProtobufCAllocator){protobuf_alloc, protobuf_free, arena};
	arena->first = block_new(arena, arena->cap < FIRST_BLOCK_BYTES ? arena->cap : FIRST_BLOCK_BYTES);
	if (!arena->first) {
		free(arena);
		return NULL;
	}
	memset(arena->first->data, 0, arena->first->size);
	arena->current = arena->first;
	return arena;
}

/* Deferred functions may allocate or defer again, so the list is taken one by one. */
static void run_deferred(struct arena *arena)
{
	while (arena->deferred) {
		struct deferred *deferred = arena->deferred;
		arena->deferred = deferred->next;
		deferred->fn(deferred->object);
	}
}

void arena_reset(struct arena *arena)
{
	if (!arena)
		return;
	run_deferred(arena);
	while (arena->current) {
		struct block *next = arena->current->next;
		secret_wipe(arena->current->data, arena->current->used);
		if (arena->current != arena->first)
			free(arena->current);
		arena->current = next;
	}
	arena->current = arena->first;
	arena->first->next = NULL;
	arena->first->used = 0;
	arena->held = arena->first->size;
	arena->used = 0;
}

void arena_free(struct arena **arena)
{
	if (!arena || !*arena)
		return;
	arena_reset(*arena);
	free((*arena)->first);
	free(*arena);
	*arena = NULL;
}

/* The block that takes size_bytes next. A piece too large to share a block gets one of its own, behind the current one,
 * so that the current one's rest stays in use. */
static struct block *block_for(struct arena *arena, size_t size_bytes)
{
	if (size_bytes <= arena->current->size - arena->current->used)
		return arena->current;
	size_t want = arena->current->size * 2;
	if (want < FIRST_BLOCK_BYTES)
		want = FIRST_BLOCK_BYTES;
	if (want > LARGEST_BLOCK_BYTES)
		want = LARGEST_BLOCK_BYTES;
	if (size_bytes > want / 4) {
		struct block *own = block_new(arena, size_bytes);
		if (!own)
			return NULL;
		own->next = arena->current->next;
		arena->current->next = own;
		return own;
	}
	if (want > arena->cap - arena->held)
		want = arena->cap - arena->held;
	if (want < size_bytes)
		return NULL;
	struct block *block = block_new(arena, want);
	if (!block)
		return NULL;
	block->next = arena->current;
	arena->current = block;
	return block;
}

void *arena_alloc(struct arena *arena, size_t size_bytes)
{
	if (size_bytes > arena->cap)
		return NULL;
	size_t rounded = size_bytes ? (size_bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1) : ALIGNMENT;
	struct block *block = block_for(arena, rounded);
	if (!block)
		return NULL;
	void *memory = block->data + block->used;
	block->used += rounded;
	arena->used += rounded;
	return block == arena->first ? memory : memset(memory, 0, rounded);
}

void *arena_memdup(struct arena *arena, const void *data, size_t len_bytes)
{
	void *copy = arena_alloc(arena, len_bytes);
	if (copy && len_bytes)
		memcpy(copy, data, len_bytes);
	return copy;
}

char *arena_strndup(struct arena *arena, const char *text, size_t len_bytes)
{
	char *copy = len_bytes < SIZE_MAX ? arena_alloc(arena, len_bytes + 1) : NULL;
	if (copy && len_bytes)
		memcpy(copy, text, len_bytes);
	return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
	return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, format, args);
	char *text = len >= 0 ? arena_alloc(arena, (size_t)len + 1) : NULL;
	if (text)
		vsnprintf(text, (size_t)len + 1, format, again);
	va_end(again);
	va_end(args);
	return text;
}

bool arena_defer(struct arena *arena, void (*fn)(void *object), void *object)
{
	struct deferred *deferred = arena_alloc(arena, sizeof(*deferred));
	if (!deferred)
		return false;
	*deferred = (struct deferred){arena->deferred, fn, object};
	arena->deferred = deferred;
	return true;
}

ProtobufCAllocator *arena_protobuf(struct arena *arena)
{
	return &arena->protobuf;
}

size_t arena_used(const struct arena *arena)
{
	return arena->used;
}
