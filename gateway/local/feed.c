/* GET /v1/events: reads the ledger; when there is nothing new, waits for a hint of the project, in bounded numbers. */
#include "local/local.h"

#include "audit.pb-c.h"
#include "base/clock.h"
#include "calls/upstream.h"
#include "http/problem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 256
#define WAIT_MAX_SEC 30
#define POLL_US (2 * US_PER_SEC) /* hints may be lost */
#define RETRY_AFTER_MS 1000

struct feed_bucket {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	uint64_t generation; /* moves with every hint for a project of this bucket */
	atomic_int waiting;
};

struct feed {
	int max_waiting;
	atomic_int waiting;
	atomic_bool leaving;
	struct feed_bucket buckets[BUCKETS];
};

struct feed *feed_new(int max_waiting)
{
	struct feed *feed = calloc(1, sizeof(*feed));
	pthread_condattr_t attributes;
	if (!feed)
		return NULL;
	feed->max_waiting = max_waiting;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	for (size_t i = 0; i < BUCKETS; i++) {
		pthread_mutex_init(&feed->buckets[i].lock, NULL);
		pthread_cond_init(&feed->buckets[i].moved, &attributes);
	}
	pthread_condattr_destroy(&attributes);
	return feed;
}

void feed_free(struct feed **feed)
{
	if (!*feed)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		pthread_cond_destroy(&(*feed)->buckets[i].moved);
		pthread_mutex_destroy(&(*feed)->buckets[i].lock);
	}
	free(*feed);
	*feed = NULL;
}

/* The last bytes of a UUIDv7 are random. */
static struct feed_bucket *feed_bucket(struct feed *feed, const uint8_t project[ID_SIZE])
{
	return &feed->buckets[project[ID_SIZE - 1]];
}

static void feed_wake(struct feed_bucket *bucket)
{
	pthread_mutex_lock(&bucket->lock);
	bucket->generation++;
	pthread_cond_broadcast(&bucket->moved);
	pthread_mutex_unlock(&bucket->lock);
}

void feed_hint(void *arg, const void *data, size_t len_bytes)
{
	struct feed *feed = arg;
	Audit__Hint *hint = audit__hint__unpack(NULL, len_bytes, data);
	if (hint && hint->project_id.len == ID_SIZE)
		feed_wake(feed_bucket(feed, hint->project_id.data));
	if (hint)
		audit__hint__free_unpacked(hint, NULL);
}

void feed_wake_all(struct feed *feed)
{
	atomic_store(&feed->leaving, true);
	for (size_t i = 0; i < BUCKETS; i++)
		feed_wake(&feed->buckets[i]);
}

static uint64_t feed_generation(struct feed_bucket *bucket)
{
	pthread_mutex_lock(&bucket->lock);
	uint64_t generation = bucket->generation;
	pthread_mutex_unlock(&bucket->lock);
	return generation;
}

/* Sleeps until the bucket's generation is another, or the deadline. */
static void feed_sleep(struct feed_bucket *bucket, uint64_t generation, int64_t until_us)
{
	struct timespec until = {.tv_sec = until_us / US_PER_SEC, .tv_nsec = until_us % US_PER_SEC * 1000};
	int outcome = 0;
	pthread_mutex_lock(&bucket->lock);
	while (bucket->generation == generation && outcome == 0)
		outcome = pthread_cond_timedwait(&bucket->moved, &bucket->lock, &until);
	pthread_mutex_unlock(&bucket->lock);
}

/* Reads until there is an event, the deadline has passed or the process leaves. */
static enum status feed_read(struct exchange *exchange, Audit__ReadEventsRequest *request, int64_t deadline_us,
                             ProtobufCMessage **ret_reply)
{
	struct feed *feed = exchange->gateway->feed;
	struct feed_bucket *bucket = feed_bucket(feed, exchange->caller.project.bytes);
	for (;;) {
		uint64_t generation = feed_generation(bucket);
		enum status status = upstream_send(exchange, M_AUDIT_READ_EVENTS, &request->base, ret_reply);
		if (status != ST_OK || ((const Audit__ReadEventsReply *)*ret_reply)->n_data > 0)
			return status;
		int64_t now_us = clock_monotonic_us();
		if (now_us >= deadline_us || atomic_load(&feed->leaving))
			return ST_OK;
		int64_t until_us = now_us + POLL_US < deadline_us ? now_us + POLL_US : deadline_us;
		feed_sleep(bucket, generation, until_us);
	}
}

static void feed_leave(struct feed *feed, struct feed_bucket *bucket)
{
	atomic_fetch_sub(&bucket->waiting, 1);
	atomic_fetch_sub(&feed->waiting, 1);
}

/* Takes a place among those that wait. Three quarters are the most for one project (more exactly, for those of one bucket): a client that
 * went away is noticed only when its time is over, and one that asks again and again must not take the places of all. */
static bool feed_enter(struct feed *feed, struct feed_bucket *bucket)
{
	bool room = atomic_fetch_add(&feed->waiting, 1) < feed->max_waiting;
	bool fair = atomic_fetch_add(&bucket->waiting, 1) < feed->max_waiting * 3 / 4;
	if (!room || !fair)
		feed_leave(feed, bucket);
	return room && fair;
}

static enum status feed_run(struct exchange *exchange, ProtobufCMessage **ret_reply)
{
	struct feed *feed = exchange->gateway->feed;
	ProtobufCMessage *message = NULL;
	enum status status = exchange->route->row.map_in(exchange, &message);
	if (status != ST_OK)
		return status;
	Audit__ReadEventsRequest *request = (Audit__ReadEventsRequest *)message;
	uint32_t wait_sec = request->has_wait ? request->wait : 0;
	if (wait_sec > WAIT_MAX_SEC)
		return http_fail(exchange, ST_INVALID_ARGUMENT, "wait", "wait must be 0 to 30 seconds");
	request->has_wait = 0; /* the gateway waits, not the service */
	request->wait = 0;
	if (wait_sec == 0)
		return feed_read(exchange, request, 0, ret_reply);
	struct feed_bucket *bucket = feed_bucket(feed, exchange->caller.project.bytes);
	if (!feed_enter(feed, bucket)) {
		(void)http_fail(exchange, ST_UNAVAILABLE, NULL, "Too many requests wait for events at this gateway");
		exchange->failure.retry_after_ms = RETRY_AFTER_MS;
		return ST_UNAVAILABLE;
	}
	status = feed_read(exchange, request, clock_monotonic_us() + wait_sec * US_PER_SEC, ret_reply);
	feed_leave(feed, bucket);
	return status;
}

void feed_serve(struct exchange *exchange)
{
	ProtobufCMessage *reply = NULL;
	if (feed_run(exchange, &reply) == ST_OK)
		exchange->route->row.map_out(exchange, reply);
}
