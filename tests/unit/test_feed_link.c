/* The subscriber's sockets beside a ledger that sends without end and breaks the connections: no input ends the process. */
#include "hostile.h"

#include <czmq.h>

/* On a busy machine a thread waits for its turn anywhere. */
static zframe_t *receive_slowly(void *source)
{
	zframe_t *frame = zframe_recv(source);
	usleep(20);
	return frame;
}
#define zframe_recv receive_slowly
#include "../../sdk/c/feed_link.c"

#include <criterion/criterion.h>

#define FOLLOWERS 20

struct scene {
	struct hostile ledger;
	_Atomic useconds_t pause_us; /* after each message: what the program does with it */
	char endpoint[32], server_key[41], public_key[41], secret_key[41];
	_Atomic bool done;
	_Atomic size_t received;
};

/* What the feed does: asks, waits, connects anew now and then. */
static void *follower_run(void *arg)
{
	struct scene *scene = arg;
	bool asks = scene->ledger.type == ZMQ_ROUTER;
	struct feed_link *link =
	    feed_link_new(scene->endpoint, scene->server_key, scene->public_key, scene->secret_key);
	feed_link_set_topic(link, (const uint8_t[FEED_TOPIC_BYTES]){0});
	for (int64_t refresh_ms = 0; !scene->done;) {
		zframe_t *reply = NULL, *hint = NULL;
		if (zclock_mono() >= refresh_ms) {
			refresh_ms = zclock_mono() + HOSTILE_CALM_MS;
			feed_link_refresh(link);
			if (asks && !feed_link_send(link, (struct feed_frame){calloc(1, 8), 8}))
				feed_link_rotate(link);
		}
		feed_link_wait(link, 20, &reply, &hint);
		if (reply || hint) {
			scene->received++;
			usleep(scene->pause_us);
		}
		zframe_destroy(&reply);
		zframe_destroy(&hint);
	}
	feed_link_free(&link);
	return NULL;
}

/* How many messages the followers took from a ledger that broke 25 * FOLLOWERS connections. */
static size_t outlive(int type, int frames, useconds_t pause_us)
{
	struct scene scene = {.pause_us = pause_us};
	pthread_t threads[FOLLOWERS];
	int port = hostile_port();
	scene.ledger = (struct hostile){.type = type,
	                                .port = port + (type == ZMQ_PUB ? HINT_PORT_OFFSET : 0),
	                                .frames = frames,
	                                .breaks = 25,
	                                .burst_ms = 30};
	snprintf(scene.endpoint, sizeof(scene.endpoint), "127.0.0.1:%d", port);
	zmq_curve_keypair(scene.server_key, scene.ledger.secret_key);
	zmq_curve_keypair(scene.public_key, scene.secret_key);
	pid_t pid = hostile_start(&scene.ledger);
	for (int i = 0; i < FOLLOWERS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, follower_run, &scene), 0);
	waitpid(pid, NULL, 0);
	scene.pause_us = 0;
	scene.done = true;
	for (int i = 0; i < FOLLOWERS; i++)
		pthread_join(threads[i], NULL);
	return scene.received;
}

Test(feed_link, hints_outlive_their_connections)
{
	cr_expect_gt(outlive(ZMQ_PUB, 1, 0), 1000);
}

Test(feed_link, hints_that_are_not_read_outlive_their_connections)
{
	cr_expect_gt(outlive(ZMQ_PUB, 1, 300000), 0);
}

Test(feed_link, hints_of_many_frames_are_none)
{
	cr_expect_eq(outlive(ZMQ_PUB, 120, 0), 0);
}

Test(feed_link, answers_of_many_frames_are_none)
{
	cr_expect_eq(outlive(ZMQ_ROUTER, 120, 0), 0);
}
