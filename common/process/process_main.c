/* main of a service: commands, start, drain on SIGTERM, SIGINT or SIGHUP, stop. */
#include "process/process_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "db/migrate.h"
#include "loop/memory.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define DRAIN_MAX_US (10 * US_PER_SEC)
#define DRAIN_STEP_US (20 * US_PER_MS)
#define LINGER_US (100 * US_PER_MS) /* after the last reply, so that it leaves the machine */

static const struct cfg_item db_items[] = {
    {"DENIZEN_DB", CFG_SECRET, "", 0, 0, "libpq connection string of the service's own role."},
    {"DENIZEN_DB_OWNER", CFG_SECRET, "", 0, 0, "libpq connection string of the database's owner, for migrate only."},
    {"DENIZEN_DB_ROLE_PASSWORD", CFG_SECRET, "", 0, 0,
     "Password that migrate gives to the service's role; empty: none."},
    {"DENIZEN_DB_READ_LANES", CFG_INT, "1", 1, 8, "Pipelined connections for reads."},
    {"DENIZEN_DB_WRITE_LANES", CFG_INT, "6", 1, 8, "Pipelined connections for writes."},
    {"DENIZEN_DB_STATEMENT_TIMEOUT_MS", CFG_INT, "5000", 100, 600000, "Longest run of one statement, milliseconds."},
    {0},
};

/* Everything a running service process owns. */
struct life {
	struct process run;
	struct server server;
	struct bus_config bus;
	int signal_fd;
	struct loop_watch *signal_watch;
	struct loop_timer *drain;
	int64_t drain_until_us, quiet_since_us;
};

/* ---- draining ---- */

static void process_drain_step(void *arg)
{
	struct life *process = arg;
	int64_t now_us = clock_monotonic_us();
	if (process->server.in_flight > 0)
		process->quiet_since_us = 0;
	else if (!process->quiet_since_us)
		process->quiet_since_us = now_us;
	bool done = process->quiet_since_us && now_us - process->quiet_since_us >= LINGER_US;
	if (done || now_us >= process->drain_until_us) {
		loop_stop(process->run.loop);
		return;
	}
	loop_timer_set(process->drain, now_us + DRAIN_STEP_US);
}

static void process_release_lease(void *arg)
{
	struct life *process = arg;
	outbox_stop(process->run.outbox);
}

static void process_on_signal(void *arg)
{
	struct life *process = arg;
	struct signalfd_siginfo info;
	if (read(process->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (process->server.draining) {
		loop_stop(process->run.loop); /* asked twice: leave now */
		return;
	}
	log_event(LOG_INFO, "draining", NULL);
	server_drain(&process->server);
	if (process->run.outbox && !fiber_spawn(process->run.loop, process_release_lease, process))
		log_event(LOG_WARN, "the relay's lease runs out by itself", NULL);
	process->drain_until_us = clock_monotonic_us() + DRAIN_MAX_US;
	process_drain_step(process);
}

static void process_watch_signals(struct life *process)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	process->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	process->signal_watch = loop_watch_fd(process->run.loop, process->signal_fd, process_on_signal, process);
	process->drain = loop_timer_new(process->run.loop, process_drain_step, process);
}

/* Before any thread starts, so that all of them inherit the mask. */
static void process_block_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* ---- commands ---- */

static int command_run(const struct service *service, struct cfg *cfg)
{
	struct life *process = calloc(1, sizeof(*process));
	if (!process)
		return 1;
	process_block_signals();
	struct process *run = &process->run;
	int exit_status = 1;
	run->service = service;
	run->cfg = cfg;
	run->server = &process->server;
	process->server.run = run;
	if (bus_config_load(cfg, service->name, &process->bus) != ST_OK)
		goto out;
	secret_hmac_sha256(process->bus.secret_key, strlen(process->bus.secret_key), "cursor", 6, run->cursor_key);
	run->loop = loop_new();
	struct db_options db = {
	    .loop = run->loop,
	    .conninfo = cfg_text(cfg, "DENIZEN_DB"),
	    .schema = process->bus.self->role,
	    .read_lanes = (unsigned)cfg_int(cfg, "DENIZEN_DB_READ_LANES"),
	    .write_lanes = (unsigned)cfg_int(cfg, "DENIZEN_DB_WRITE_LANES"),
	    .statement_timeout_ms = (unsigned)cfg_int(cfg, "DENIZEN_DB_STATEMENT_TIMEOUT_MS"),
	};
	/* The ROUTER binds before anything is slow, so that callers connect at their first try. */
	if (server_start(&process->server, &process->bus, cfg_text(cfg, "DENIZEN_BUS_LISTEN")) != ST_OK)
		goto out;
	run->db = db_new(&db);
	if (!run->db)
		goto out;
	run->client = bus_config_client(&process->bus, run->loop);
	if (process->bus.self->peers & 1u << PROCESS_AUDIT)
		run->outbox = outbox_start(run->loop, run->db, run->client, service->name);
	if (service->start && service->start(run) != ST_OK)
		goto out;
	process_watch_signals(process);
	memory_settle_when_idle(run->loop);
	log_event(LOG_INFO, "started", "version", DENIZEN_VERSION, NULL);
	loop_run(run->loop);
	log_event(LOG_INFO, "stopped", NULL);
	exit_status = 0;
out:
	bus_config_wipe(&process->bus);
	/* The process ends here: the kernel takes the rest back faster than an orderly teardown of sockets and lanes. */
	fflush(NULL);
	_exit(exit_status);
}

static int command_migrate(const struct service *service, struct cfg *cfg)
{
	const char *owner = cfg_text(cfg, "DENIZEN_DB_OWNER");
	if (!owner[0]) {
		log_event(LOG_ERROR, "set DENIZEN_DB_OWNER to migrate", NULL);
		return 2;
	}
	enum status status = migrate_run(owner, process_find(service->name)->role,
	                                 cfg_text(cfg, "DENIZEN_DB_ROLE_PASSWORD"), service->migrations);
	return status == ST_OK ? 0 : 1;
}

static int command_health(const struct service *service, struct cfg *cfg)
{
	struct bus_config bus;
	if (bus_config_load(cfg, service->name, &bus) != ST_OK)
		return 2;
	int exit_status = process_health(&bus, cfg_text(cfg, "DENIZEN_BUS_LISTEN"));
	bus_config_wipe(&bus);
	return exit_status;
}

static int print_and_free(struct buf *out)
{
	bool ok = buf_ok(out) && fwrite(out->data, 1, out->len, stdout) == out->len;
	buf_free(out);
	return ok ? 0 : 1;
}

static int command_other(const struct service *service, struct cfg *cfg, int argc, char **argv)
{
	for (const struct process_command *command = service->commands; command && command->name; command++) {
		if (strcmp(command->name, argv[1]) == 0)
			return command->fn(cfg, argc - 1, argv + 1);
	}
	fprintf(stderr, "usage: denizen-%s [run | migrate | health | config [--reference]", service->name);
	for (const struct process_command *command = service->commands; command && command->name; command++)
		fprintf(stderr, " | %s", command->name);
	fprintf(stderr, "]\n");
	return 2;
}

int process_main(const struct service *service, int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "run";
	const struct cfg_item *tables[] = {bus_config_items, db_items, service->cfg_items, NULL};
	struct buf out = {0};
	if (strcmp(command, "config") == 0 && argc > 2 && strcmp(argv[2], "--reference") == 0) {
		cfg_print_reference(tables, &out);
		return print_and_free(&out);
	}
	signal(SIGPIPE, SIG_IGN);
	secret_shield_process();
	secret_init();
	struct cfg *cfg = NULL;
	char error[CFG_ERROR_SIZE];
	log_init(service->name, LOG_INFO);
	if (cfg_load(tables, &cfg, error) != ST_OK) {
		log_event(LOG_ERROR, "the configuration is not usable", "reason", error, NULL);
		return 2;
	}
	log_init(service->name, log_level_parse(cfg_text(cfg, "DENIZEN_LOG_LEVEL")));
	int exit_status;
	if (strcmp(command, "run") == 0) {
		exit_status = command_run(service, cfg);
	} else if (strcmp(command, "migrate") == 0) {
		exit_status = command_migrate(service, cfg);
	} else if (strcmp(command, "health") == 0) {
		exit_status = command_health(service, cfg);
	} else if (strcmp(command, "config") == 0) {
		cfg_print(cfg, &out);
		exit_status = print_and_free(&out);
	} else {
		exit_status = command_other(service, cfg, argc, argv);
	}
	cfg_free(&cfg);
	return exit_status;
}
