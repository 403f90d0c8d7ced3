/* The example's memory: an append-only file with one event as a JSON line. The last complete line is the cursor, so an effect and
 * its cursor cannot come apart: a crash leaves at most a torn line at the end, which the next start cuts off. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal {
	int fd;
	int64_t cursor; /* seq of the last line */
	int64_t size;   /* bytes of complete lines */
};

/* Called for each line when a journal is opened; text is NUL-terminated, without the newline. False = not a line of ours. */
typedef bool (*journal_line_fn)(void *arg, const char *text, size_t len, int64_t *ret_seq);

/* Opens or creates the file, takes an exclusive lock, hands all complete lines to fn in order, cuts off what follows the last
 * good one. A line is good when fn takes it and its seq is one more than that of the line before (the first may be any).
 * 0, or -1 with errno (EWOULDBLOCK: another process has it). A bad line before the last one is EBADMSG: the file is not
 * touched then. */
int journal_open(struct journal *journal, const char *path, journal_line_fn fn, void *arg);

/* Appends whole lines (each ended by a newline) whose last one has seq `cursor` and flushes them to the disk. 0, or -1 with
 * errno; the file then ends where it ended before, or is cut at the next open. */
int journal_append(struct journal *journal, const char *lines, size_t len, int64_t cursor);

/* Closes the file and gives the lock back. */
void journal_close(struct journal *journal);
