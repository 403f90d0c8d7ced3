/* Ends connections that are too slow: a thread looks at all deadlines four times a second. The server's library does not give
 * its file descriptors away, so the socket is found by its peer's address and port; that happens only when it is ended. */
#include "http/reaper.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_US (250 * US_PER_MS)
#define DESCRIPTORS_MAX 65536

struct reaper_peer {
	char address[48];
	int port;
};

struct reaper_slot {
	struct reaper_slot *next;
	pthread_mutex_t lock;
	struct reaper_peer peer;
	int64_t deadline_us;
};

struct reaper_watched {
	struct reaper_watched *next;
	const void *connection;
	struct reaper_peer peer;
	int64_t deadline_us;
};

struct reaper {
	int port;
	pthread_t thread;
	pthread_mutex_t lock; /* of both lists */
	struct reaper_slot *slots;
	struct reaper_watched *watched;
	atomic_int watched_count;
	atomic_bool stop;
};

static bool reaper_is_peer(int fd, const struct reaper_peer *peer, int local_port)
{
	struct sockaddr_in remote, local;
	socklen_t len = sizeof(remote);
	char text[INET_ADDRSTRLEN];
	if (getpeername(fd, (struct sockaddr *)&remote, &len) != 0 || remote.sin_family != AF_INET)
		return false;
	if (ntohs(remote.sin_port) != peer->port || !inet_ntop(AF_INET, &remote.sin_addr, text, sizeof(text)))
		return false;
	len = sizeof(local);
	if (strcmp(text, peer->address) != 0 || getsockname(fd, (struct sockaddr *)&local, &len) != 0)
		return false;
	return ntohs(local.sin_port) == local_port;
}

static int reaper_descriptors(void)
{
	long max = sysconf(_SC_OPEN_MAX);
	return max < 0 || max > DESCRIPTORS_MAX ? DESCRIPTORS_MAX : (int)max;
}

static void reaper_end(const struct reaper_peer *peer, int local_port)
{
	int max = reaper_descriptors();
	for (int fd = 0; fd < max; fd++) {
		if (reaper_is_peer(fd, peer, local_port)) {
			shutdown(fd, SHUT_RDWR);
			return;
		}
	}
}

static void reaper_tick(struct reaper *reaper, int64_t now_us)
{
	pthread_mutex_lock(&reaper->lock);
	for (struct reaper_slot *slot = reaper->slots; slot != NULL; slot = slot->next) {
		pthread_mutex_lock(&slot->lock);
		if (slot->deadline_us != 0 && slot->deadline_us <= now_us) {
			reaper_end(&slot->peer, reaper->port);
			slot->deadline_us = 0;
		}
		pthread_mutex_unlock(&slot->lock);
	}
	for (struct reaper_watched *entry = reaper->watched; entry != NULL; entry = entry->next) {
		if (entry->deadline_us <= now_us) {
			reaper_end(&entry->peer, reaper->port);
			entry->deadline_us = INT64_MAX;
		}
	}
	pthread_mutex_unlock(&reaper->lock);
}

static void *reaper_run(void *arg)
{
	struct reaper *reaper = arg;
	while (!atomic_load(&reaper->stop)) {
		usleep(TICK_US);
		reaper_tick(reaper, clock_monotonic_us());
	}
	return NULL;
}

struct reaper *reaper_new(int port)
{
	struct reaper *reaper = calloc(1, sizeof(*reaper));
	if (reaper == NULL)
		return NULL;
	reaper->port = port;
	pthread_mutex_init(&reaper->lock, NULL);
	if (pthread_create(&reaper->thread, NULL, reaper_run, reaper) != 0) {
		free(reaper);
		return NULL;
	}
	return reaper;
}

void reaper_free(struct reaper **reaper)
{
	struct reaper *self = *reaper;
	if (self == NULL)
		return;
	atomic_store(&self->stop, true);
	pthread_join(self->thread, NULL);
	for (struct reaper_slot *slot = self->slots; slot != NULL;) {
		struct reaper_slot *next = slot->next;
		pthread_mutex_destroy(&slot->lock);
		free(slot);
		slot = next;
	}
	for (struct reaper_watched *entry = self->watched; entry != NULL;) {
		struct reaper_watched *next = entry->next;
		free(entry);
		entry = next;
	}
	pthread_mutex_destroy(&self->lock);
	free(self);
	*reaper = NULL;
}

struct reaper_slot *reaper_slot_new(struct reaper *reaper)
{
	struct reaper_slot *slot = calloc(1, sizeof(*slot));
	if (slot == NULL)
		return NULL;
	pthread_mutex_init(&slot->lock, NULL);
	pthread_mutex_lock(&reaper->lock);
	slot->next = reaper->slots;
	reaper->slots = slot;
	pthread_mutex_unlock(&reaper->lock);
	return slot;
}

void reaper_slot_bind(struct reaper_slot *slot, const char *address, int port)
{
	pthread_mutex_lock(&slot->lock);
	slot->deadline_us = 0;
	slot->peer.port = port;
	snprintf(slot->peer.address, sizeof(slot->peer.address), "%s", address);
	pthread_mutex_unlock(&slot->lock);
}

void reaper_slot_arm(struct reaper_slot *slot, int64_t deadline_us)
{
	pthread_mutex_lock(&slot->lock);
	slot->deadline_us = deadline_us;
	pthread_mutex_unlock(&slot->lock);
}

void reaper_watch(struct reaper *reaper, const void *connection, const struct reaper_slot *slot, int64_t deadline_us)
{
	struct reaper_watched *entry = calloc(1, sizeof(*entry));
	if (entry == NULL)
		return;
	entry->connection = connection;
	entry->peer = slot->peer;
	entry->deadline_us = deadline_us;
	pthread_mutex_lock(&reaper->lock);
	entry->next = reaper->watched;
	reaper->watched = entry;
	atomic_fetch_add(&reaper->watched_count, 1);
	pthread_mutex_unlock(&reaper->lock);
}

void reaper_unwatch(struct reaper *reaper, const void *connection)
{
	if (atomic_load(&reaper->watched_count) == 0)
		return;
	pthread_mutex_lock(&reaper->lock);
	for (struct reaper_watched **link = &reaper->watched; *link != NULL;) {
		struct reaper_watched *entry = *link;
		if (entry->connection != connection) {
			link = &entry->next;
			continue;
		}
		*link = entry->next;
		free(entry);
		atomic_fetch_sub(&reaper->watched_count, 1);
	}
	pthread_mutex_unlock(&reaper->lock);
}

static bool reaper_is_listener(int fd, int port)
{
	struct sockaddr_in local;
	int listening = 0;
	socklen_t len = sizeof(listening);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 || !listening)
		return false;
	len = sizeof(local);
	if (getsockname(fd, (struct sockaddr *)&local, &len) != 0 || local.sin_family != AF_INET)
		return false;
	return ntohs(local.sin_port) == port;
}

void reaper_stop_listening(struct reaper *reaper)
{
	/* Never ready: takes the listener's number, so that the server's poll neither spins nor sees another file there. */
	int quiet = eventfd(0, EFD_CLOEXEC);
	int max = reaper_descriptors();
	for (int fd = 0; fd < max && quiet >= 0; fd++) {
		if (!reaper_is_listener(fd, reaper->port))
			continue;
		shutdown(fd, SHUT_RDWR);
		dup3(quiet, fd, O_CLOEXEC);
	}
	if (quiet >= 0)
		close(quiet);
}
