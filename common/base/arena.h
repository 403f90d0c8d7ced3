/* Bump allocator for what lives as long as one call. Not thread-safe: one owner at a time. What was handed out is wiped when it is
 * released: a message with a password leaves nothing behind, and nobody needs to wipe what lies in an arena. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

/* Returns a new arena that never holds more than cap_bytes in all, or NULL without memory. Free with arena_free. */
struct arena *arena_new(size_t cap_bytes);

/* Runs the deferred functions (newest first), wipes and releases all memory, sets *arena to NULL. NULL and *NULL are allowed. */
void arena_free(struct arena **arena);

/* As arena_free, but keeps the arena (and its first block) for the next call. */
void arena_reset(struct arena *arena);

/* Zeroed memory aligned to 16, or NULL when the cap or the machine's memory is reached. */
void *arena_alloc(struct arena *arena, size_t size_bytes);

/* Copies; NULL when full. arena_strndup ends the copy with NUL. */
void *arena_memdup(struct arena *arena, const void *data, size_t len_bytes);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t len_bytes);

/* printf into the arena; NULL when full. */
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Calls fn(object) at the next reset or free. Returns false when full (fn was not registered). */
bool arena_defer(struct arena *arena, void (*fn)(void *object), void *object);

/* Allocator for protobuf-c's unpack; its free is a no-op. The pointer is valid as long as the arena. */
ProtobufCAllocator *arena_protobuf(struct arena *arena);

/* Bytes handed out since the last reset. */
size_t arena_used(const struct arena *arena);
