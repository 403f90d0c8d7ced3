/* The `recv` of the HTTP server's library, and what it tells. */
#include "http/wire.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

static _Thread_local struct wire *wire_here;

static void wire_note(struct wire *wire, int fd, const char *data, size_t got)
{
	atomic_store_explicit(&wire->fd, fd, memory_order_relaxed);
	atomic_fetch_add_explicit(&wire->received, got, memory_order_relaxed);
	if (wire->in_body)
		return;
	if (!wire->start)
		wire->start = wire->end = data;
	wire->torn = wire->torn || data != wire->end;
	wire->end = data + got;
}

/* Goes before the C library's function of this name, for the whole process. */
ssize_t recv(int fd, void *data, size_t len, int flags)
{
	ssize_t got = recvfrom(fd, data, len, flags, NULL, NULL);
	if (wire_here && got > 0)
		wire_note(wire_here, fd, data, (size_t)got);
	return got;
}

void wire_attach(struct wire *wire)
{
	wire_here = wire;
}

void wire_open(struct wire *wire)
{
	atomic_store(&wire->fd, -1);
	atomic_store(&wire->received, 0);
	wire->start = wire->end = NULL;
	wire->in_body = wire->torn = false;
}

bool wire_frames(const struct wire *wire, const char *verb, const char *head_end)
{
	if (wire->torn || !wire->start || head_end > wire->end)
		return false;
	return verb == wire->start || (verb == wire->start + 2 && memcmp(wire->start, "\r\n", 2) == 0);
}

void wire_next(struct wire *wire, const char *head_end, int64_t content_length)
{
	int64_t rest = wire->end - head_end;
	wire->end = wire->start + (rest > content_length ? rest - content_length : 0);
	wire->in_body = false;
}
