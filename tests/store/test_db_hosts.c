/* A database that is found by name: the loop goes on while the name server is silent. */
#include "store.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- a name server ---- */

#define SILENCE_US 4000000 /* how long a question is in work */
static _Atomic bool names_silent;

/* "db.test" is this machine, "gone.test" is nowhere. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
	static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	bool ours = node && strcmp(node, "db.test") == 0;
	if (!real)
		real = (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(
		    RTLD_NEXT, "getaddrinfo");
	if (ours && names_silent) {
		usleep(SILENCE_US);
		return EAI_AGAIN;
	}
	if (node && strcmp(node, "gone.test") == 0)
		return EAI_NONAME;
	return real(ours ? "127.0.0.1" : node, service, hints, list);
}

/* ---- a TCP port before the Unix socket of the test's Postgres ---- */

struct relay {
	int listener;
	unsigned port;
	char socket_path[108];
	pthread_t thread;
	_Atomic bool broken; /* connections end, and no new one is taken */
	_Atomic unsigned connections;
};

struct relay_pair {
	struct relay *relay;
	int fds[2];
};

static bool relay_copy(int from, int to)
{
	char data[8192];
	ssize_t got = read(from, data, sizeof(data));
	return got > 0 && write(to, data, (size_t)got) == got;
}

static void *relay_connection(void *arg)
{
	struct relay_pair pair = *(struct relay_pair *)arg;
	free(arg);
	bool open = true;
	while (open && !pair.relay->broken) {
		struct pollfd items[2] = {{.fd = pair.fds[0], .events = POLLIN}, {.fd = pair.fds[1], .events = POLLIN}};
		poll(items, 2, 20);
		for (int i = 0; i < 2; i++)
			open = open && (!items[i].revents || relay_copy(pair.fds[i], pair.fds[1 - i]));
	}
	close(pair.fds[0]);
	close(pair.fds[1]);
	pair.relay->connections--;
	return NULL;
}

static void *relay_main(void *arg)
{
	struct relay *relay = arg;
	int taken;
	while ((taken = accept(relay->listener, NULL, NULL)) >= 0) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		struct relay_pair *pair = malloc(sizeof(*pair));
		pthread_t thread;
		memcpy(address.sun_path, relay->socket_path, sizeof(relay->socket_path));
		*pair = (struct relay_pair){relay, {taken, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)}};
		relay->connections++;
		(void)connect(pair->fds[1], (struct sockaddr *)&address, sizeof(address));
		pthread_create(&thread, NULL, relay_connection, pair);
		pthread_detach(thread);
	}
	return NULL;
}

static void relay_begin(struct relay *relay, const struct store *store)
{
	char directory[90];
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	memset(relay, 0, sizeof(*relay));
	cr_assert_eq(sscanf(store->owner, "host=%89s", directory), 1);
	snprintf(relay->socket_path, sizeof(relay->socket_path), "%s/.s.PGSQL.5432", directory);
	relay->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(relay->listener, (struct sockaddr *)&address, len), 0);
	cr_assert_eq(listen(relay->listener, 16), 0);
	cr_assert_eq(getsockname(relay->listener, (struct sockaddr *)&address, &len), 0);
	relay->port = ntohs(address.sin_port);
	pthread_create(&relay->thread, NULL, relay_main, relay);
}

static void relay_end(struct relay *relay)
{
	relay->broken = true;
	shutdown(relay->listener, SHUT_RDWR);
	pthread_join(relay->thread, NULL);
	close(relay->listener);
	while (relay->connections > 0)
		usleep(1000);
}

/* ---- a gate whose loop is watched ---- */

struct scene {
	struct store store;
	struct relay relay;
	struct loop_timer *beat;
	int64_t beat_us, longest_us; /* between two turns of the loop; the loop's thread */
};

static void on_beat(void *arg)
{
	struct scene *scene = arg;
	int64_t now_us = clock_monotonic_us(), apart_us = now_us - scene->beat_us;
	if (scene->beat_us && apart_us > scene->longest_us)
		scene->longest_us = apart_us;
	scene->beat_us = now_us;
	loop_timer_set(scene->beat, now_us + 10 * US_PER_MS);
}

static void *run_loop(void *arg)
{
	loop_run(arg);
	return NULL;
}

/* host and port stand for those of the connection string; port 0 is the relay's. */
static void scene_begin(struct scene *scene, const char *hosts)
{
	char conninfo[2048];
	struct store *store = &scene->store;
	memset(scene, 0, sizeof(*scene));
	store_open_empty(store, "public");
	relay_begin(&scene->relay, store);
	snprintf(conninfo, sizeof(conninfo), "%s host=%s port=%u", store->owner, hosts, scene->relay.port);
	store->loop = loop_new();
	struct db_options options = {.loop = store->loop,
	                             .conninfo = conninfo,
	                             .schema = "public",
	                             .read_lanes = 2,
	                             .write_lanes = 2,
	                             .statement_timeout_ms = 2000};
	store->db = db_new(&options);
	scene->beat = loop_timer_new(store->loop, on_beat, scene);
	loop_timer_set(scene->beat, clock_monotonic_us() + 10 * US_PER_MS);
	pthread_create(&store->thread, NULL, run_loop, store->loop);
}

static bool scene_ready(struct scene *scene, bool wanted)
{
	for (int i = 0; i < 500 && db_ready(scene->store.db) != wanted; i++)
		usleep(10000);
	return db_ready(scene->store.db) == wanted;
}

static void scene_end(struct scene *scene)
{
	loop_stop(scene->store.loop);
	pthread_join(scene->store.thread, NULL);
	cr_expect_lt(scene->longest_us, US_PER_SEC, "the loop stood still for %lld us", (long long)scene->longest_us);
	loop_timer_free(&scene->beat);
	db_free(&scene->store.db);
	loop_free(&scene->store.loop);
	relay_end(&scene->relay);
	store_close(&scene->store);
}

static const struct db_stmt stmt_one = {"t_one", "SELECT 1", DB_READ};

struct asked {
	struct db *db;
	enum status status;
	int64_t took_us;
};

static void fiber_ask(void *arg)
{
	struct asked *asked = arg;
	int64_t begun_us = clock_monotonic_us();
	asked->status = db_run(asked->db, &stmt_one, NULL, NULL, begun_us + 500 * US_PER_MS, NULL);
	asked->took_us = clock_monotonic_us() - begun_us;
}

Test(db_hosts, a_silent_name_server_stops_no_call)
{
	struct scene scene;
	names_silent = true;
	scene_begin(&scene, "db.test");
	struct asked asked = {.db = scene.store.db};
	store_in_fiber(&scene.store, fiber_ask, &asked);
	cr_expect_eq(asked.status, ST_UNAVAILABLE);
	cr_expect_lt(asked.took_us, US_PER_SEC, "the call waited for the name server");
	usleep(2000000);
	names_silent = false;
	cr_expect(scene_ready(&scene, true), "the name is answered for again");
	scene_end(&scene);
}

Test(db_hosts, known_addresses_serve_while_the_name_server_is_silent)
{
	struct scene scene;
	scene_begin(&scene, "db.test");
	cr_assert(scene_ready(&scene, true));
	names_silent = true;
	usleep(1100000); /* what was answered is not fresh any more */
	scene.relay.broken = true;
	cr_assert(scene_ready(&scene, false));
	scene.relay.broken = false;
	int64_t begun_us = clock_monotonic_us();
	cr_expect(scene_ready(&scene, true));
	cr_expect_lt(clock_monotonic_us() - begun_us, 3 * US_PER_SEC);
	scene_end(&scene);
}

Test(db_hosts, the_next_host_serves_when_a_name_is_unknown)
{
	struct scene scene;
	scene_begin(&scene, "gone.test,db.test");
	cr_expect(scene_ready(&scene, true));
	scene_end(&scene);
}
