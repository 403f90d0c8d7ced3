/* The places for connections: as many as the server has threads. A thread of its own ends connections whose bytes come too slowly, and,
 * when places run out, idle ones, so that there is always room for the next. */
#pragma once

#include "base/address.h"
#include "http/wire.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct places;

struct places_options {
	int port;                           /* that the server listens on */
	int count;                          /* of places */
	int share_percent;                  /* of them that one site may hold when they run out */
	const struct address_list *proxies; /* have no share; borrowed */
};

/* One for each thread of the server, for the thread's life. */
struct place {
	struct wire wire; /* first: what the thread's connection received */
	struct places *places;
	struct place *next;
	atomic_bool taken;     /* a connection has it */
	atomic_bool busy;      /* a request is being answered: it is not ended to make room */
	atomic_bool cut;       /* its client was too slow or had to go: nothing more is read from it */
	pthread_mutex_t lock;  /* of the three below */
	int64_t window_us;     /* a body is being read, at this pace; 0 = not */
	int64_t since_us;      /* when this window began */
	uint64_t before_bytes; /* wire.received at that time */
};

/* NULL without memory or thread. */
struct places *places_new(const struct places_options *options);
void places_free(struct places **places);

/* NULL without memory. The place is freed when its thread ends. */
struct place *place_new(struct places *places);
void place_free(struct place **place);

/* A connection comes and goes; on the place's thread. */
void place_take(struct place *place);
void place_leave(struct place *place);

/* Connections that have one now. Any thread. */
int places_taken(const struct places *places);

/* Whether the connection's first request is served: not when its site holds its share and places have run out; the last few are kept for
 * those that are `always` served. May wait 400 ms for room. */
bool place_admit(const struct place *place, const char *peer, bool always);

/* A body is being read, and in each window of this length it must bring PLACES_RATE bytes a second; 0 = not any more. Else the reading half
 * of the connection is shut, so that there can still be an answer, and place->cut is set. */
#define PLACES_RATE 32
void place_read(struct place *place, int64_t window_us);

/* Closes the listening socket, for which the HTTP server has no call: new connections are refused, open ones go on. */
void places_close_door(const struct places *places);
