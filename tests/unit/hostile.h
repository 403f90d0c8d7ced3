/* A peer that sends messages of many frames without end and breaks its connections, in processes of its own: it does not outlive
 * what it does. Shared by the tests of those who must. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define HOSTILE_CALM_MS 70 /* until all have connected anew */
#define HOSTILE_CALLERS 32
#define HOSTILE_ROUTE_BYTES 5 /* as ZeroMQ makes them */

struct hostile {
	int type; /* ZMQ_PUB, or ZMQ_ROUTER, which answers all that said something */
	int port, frames;
	int breaks, burst_ms;
	char secret_key[41];
};

/* A port that other tests running now do not use, and so is the one 1000 above it: each test is a process of its own. */
static inline int hostile_port(void)
{
	return 21000 + getpid() * 7 % 10000;
}

static inline int64_t hostile_now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static inline void *hostile_open(const struct hostile *hostile)
{
	int one = 1;
	char endpoint[64];
	void *sock = zmq_socket(zmq_ctx_new(), hostile->type);
	snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%d", hostile->port);
	zmq_setsockopt(sock, ZMQ_CURVE_SERVER, &one, sizeof(one));
	zmq_setsockopt(sock, ZMQ_CURVE_SECRETKEY, hostile->secret_key, sizeof(hostile->secret_key));
	while (zmq_bind(sock, endpoint) != 0)
		usleep(1000);
	return sock;
}

static inline void hostile_send(const struct hostile *hostile, void *sock, const uint8_t *route)
{
	static const uint8_t frame[40];
	if (route)
		zmq_send(sock, route, HOSTILE_ROUTE_BYTES, ZMQ_SNDMORE | ZMQ_DONTWAIT);
	for (int i = hostile->frames; i-- > 0;)
		zmq_send(sock, frame, sizeof(frame), (i > 0 ? ZMQ_SNDMORE : 0) | ZMQ_DONTWAIT);
}

static inline void hostile_burst(const struct hostile *hostile, void *sock)
{
	uint8_t routes[HOSTILE_CALLERS][HOSTILE_ROUTE_BYTES], said[256];
	int count = 0;
	usleep(HOSTILE_CALM_MS * 1000);
	while (hostile->type == ZMQ_ROUTER && count < HOSTILE_CALLERS) {
		if (zmq_recv(sock, routes[count], HOSTILE_ROUTE_BYTES, ZMQ_DONTWAIT) < 0 ||
		    zmq_recv(sock, said, sizeof(said), ZMQ_DONTWAIT) < 0)
			break;
		count++;
	}
	for (int64_t until_ms = hostile_now_ms() + hostile->burst_ms; hostile_now_ms() < until_ms;) {
		for (int i = 0; i < count; i++)
			hostile_send(hostile, sock, routes[i]);
		if (hostile->type == ZMQ_PUB)
			hostile_send(hostile, sock, NULL);
	}
}

/* Begins the bursts. Before the caller has threads. */
static inline pid_t hostile_start(const struct hostile *hostile)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	for (int i = 0; i < hostile->breaks; i++) {
		pid = fork();
		if (pid == 0) {
			hostile_burst(hostile, hostile_open(hostile));
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
	_exit(0);
}
