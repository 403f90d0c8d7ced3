/* The bus between a caller and replicas of a service, over real sockets with CURVE: replies, refusals, loss, drain. */
#include "audit.pb-c.h"
#include "base/clock.h"
#include "base/log.h"
#include "bus/bus_keys.h"
#include "common.pb-c.h"
#include "process/process_internal.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REPLICAS 2

/* ---- a name server and a wall clock that the tests move ---- */

static _Atomic bool
    names_down; /* "replica.test" is not answered for; else it is this machine; "silent.test" takes long, "nobody.test" is none */
static _Atomic int wall_ahead_sec;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
	static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	bool ours = node && strcmp(node, "replica.test") == 0;
	if (!real)
		real = (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(
		    RTLD_NEXT, "getaddrinfo");
	if (node && strcmp(node, "silent.test") == 0) {
		usleep(3000000);
		return EAI_AGAIN;
	}
	if (node && strcmp(node, "nobody.test") == 0)
		return EAI_NONAME;
	return ours && names_down ? EAI_AGAIN : real(ours ? "127.0.0.1" : node, service, hints, list);
}

int clock_gettime(clockid_t id, struct timespec *now)
{
	int outcome = (int)syscall(SYS_clock_gettime, id, now);
	if (id == CLOCK_REALTIME)
		now->tv_sec += wall_ahead_sec;
	return outcome;
}

/* A replica of "audit" whose handlers do what the test needs. */
struct replica_scene {
	struct server server;
	struct process run;
	struct bus_config config;
	pthread_t thread;
	char listen[32];
	_Atomic int served;
	_Atomic int fill; /* in_flight, to be set on the loop's thread; -1 = was set */
};

struct bus_scene {
	char dir[64], endpoints[64];
	struct replica_scene replicas[REPLICAS];
	struct loop *loop;
	struct client *client;
	struct bus_config config;
	pthread_t thread;
};

static enum status h_verify(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	struct replica_scene *replica = call->run->state;
	const Audit__VerifyRequest *verify = (const Audit__VerifyRequest *)request;
	replica->served++;
	if (verify->after == -1)
		return call_fail(call, ST_INVALID_ARGUMENT, "after", "must be %d or more", 0);
	if (verify->after == -2)
		return ST_ABORTED;
	if (verify->after > 0)
		fiber_sleep_us(call->run->loop, verify->after);
	((Audit__VerifyReply *)reply)->has_checked = 1;
	((Audit__VerifyReply *)reply)->checked = verify->after;
	return ST_OK;
}

static enum status h_none(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	return ST_OK;
}

static const struct handler handlers[] = {{M_AUDIT_APPEND, h_none},
                                          {M_AUDIT_READ_EVENTS, h_none},
                                          {M_AUDIT_READ_STREAM, h_none},
                                          {M_AUDIT_VERIFY, h_verify},
                                          {0, NULL}};
static const struct service audit_like = {.name = "audit", .handlers = handlers};

static void *loop_thread(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void keys_load(const char *dir, const char *process, struct bus_config *ret_config, char *public_dir)
{
	char path[128];
	memset(ret_config, 0, sizeof(*ret_config));
	ret_config->self = process_find(process);
	snprintf(public_dir, 96, "%s/public", dir);
	ret_config->public_dir = public_dir;
	const struct {
		const char *kind, *suffix, *name;
		char *into;
	} files[] = {{"secret", "key", process, ret_config->secret_key},
	             {"public", "pub", process, ret_config->public_key},
	             {"public", "pub", "audit", ret_config->server_keys[PROCESS_AUDIT]}};
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s/%s.%s", dir, files[i].kind, files[i].name, files[i].suffix);
		FILE *file = fopen(path, "r");
		cr_assert_not_null(file, "%s", path);
		cr_assert_not_null(fgets(files[i].into, Z85_KEY_SIZE, file));
		fclose(file);
	}
}

/* A port that is free now, and so is the one 1000 above it. */
static int port_find(void)
{
	static int next;
	for (next = next ? next + 1 : 20000 + getpid() * 7 % 20000;; next++) {
		bool taken = false;
		for (int i = 0; i < 2; i++) {
			struct sockaddr_in address = {.sin_family = AF_INET,
			                              .sin_port = htons((uint16_t)(next + i * 1000)),
			                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
			int fd = socket(AF_INET, SOCK_STREAM, 0);
			taken = bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || taken;
			close(fd);
		}
		if (!taken)
			return next;
	}
}

static char listen_first[32]; /* where the first replica listens; "" = any free port */
static char public_dirs[REPLICAS + 1][96];

static void replica_begin(struct bus_scene *scene, int index)
{
	struct replica_scene *replica = &scene->replicas[index];
	keys_load(scene->dir, "audit", &replica->config, public_dirs[index]);
	if (index == 0 && listen_first[0])
		snprintf(replica->listen, sizeof(replica->listen), "%s", listen_first);
	if (!replica->listen[0])
		snprintf(replica->listen, sizeof(replica->listen), "127.0.0.1:%d", port_find());
	replica->run =
	    (struct process){.service = &audit_like, .loop = loop_new(), .server = &replica->server, .state = replica};
	memset(&replica->server, 0, sizeof(replica->server));
	replica->server.run = &replica->run;
	cr_assert_eq(server_start(&replica->server, &replica->config, replica->listen), ST_OK);
	pthread_create(&replica->thread, NULL, loop_thread, replica->run.loop);
}

/* Takes the replica away as a crash does: sockets closed, nothing said. */
static void replica_kill(struct replica_scene *replica)
{
	loop_stop(replica->run.loop);
	pthread_join(replica->thread, NULL);
	server_stop(&replica->server);
	loop_free(&replica->run.loop);
}

static void scene_begin(struct bus_scene *scene, const char *caller, int replicas)
{
	memset(scene, 0, sizeof(*scene));
	log_init("test", LOG_ERROR);
	secret_init();
	snprintf(scene->dir, sizeof(scene->dir), "bus-XXXXXX");
	cr_assert_not_null(mkdtemp(scene->dir));
	cr_assert_eq(bus_keys_ensure(scene->dir), ST_OK);
	for (int i = 0; i < replicas; i++)
		replica_begin(scene, i);
	keys_load(scene->dir, caller, &scene->config, public_dirs[REPLICAS]);
	snprintf(scene->endpoints, sizeof(scene->endpoints), "%s%s%s", scene->replicas[0].listen,
	         replicas > 1 ? "," : "", replicas > 1 ? scene->replicas[1].listen : "");
	scene->config.endpoints[PROCESS_AUDIT] = scene->endpoints;
	scene->loop = loop_new();
	scene->client = bus_config_client(&scene->config, scene->loop);
	pthread_create(&scene->thread, NULL, loop_thread, scene->loop);
	for (int i = 0; i < 1000 && client_replicas_up(scene->client, PROCESS_AUDIT) < (unsigned)replicas; i++)
		usleep(5000);
}

static void scene_end(struct bus_scene *scene, int replicas_left)
{
	loop_stop(scene->loop);
	pthread_join(scene->thread, NULL);
	client_free(&scene->client);
	loop_free(&scene->loop);
	for (int i = 0; i < replicas_left; i++)
		replica_kill(&scene->replicas[i]);
}

static enum status verify_call(struct bus_scene *scene, int64_t after, int64_t budget_us, struct client_call *call)
{
	struct arena *arena = arena_new(1 << 20);
	Audit__VerifyRequest request = AUDIT__VERIFY_REQUEST__INIT;
	request.has_after = 1;
	request.after = after;
	ProtobufCMessage *reply = NULL;
	memset(call, 0, sizeof(*call));
	call->deadline_us = clock_monotonic_us() + budget_us;
	enum status status = client_send(scene->client, call, M_AUDIT_VERIFY, &request.base, arena, &reply);
	if (status == ST_OK)
		cr_expect_eq(((Audit__VerifyReply *)reply)->checked, after, "the reply belongs to another call");
	if (call->ret_field)
		cr_expect_str_eq(call->ret_field, "after");
	arena_free(&arena);
	return status;
}

Test(bus, replies_errors_and_deadlines)
{
	struct bus_scene scene;
	struct client_call call;
	scene_begin(&scene, "gateway", 1);
	cr_expect_eq(client_replicas_up(scene.client, PROCESS_AUDIT), 1);
	cr_expect_eq(verify_call(&scene, 0, US_PER_SEC, &call), ST_OK);
	cr_expect_eq(verify_call(&scene, -1, US_PER_SEC, &call), ST_INVALID_ARGUMENT);
	cr_expect_not_null(call.ret_field);
	int64_t begun_us = clock_monotonic_us();
	cr_expect_eq(verify_call(&scene, 2 * US_PER_SEC, 50 * US_PER_MS, &call), ST_LOST, "sent, no answer in time");
	cr_expect_lt(clock_monotonic_us() - begun_us, US_PER_SEC);
	cr_expect_eq(verify_call(&scene, 7, US_PER_SEC, &call), ST_OK, "a late reply disturbs nothing");
	scene_end(&scene, 1);
}

/* Eight calls of 200 ms each take the time of one; each has its own answer. */
Test(bus, calls_side_by_side)
{
	struct bus_scene scene;
	scene_begin(&scene, "gateway", 1);
	struct arena *arena = arena_new(1 << 20);
	Audit__VerifyRequest requests[8];
	struct client_part parts[8] = {0};
	for (int i = 0; i < 8; i++) {
		audit__verify_request__init(&requests[i]);
		requests[i].has_after = 1;
		requests[i].after = i == 3 ? -1 : 200000 + i;
		parts[i] = (struct client_part){.method = M_AUDIT_VERIFY, .request = &requests[i].base, .arena = arena};
	}
	int64_t start_us = clock_monotonic_us();
	client_send_many(scene.client, parts, 8);
	cr_assert(clock_monotonic_us() - start_us < 8 * 200000 / 2);
	for (int i = 0; i < 8; i++) {
		cr_assert_eq(parts[i].status, i == 3 ? ST_INVALID_ARGUMENT : ST_OK, "part %d", i);
		if (i != 3)
			cr_assert_eq(((const Audit__VerifyReply *)parts[i].reply)->checked, 200000 + i);
	}
	cr_expect_str_eq(parts[3].call.ret_field, "after");
	cr_assert(!parts[3].reply);
	struct client_part unknown = {.method = 999999, .request = &requests[0].base, .arena = arena};
	client_send_many(scene.client, &unknown, 1);
	cr_assert_eq(unknown.status, ST_UNIMPLEMENTED);
	arena_free(&arena);
	scene_end(&scene, 1);
}

static void replica_fill(void *arg)
{
	struct replica_scene *replica = arg;
	replica->server.in_flight = (unsigned)atomic_load(&replica->fill);
	atomic_store(&replica->fill, -1);
}

static void replica_set_in_flight(struct replica_scene *replica, int in_flight)
{
	atomic_store(&replica->fill, in_flight);
	loop_post(replica->run.loop, replica_fill, replica);
	while (atomic_load(&replica->fill) >= 0)
		usleep(1000);
}

/* A gateway that gets no answer to such a question sends more of the others. */
Test(bus, a_full_service_answers_questions_about_itself)
{
	struct bus_scene scene;
	struct client_call call, common = {.process = PROCESS_AUDIT};
	struct arena *arena = arena_new(1 << 20);
	Common__EchoRequest request = COMMON__ECHO_REQUEST__INIT;
	ProtobufCMessage *reply = NULL;
	scene_begin(&scene, "gateway", 1);
	replica_set_in_flight(&scene.replicas[0], IN_FLIGHT_MAX);
	cr_expect_eq(verify_call(&scene, 0, 200 * US_PER_MS, &call), ST_RESOURCE_EXHAUSTED);
	request.text = (char *)"here";
	cr_assert_eq(client_send(scene.client, &common, M_COMMON_ECHO, &request.base, arena, &reply), ST_OK);
	cr_expect_str_eq(((Common__EchoReply *)reply)->text, "here");
	replica_set_in_flight(&scene.replicas[0], 0);
	arena_free(&arena);
	scene_end(&scene, 1);
}

/* The handler repeated it as often as it makes sense: each attempt of the bus would be as many again. */
Test(bus, a_lost_race_is_not_repeated)
{
	struct bus_scene scene;
	struct client_call call;
	scene_begin(&scene, "gateway", 2);
	cr_expect_eq(verify_call(&scene, -2, US_PER_SEC, &call), ST_ABORTED);
	cr_expect_eq(scene.replicas[0].served + scene.replicas[1].served, 1);
	scene_end(&scene, 2);
}

Test(bus, methods_are_closed_to_other_callers)
{
	struct bus_scene scene;
	struct client_call call;
	scene_begin(&scene, "identity", 1);
	cr_expect_eq(verify_call(&scene, 0, US_PER_SEC, &call), ST_PERMISSION_DENIED);
	scene_end(&scene, 1);
}

Test(bus, a_removed_key_is_refused_on_a_live_connection)
{
	struct bus_scene scene;
	struct client_call call;
	char path[128];
	scene_begin(&scene, "gateway", 1);
	cr_expect_eq(verify_call(&scene, 0, US_PER_SEC, &call), ST_OK);
	snprintf(path, sizeof(path), "%s/public/allow", scene.dir);
	FILE *file = fopen(path, "w");
	cr_assert_not_null(file);
	fclose(file);
	enum status status = ST_OK;
	for (int i = 0; i < 100 && status == ST_OK; i++) {
		usleep(50000);
		status = verify_call(&scene, 0, US_PER_SEC, &call);
	}
	cr_expect_eq(status, ST_PERMISSION_DENIED);
	scene_end(&scene, 1);
}

struct load {
	struct bus_scene *scene;
	pthread_t threads[16];
	_Atomic int ok, failed, stop;
};

static void *load_thread(void *arg)
{
	struct load *load = arg;
	struct client_call call;
	int64_t nonce = 1;
	while (!load->stop) {
		if (verify_call(load->scene, nonce++ % 400, 5 * US_PER_SEC, &call) == ST_OK)
			load->ok++;
		else
			load->failed++;
	}
	return NULL;
}

static void load_begin(struct load *load, struct bus_scene *scene)
{
	memset(load, 0, sizeof(*load));
	load->scene = scene;
	for (int i = 0; i < 16; i++)
		pthread_create(&load->threads[i], NULL, load_thread, load);
}

static void load_end(struct load *load)
{
	load->stop = 1;
	for (int i = 0; i < 16; i++)
		pthread_join(load->threads[i], NULL);
}

Test(bus, a_killed_replica_loses_no_call)
{
	struct bus_scene scene;
	struct load load;
	scene_begin(&scene, "gateway", 2);
	load_begin(&load, &scene);
	usleep(200000);
	replica_kill(&scene.replicas[1]);
	usleep(500000);
	replica_begin(&scene, 1); /* and back again, found without being told */
	int before = scene.replicas[1].served;
	usleep(1500000);
	load_end(&load);
	cr_expect_eq(load.failed, 0, "%d calls failed", load.failed);
	cr_expect_gt(load.ok, 100);
	cr_expect_gt(scene.replicas[1].served, before, "the new replica is used");
	cr_expect_gt(scene.replicas[0].served, 0);
	scene_end(&scene, 2);
}

static void drain_now(void *arg)
{
	server_drain(arg);
}

Test(bus, a_draining_replica_loses_no_call)
{
	struct bus_scene scene;
	struct load load;
	scene_begin(&scene, "gateway", 2);
	load_begin(&load, &scene);
	usleep(200000);
	loop_post(scene.replicas[1].run.loop, drain_now, &scene.replicas[1].server);
	usleep(300000);
	int after = scene.replicas[1].served;
	usleep(300000);
	cr_expect_eq(scene.replicas[1].served, after, "a draining replica gets no new calls");
	load_end(&load);
	cr_expect_eq(load.failed, 0);
	scene_end(&scene, 2);
}

static void hang(void *arg)
{
	usleep(4500000);
}

Test(bus, a_hung_replica_is_left_alone)
{
	struct bus_scene scene;
	struct client_call call;
	scene_begin(&scene, "gateway", 2);
	loop_post(scene.replicas[1].run.loop, hang, NULL);
	usleep(20000);
	int64_t slowest_us = 0;
	for (int i = 0; i < 20; i++) {
		int64_t begun_us = clock_monotonic_us();
		cr_expect_eq(verify_call(&scene, 0, 8 * US_PER_SEC, &call), ST_OK);
		int64_t took_us = clock_monotonic_us() - begun_us;
		slowest_us = took_us > slowest_us ? took_us : slowest_us;
	}
	cr_expect_lt(slowest_us, 4400 * US_PER_MS, "a call was saved by the other replica");
	scene_end(&scene, 2);
}

/* A scene whose second replica has a name. */
static void scene_begin_named(struct bus_scene *scene)
{
	scene_begin(scene, "gateway", 2);
	loop_stop(scene->loop);
	pthread_join(scene->thread, NULL);
	client_free(&scene->client);
	loop_free(&scene->loop);
	snprintf(scene->endpoints, sizeof(scene->endpoints), "%s,replica.test:%s", scene->replicas[0].listen,
	         strrchr(scene->replicas[1].listen, ':') + 1);
	scene->loop = loop_new();
	scene->client = bus_config_client(&scene->config, scene->loop);
	pthread_create(&scene->thread, NULL, loop_thread, scene->loop);
}

static bool replicas_come(struct bus_scene *scene, unsigned wanted, int64_t within_us)
{
	int64_t until_us = clock_monotonic_us() + within_us;
	while (client_replicas_up(scene->client, PROCESS_AUDIT) != wanted && clock_monotonic_us() < until_us)
		usleep(5000);
	return client_replicas_up(scene->client, PROCESS_AUDIT) == wanted;
}

Test(bus, a_name_that_is_not_answered_for_takes_nothing_away)
{
	struct bus_scene scene;
	scene_begin_named(&scene);
	cr_assert(replicas_come(&scene, 2, 5 * US_PER_SEC));
	names_down = true;
	cr_expect_not(replicas_come(&scene, 1, 4 * US_PER_SEC), "a connected replica was dropped");
	names_down = false;
	scene_end(&scene, 2);
}

Test(bus, names_are_looked_up_while_the_wall_clock_goes_back)
{
	struct bus_scene scene;
	wall_ahead_sec = 3600; /* corrected below, while the resolver waits for its next look */
	names_down = true;
	scene_begin_named(&scene);
	cr_assert(replicas_come(&scene, 1, 5 * US_PER_SEC));
	wall_ahead_sec = 0;
	names_down = false;
	cr_assert(replicas_come(&scene, 2, 6 * US_PER_SEC), "the resolver sleeps for an hour");
	scene_end(&scene, 2);
}

Test(bus, replicas_that_are_up_are_asked_by_number_while_others_are_down)
{
	struct bus_scene scene;
	ProtobufCMessage *reply = NULL;
	struct arena *arena = arena_new(1 << 20);
	scene_begin(&scene, "gateway", 2);
	replica_kill(&scene.replicas[0]);
	cr_assert(replicas_come(&scene, 1, 5 * US_PER_SEC));
	cr_expect_eq(client_send_replica(scene.client, PROCESS_AUDIT, 0, M_COMMON_METRICS, arena, &reply), ST_OK);
	cr_expect_eq(client_send_replica(scene.client, PROCESS_AUDIT, 1, M_COMMON_METRICS, arena, &reply),
	             ST_UNAVAILABLE);
	arena_free(&arena);
	replica_begin(&scene, 0);
	scene_end(&scene, 2);
}

Test(bus, health_asks_at_the_address_that_is_listened_on)
{
	struct bus_scene scene;
	char other[32];
	scene_begin(&scene, "gateway", 1);
	snprintf(scene.replicas[1].listen, sizeof(scene.replicas[1].listen), "127.0.0.2:%d", port_find());
	replica_begin(&scene, 1);
	cr_expect_eq(process_health(&scene.replicas[1].config, scene.replicas[1].listen), 0);
	snprintf(other, sizeof(other), "0.0.0.0:%s", strrchr(scene.replicas[0].listen, ':') + 1);
	cr_expect_eq(process_health(&scene.replicas[0].config, other), 0, "all addresses: any will do");
	scene_end(&scene, 2);
}

Test(bus, runs_on_an_address_of_ip_6)
{
	struct bus_scene scene;
	struct client_call call;
	char any[32];
	int port = port_find();
	snprintf(listen_first, sizeof(listen_first), "[::1]:%d", port);
	scene_begin(&scene, "gateway", 1);
	cr_assert_eq(client_replicas_up(scene.client, PROCESS_AUDIT), 1);
	cr_expect_eq(verify_call(&scene, 0, US_PER_SEC, &call), ST_OK);
	cr_expect_eq(process_health(&scene.replicas[0].config, scene.replicas[0].listen), 0);
	snprintf(any, sizeof(any), "[::]:%d", port);
	cr_expect_eq(process_health(&scene.replicas[0].config, any), 0, "all addresses: any will do");
	scene_end(&scene, 1);
}

Test(bus, an_endpoint_that_is_none_is_not_listened_on)
{
	struct bus_scene scene;
	scene_begin(&scene, "gateway", 1);
	struct replica_scene *other = &scene.replicas[1];
	keys_load(scene.dir, "audit", &other->config, public_dirs[1]);
	other->run = (struct process){.service = &audit_like, .loop = loop_new(), .server = &other->server};
	other->server.run = &other->run;
	cr_expect_eq(server_start(&other->server, &other->config, "127.0.0.1:nothing"), ST_UNAVAILABLE);
	cr_expect_eq(process_health(&other->config, "127.0.0.1:nothing"), 1);
	zap_stop(&other->server.zap);
	free(other->server.by_method);
	loop_free(&other->run.loop);
	scene_end(&scene, 1);
}

static int command_probe(struct cfg *cfg, int argc, char **argv)
{
	sigset_t blocked;
	pthread_sigmask(SIG_BLOCK, NULL, &blocked);
	return sigismember(&blocked, SIGTERM) || sigismember(&blocked, SIGINT) ? 1 : 0;
}

/* migrate waits for a lock, perhaps for long; only `run` takes its signals from a descriptor. */
Test(bus, commands_end_by_a_signal)
{
	static const struct process_command commands[] = {{"probe", command_probe}, {0}};
	const struct service service = {.name = "audit", .handlers = handlers, .commands = commands};
	char *argv[] = {"denizen-audit", "probe", NULL};
	cr_expect_eq(process_main(&service, 2, argv), 0);
}
