/* What the HTTP server's library receives, seen byte for byte.
 *
 * The library gives neither its socket nor its buffer away, skips white space before a request but reads the body as if it had not, and
 * parses beyond what it received. So its `recv` is ours: a function of this name in wire.c goes before the one of the C library. It passes
 * everything on and notes, for the thread that serves a connection, from which socket the bytes came and where in memory they stand. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One for each thread of the server; set by that thread, the atomics may be read by others. */
struct wire {
	_Atomic int fd;            /* of the connection; -1 until its first byte */
	_Atomic uint64_t received; /* bytes of the connection */
	const char *start, *end;   /* what the library's buffer holds: from the next request's first byte on */
	bool in_body;              /* what is received goes elsewhere, not into that buffer */
	bool torn;                 /* bytes went where they were not expected: nothing can be said any more */
};

/* This thread's record from now on; NULL = none. */
void wire_attach(struct wire *wire);

/* A connection begins. */
void wire_open(struct wire *wire);

/* Whether the request line begins at the first byte received, or behind one empty line (RFC 9112 section 2.2), and the head, which ends
 * before head_end, was received to its last byte. */
bool wire_frames(const struct wire *wire, const char *verb, const char *head_end);

/* The request whose head ended before head_end and had a body of content_length bytes is over: the library moves what follows it to the
 * start of its buffer. */
void wire_next(struct wire *wire, const char *head_end, int64_t content_length);
