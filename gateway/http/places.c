/* The places for connections. The server's library does not give its sockets away: that of a connection which has sent something is known
 * from its bytes (wire), the others are found among all descriptors when room must be made. */
#include "http/places.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "http/crowd.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TICK_US (250 * US_PER_MS)
#define SHORT_TICK_US (50 * US_PER_MS)
#define PAUSE_US (5 * US_PER_MS)
#define ENDED_HELP "Connections ended because a body came too slowly, or idle ones because room was needed."
#define ADMIT_US (400 * US_PER_MS)
#define FREE_MAX 64 /* places that are kept free of idle connections, at most */
#define KEPT_MAX 4  /* of these, for requests that are always served, at most */
#define DESCRIPTORS_EXTRA                                                                                              \
	2048 /* descriptors beside those of places: the process's own, connections that wait for a thread */

struct places {
	struct places_options options;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake;
	bool wanted, stop;
	struct place *all;
	struct crowd crowd;  /* sites above their share, while places are short */
	atomic_bool crowded; /* there are some */
	atomic_int taken;
	struct metric *open, *slow, *idle; /* connections: now, and ended for these causes */
};

int places_taken(const struct places *places)
{
	return atomic_load(&places->taken);
}

static int places_spare(const struct places *places)
{
	return places->options.count - places_taken(places);
}

/* How many places idle connections must leave free: a sixteenth. */
static int places_free_min(const struct places *places)
{
	int wanted = places->options.count / 16;
	if (wanted > FREE_MAX)
		return FREE_MAX;
	return wanted > 0 || places->options.count < 4 ? wanted : 1;
}

static int places_kept(const struct places *places)
{
	int wanted = places_free_min(places);
	return wanted > KEPT_MAX ? KEPT_MAX : wanted;
}

/* ---- slow bodies */

static void place_check(struct place *place, int64_t now_us)
{
	pthread_mutex_lock(&place->lock);
	uint64_t received = atomic_load(&place->wire.received);
	int fd = atomic_load(&place->wire.fd);
	if (place->window_us > 0 && now_us - place->since_us >= place->window_us) {
		uint64_t least = (uint64_t)(place->window_us / US_PER_SEC * PLACES_RATE);
		if (received - place->before_bytes < least && fd >= 0) {
			atomic_store(&place->cut, true);
			shutdown(fd, SHUT_RD);
			metric_add(place->places->slow, 1);
			place->window_us = 0;
		}
		place->since_us = now_us;
		place->before_bytes = received;
	}
	pthread_mutex_unlock(&place->lock);
}

void place_read(struct place *place, int64_t window_us)
{
	pthread_mutex_lock(&place->lock);
	place->window_us = window_us;
	place->since_us = window_us > 0 ? clock_monotonic_us() : 0;
	place->before_bytes = atomic_load(&place->wire.received);
	pthread_mutex_unlock(&place->lock);
}

/* ---- room */

static bool socket_address(const struct sockaddr_storage *from, struct address *ret_address, int *ret_port)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	if (from->ss_family == AF_INET6) {
		const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)from;
		memcpy(ret_address->bytes, &six->sin6_addr, sizeof(ret_address->bytes));
		*ret_port = ntohs(six->sin6_port);
		return true;
	}
	const struct sockaddr_in *four = (const struct sockaddr_in *)from;
	memcpy(ret_address->bytes, mapped, sizeof(mapped));
	memcpy(ret_address->bytes + sizeof(mapped), &four->sin_addr, 4);
	*ret_port = ntohs(four->sin_port);
	return from->ss_family == AF_INET;
}

/* Whether the descriptor is a connection of this server; then whose, and for how long nothing has come. */
static bool socket_look(const struct places *places, int fd, struct crowd_member *ret_member)
{
	struct sockaddr_storage at;
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN | POLLRDHUP};
	struct tcp_info info;
	struct address local;
	socklen_t len = sizeof(at);
	int port = 0;
	*ret_member = (struct crowd_member){.fd = fd, .idle_ms = -1};
	if (getsockname(fd, (struct sockaddr *)&at, &len) != 0 || !socket_address(&at, &local, &port) ||
	    port != places->options.port)
		return false;
	len = sizeof(at);
	if (getpeername(fd, (struct sockaddr *)&at, &len) != 0 || !socket_address(&at, &ret_member->site, &port))
		return false;
	if (poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLRDHUP))
		return false; /* it is leaving */
	ret_member->exempt = address_list_has(places->options.proxies, &ret_member->site);
	address_mask(&ret_member->site, 32, 64);
	len = sizeof(info);
	if (poll_fd.revents == 0 && getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
		ret_member->idle_ms = info.tcpi_last_data_recv;
	return true;
}

static int order_fds(const void *left, const void *right)
{
	return *(const int *)left - *(const int *)right;
}

/* The sockets of requests that are being answered, sorted. */
static size_t places_busy(const struct places *places, int *ret_fds, size_t max)
{
	size_t count = 0;
	for (const struct place *place = places->all; place && count < max; place = place->next) {
		if (atomic_load(&place->busy))
			ret_fds[count++] = atomic_load(&place->wire.fd);
	}
	qsort(ret_fds, count, sizeof(ret_fds[0]), order_fds);
	return count;
}

/* Ends idle connections until enough places are free, and notes who has more than a share of the others. Only the reading half is shut:
 * what was asked just now is still answered. */
static void places_make_room(struct places *places, int need)
{
	struct crowd *crowd = &places->crowd;
	size_t max = (size_t)places->options.count + DESCRIPTORS_EXTRA;
	int *busy = calloc(max, sizeof(busy[0]));
	crowd->members = calloc(max, sizeof(crowd->members[0]));
	crowd->count = 0;
	if (!crowd->members || !busy)
		goto out;
	size_t busy_count = places_busy(places, busy, max);
	for (int fd = 0; fd < (int)max; fd++) {
		struct crowd_member *member = &crowd->members[crowd->count];
		if (!socket_look(places, fd, member))
			continue;
		if (bsearch(&fd, busy, busy_count, sizeof(busy[0]), order_fds))
			member->idle_ms = -1;
		crowd->count++;
	}
	crowd_choose(crowd, (size_t)need);
	atomic_store(&places->crowded, crowd->site_count > 0);
	for (size_t i = 0; i < crowd->count; i++) {
		if (!crowd->members[i].leaves)
			continue;
		shutdown(crowd->members[i].fd, SHUT_RD);
		metric_add(places->idle, 1);
	}
out:
	free(busy);
	free(crowd->members);
	crowd->members = NULL;
}

void place_take(struct place *place)
{
	struct places *places = place->places;
	wire_open(&place->wire);
	atomic_store(&place->cut, false);
	atomic_store(&place->taken, true);
	atomic_fetch_add(&places->taken, 1);
	metric_add(places->open, 1);
	if (places_spare(places) >= places_free_min(places))
		return;
	pthread_mutex_lock(&places->lock);
	places->wanted = true;
	pthread_cond_signal(&places->wake);
	pthread_mutex_unlock(&places->lock);
}

void place_leave(struct place *place)
{
	if (!atomic_exchange(&place->taken, false))
		return;
	atomic_fetch_sub(&place->places->taken, 1);
	metric_add(place->places->open, -1);
}

/* Whether the site has more than its share while places are short. */
static bool places_crowded(struct places *places, const char *peer)
{
	struct address site;
	bool found = false;
	if (!atomic_load(&places->crowded) || !address_read(peer, &site))
		return false;
	address_mask(&site, 32, 64);
	pthread_mutex_lock(&places->lock);
	for (size_t i = 0; i < places->crowd.site_count && !found; i++)
		found = memcmp(&places->crowd.sites[i], &site, sizeof(site)) == 0;
	pthread_mutex_unlock(&places->lock);
	return found;
}

static void places_nap(int64_t us)
{
	struct timespec nap = {.tv_sec = us / US_PER_SEC, .tv_nsec = us % US_PER_SEC * 1000};
	nanosleep(&nap, NULL);
}

bool place_admit(const struct place *place, const char *peer, bool always)
{
	struct places *places = place->places;
	int kept = places_kept(places);
	if (always)
		return true;
	if (places_crowded(places, peer))
		return false;
	for (int64_t waited_us = 0; places_spare(places) < kept; waited_us += PAUSE_US) {
		if (waited_us >= ADMIT_US)
			return false;
		places_nap(PAUSE_US);
	}
	return true;
}

/* ---- life */

/* With the lock. Sleeps until the next tick, or until somebody misses places. */
static void places_wait(struct places *places, int64_t tick_us)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	int64_t ns = until.tv_nsec + tick_us * 1000;
	until.tv_sec += ns / (US_PER_SEC * 1000);
	until.tv_nsec = ns % (US_PER_SEC * 1000);
	if (!places->wanted && !places->stop)
		pthread_cond_clockwait(&places->wake, &places->lock, CLOCK_MONOTONIC, &until);
	places->wanted = false;
}

static void *places_run(void *arg)
{
	struct places *places = arg;
	int free_min = places_free_min(places);
	bool is_short = false;
	pthread_mutex_lock(&places->lock);
	while (!places->stop) {
		places_wait(places, is_short ? SHORT_TICK_US : TICK_US);
		int64_t now_us = clock_monotonic_us();
		for (struct place *place = places->all; place; place = place->next)
			place_check(place, now_us);
		int spare = places_spare(places);
		is_short = spare < free_min;
		if (is_short)
			places_make_room(places, free_min - spare + free_min / 2);
		else
			atomic_store(&places->crowded, false);
		pthread_mutex_unlock(&places->lock);
		if (is_short)
			places_nap(PAUSE_US); /* the ended ones leave */
		pthread_mutex_lock(&places->lock);
	}
	pthread_mutex_unlock(&places->lock);
	return NULL;
}

struct places *places_new(const struct places_options *options)
{
	struct places *places = calloc(1, sizeof(*places));
	if (!places)
		return NULL;
	places->open = metric_gauge("denizen_http_connections", "", "Connections that have a thread.");
	places->slow = metric_counter("denizen_http_connections_ended_total", "cause=\"slow\"", ENDED_HELP);
	places->idle = metric_counter("denizen_http_connections_ended_total", "cause=\"room\"", ENDED_HELP);
	int share = options->count * options->share_percent / 100;
	places->options = *options;
	places->crowd.share = share > 0 ? (size_t)share : 1;
	pthread_mutex_init(&places->lock, NULL);
	pthread_cond_init(&places->wake, NULL);
	if (pthread_create(&places->thread, NULL, places_run, places) != 0) {
		free(places);
		return NULL;
	}
	return places;
}

void places_free(struct places **places)
{
	struct places *self = *places;
	if (!self)
		return;
	pthread_mutex_lock(&self->lock);
	self->stop = true;
	pthread_cond_signal(&self->wake);
	pthread_mutex_unlock(&self->lock);
	pthread_join(self->thread, NULL);
	pthread_cond_destroy(&self->wake);
	pthread_mutex_destroy(&self->lock);
	free(self);
	*places = NULL;
}

struct place *place_new(struct places *places)
{
	struct place *place = calloc(1, sizeof(*place));
	if (!place)
		return NULL;
	place->places = places;
	pthread_mutex_init(&place->lock, NULL);
	wire_open(&place->wire);
	pthread_mutex_lock(&places->lock);
	place->next = places->all;
	places->all = place;
	pthread_mutex_unlock(&places->lock);
	return place;
}

void place_free(struct place **place)
{
	struct place *self = *place;
	if (!self)
		return;
	pthread_mutex_lock(&self->places->lock);
	struct place **link = &self->places->all;
	while (*link != self)
		link = &(*link)->next;
	*link = self->next;
	pthread_mutex_unlock(&self->places->lock);
	pthread_mutex_destroy(&self->lock);
	free(self);
	*place = NULL;
}

static bool places_is_listener(int fd, int port)
{
	struct sockaddr_storage at;
	struct address local;
	int listening = 0, local_port = 0;
	socklen_t len = sizeof(listening);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 || !listening)
		return false;
	len = sizeof(at);
	return getsockname(fd, (struct sockaddr *)&at, &len) == 0 && socket_address(&at, &local, &local_port) &&
	       local_port == port;
}

void places_close_door(const struct places *places)
{
	/* Never ready: takes the listener's number, so that the server's poll neither spins nor sees another file there. */
	int quiet = eventfd(0, EFD_CLOEXEC);
	int max = places->options.count + DESCRIPTORS_EXTRA;
	for (int fd = 0; fd < max && quiet >= 0; fd++) {
		if (!places_is_listener(fd, places->options.port))
			continue;
		shutdown(fd, SHUT_RDWR);
		dup3(quiet, fd, O_CLOEXEC);
	}
	if (quiet >= 0)
		close(quiet);
}
