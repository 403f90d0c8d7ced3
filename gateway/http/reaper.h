/* Ends connections that are too slow. The HTTP server's own time-outs start anew with every byte, so a client that sends one byte a
 * second could hold a thread for ever; the reaper shuts such a socket down when its deadline has passed. */
#pragma once

#include <stdint.h>

struct reaper;
struct reaper_slot;

/* Starts the reaper's thread for the server that listens on `port`. NULL without memory or thread. */
struct reaper *reaper_new(int port);
void reaper_free(struct reaper **reaper); /* frees its slots too */

/* A slot belongs to one request context for its whole life. NULL without memory. Any thread. */
struct reaper_slot *reaper_slot_new(struct reaper *reaper);
/* The connection that the context serves now. address is copied. */
void reaper_slot_bind(struct reaper_slot *slot, const char *address, int port);
/* Ends the bound connection at the monotonic deadline; 0 = not any more. After the return of a 0 it is left alone. */
void reaper_slot_arm(struct reaper_slot *slot, int64_t deadline_us);

/* Ends the slot's connection at the deadline although the request is over (its client may go on sending), until
 * reaper_unwatch(connection). connection is only a name. */
void reaper_watch(struct reaper *reaper, const void *connection, const struct reaper_slot *slot, int64_t deadline_us);
void reaper_unwatch(struct reaper *reaper, const void *connection);

/* Closes the listening socket, for which the HTTP server has no call: new connections are refused, open ones go on. */
void reaper_stop_listening(struct reaper *reaper);
