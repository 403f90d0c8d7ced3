/* ZAP handler: the bus allow-list. */
#include "bus/bus_zap.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define RELOAD_US (1 * US_PER_SEC)
#define ZAP_FRAMES 7 /* version, request id, domain, address, routing id, mechanism, client key */

struct zap {
	struct loop *loop;
	void *socket;
	struct loop_watch *watch;
	struct loop_timer *reload;
	const char *public_dir;
	struct allow_list list;
};

static void zap_reload(void *arg)
{
	struct zap *zap = arg;
	if (allow_list_read(zap->public_dir, &zap->list) != ST_OK)
		log_event(LOG_WARN, "the bus allow-list cannot be read", "directory", zap->public_dir, NULL);
	loop_timer_set(zap->reload, clock_monotonic_us() + RELOAD_US);
}

static void zap_reply(struct zap *zap, zmq_msg_t *request_id, const struct allow_entry *entry)
{
	const char *parts[] = {entry ? "200" : "400", entry ? "OK" : "the key is not in the allow-list",
	                       entry ? entry->user_id : "", ""};
	zmq_send(zap->socket, "1.0", 3, ZMQ_SNDMORE);
	zmq_send(zap->socket, zmq_msg_data(request_id), zmq_msg_size(request_id), ZMQ_SNDMORE);
	for (int i = 0; i < 4; i++)
		zmq_send(zap->socket, parts[i], strlen(parts[i]), i < 3 ? ZMQ_SNDMORE : 0);
}

static const struct allow_entry *zap_judge(struct zap *zap, zmq_msg_t *frames)
{
	char key[Z85_KEY_SIZE];
	if (zmq_msg_size(&frames[5]) != 5 || memcmp(zmq_msg_data(&frames[5]), "CURVE", 5) != 0 ||
	    zmq_msg_size(&frames[6]) != 32)
		return NULL;
	zmq_z85_encode(key, zmq_msg_data(&frames[6]), 32);
	const struct allow_entry *entry = allow_list_find_key(&zap->list, key);
	if (!entry) {
		zap_reload(zap);
		entry = allow_list_find_key(&zap->list, key);
	}
	return entry;
}

static bool zap_readable(void *arg)
{
	struct zap *zap = arg;
	for (bool any = false;; any = true) {
		zmq_msg_t frames[ZAP_FRAMES];
		int count = 0, more = 1;
		while (more && count < ZAP_FRAMES) {
			zmq_msg_init(&frames[count]);
			if (zmq_msg_recv(&frames[count], zap->socket, ZMQ_DONTWAIT) < 0)
				return any;
			more = zmq_msg_more(&frames[count]);
			count++;
		}
		const struct allow_entry *entry = count == ZAP_FRAMES ? zap_judge(zap, frames) : NULL;
		if (!entry)
			metric_add(metric_counter("denizen_bus_refused_total", "", "Bus connections refused by ZAP"),
			           1);
		zap_reply(zap, &frames[1], entry);
		for (int i = 0; i < count; i++)
			zmq_msg_close(&frames[i]);
	}
}

struct zap *zap_start(struct loop *loop, const char *public_dir)
{
	struct zap *zap = calloc(1, sizeof(*zap));
	if (!zap)
		abort();
	zap->loop = loop;
	zap->public_dir = public_dir;
	zap->socket = zmq_socket(loop_zmq_context(loop), ZMQ_REP);
	int zero = 0;
	if (!zap->socket || zmq_setsockopt(zap->socket, ZMQ_LINGER, &zero, sizeof(zero)) != 0 ||
	    zmq_bind(zap->socket, "inproc://zeromq.zap.01") != 0)
		abort();
	zap->reload = loop_timer_new(loop, zap_reload, zap);
	zap_reload(zap);
	zap->watch = loop_watch_socket(loop, zap->socket, zap_readable, zap);
	return zap;
}

void zap_stop(struct zap **zap)
{
	if (!*zap)
		return;
	loop_unwatch((*zap)->loop, &(*zap)->watch);
	loop_timer_free(&(*zap)->reload);
	zmq_close((*zap)->socket);
	allow_list_free(&(*zap)->list);
	free(*zap);
	*zap = NULL;
}

const struct allow_entry *zap_find(struct zap *zap, const char *user_id)
{
	return allow_list_find_user(&zap->list, user_id);
}
