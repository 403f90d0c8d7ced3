/* What process.c (calls) and process_main.c (life of the process) share. */
#pragma once

#include "bus/bus_config.h"
#include "bus/bus_zap.h"
#include "bus/envelope.h"
#include "process/process.h"

#define IN_FLIGHT_MAX 1024 /* calls that one replica works on at once */
#define CALLERS_MAX 128    /* connections that are told GOAWAY */
#define ARENAS_IDLE_MAX 128

/* The bus side of a service process. */
struct server {
	struct process *run;
	const struct process_info *self;
	struct zap *zap;
	void *router, *pub;
	struct loop_watch *router_watch;
	uint8_t instance[16];
	unsigned in_flight;
	bool draining;
	struct loop_timer *pulse; /* tells that the process was frozen */
	int64_t pulse_us, stale_until_us;
	struct {
		uint8_t id[16];
		size_t len;
	} callers[CALLERS_MAX]; /* routing ids of those that said HELLO, a ring */
	unsigned caller_count;
	struct arena *arenas[ARENAS_IDLE_MAX]; /* for reuse */
	unsigned arena_count;
	struct metric *requests, *busy;
	struct metric **by_method; /* histograms, by index in method_table */
};

/* Binds the ROUTER and the PUB socket. ST_UNAVAILABLE, logged, when the address is taken. */
MUST_USE enum status server_start(struct server *server, const struct bus_config *config, const char *listen);
/* Tells all callers to choose another replica; requests that still arrive are refused unexecuted. */
void server_drain(struct server *server);
void server_stop(struct server *server);

/* Exit status of the `health` command: 0 when the service on this machine answers a PING within 2 s. */
int process_health(const struct bus_config *config, const char *listen);
