/* The calling side of the bus beside a peer that sends messages of many frames without end and breaks its connections. */
#include "hostile.h"

#include "base/log.h"
#include "bus/client.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <pthread.h>

#define CALLERS 8

static _Atomic useconds_t busy_us;

/* On a busy machine a thread waits for its turn anywhere. */
int zmq_msg_recv(zmq_msg_t *frame, void *socket, int flags)
{
	static int (*real)(zmq_msg_t *, void *, int);
	if (!real)
		real = (int (*)(zmq_msg_t *, void *, int))dlsym(RTLD_NEXT, "zmq_msg_recv");
	int size = real(frame, socket, flags);
	if (busy_us && size >= 0)
		usleep(busy_us);
	return size;
}

struct caller {
	struct loop *loop;
	struct client *client;
	pthread_t thread;
	_Atomic size_t hints;
};

static void *caller_run(void *arg)
{
	loop_run(((struct caller *)arg)->loop);
	return NULL;
}

static void on_hint(void *arg, const void *data, size_t len_bytes)
{
	((struct caller *)arg)->hints++;
}

/* Callers of "audit" that subscribe to its hints. */
static void callers_start(struct caller *callers, const char *endpoint, const char *server_key)
{
	const char *endpoints[8] = {[PROCESS_AUDIT] = endpoint}, *keys[8] = {[PROCESS_AUDIT] = server_key};
	char public_key[41], secret_key[41];
	zmq_curve_keypair(public_key, secret_key);
	for (int i = 0; i < CALLERS; i++) {
		callers[i].loop = loop_new();
		callers[i].client = client_new(&(struct client_options){.loop = callers[i].loop,
		                                                        .self = "gateway",
		                                                        .endpoints = endpoints,
		                                                        .curve_public = public_key,
		                                                        .curve_secret = secret_key,
		                                                        .server_keys = keys});
		client_subscribe(callers[i].client, PROCESS_AUDIT, "", 0, on_hint, &callers[i]);
		cr_assert_eq(pthread_create(&callers[i].thread, NULL, caller_run, &callers[i]), 0);
	}
}

static size_t callers_stop(struct caller *callers)
{
	size_t hints = 0;
	for (int i = 0; i < CALLERS; i++) {
		loop_stop(callers[i].loop);
		pthread_join(callers[i].thread, NULL);
		client_free(&callers[i].client);
		loop_free(&callers[i].loop);
		hints += callers[i].hints;
	}
	return hints;
}

/* How many hints the callers took from a peer that broke CALLERS * breaks connections. */
static size_t outlive(struct hostile peer, useconds_t pause_us)
{
	static struct caller callers[CALLERS];
	peer.port = hostile_port() + (peer.type == ZMQ_PUB ? 1000 : 0);
	char endpoint[32], server_key[41];
	log_init("test", LOG_ERROR);
	busy_us = pause_us;
	snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%d", hostile_port());
	zmq_curve_keypair(server_key, peer.secret_key);
	pid_t pid = hostile_start(&peer);
	callers_start(callers, endpoint, server_key);
	waitpid(pid, NULL, 0);
	busy_us = 0; /* what waits is read before a loop ends */
	return callers_stop(callers);
}

Test(bus_hostile, hints_outlive_their_connections)
{
	cr_expect_gt(outlive((struct hostile){.type = ZMQ_PUB, .frames = 1, .breaks = 25, .burst_ms = 30}, 20), 1000);
}

Test(bus_hostile, hints_that_are_not_read_outlive_their_connections)
{
	cr_expect_gt(outlive((struct hostile){.type = ZMQ_PUB, .frames = 1, .breaks = 6, .burst_ms = 400}, 100000), 0);
}

Test(bus_hostile, hints_of_many_frames_do_no_harm)
{
	outlive((struct hostile){.type = ZMQ_PUB, .frames = 120, .breaks = 25, .burst_ms = 30}, 20);
}

Test(bus_hostile, answers_of_many_frames_do_no_harm)
{
	outlive((struct hostile){.type = ZMQ_ROUTER, .frames = 120, .breaks = 25, .burst_ms = 30}, 20);
}
