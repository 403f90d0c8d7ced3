/* The gateway process: configuration, start in order, drain on SIGTERM, SIGINT or SIGHUP, end. */
#include "base/cfg.h"
#include "base/clock.h"
#include "base/log.h"
#include "bus/bus_config.h"
#include "front/gateway.h"
#include "http/server.h"
#include "local/follower.h"
#include "local/health_command.h"
#include "local/local.h"
#include "loop/loop.h"
#include "loop/memory.h"
#include "tokens/keyset.h"

#include <jansson.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define FAILURE_BURST_SEC 5

static const struct cfg_item gateway_cfg_items[] = {
    {"DENIZEN_HTTP_ADDRESS", CFG_TEXT, "", 0, 0, "IPv4 address to listen on; empty: all."},
    {"DENIZEN_HTTP_PORT", CFG_INT, "8080", 1, 65535, "TCP port of the HTTP server."},
    {"DENIZEN_HTTP_THREADS", CFG_INT, "1100", 4, 20000,
     "Connections served at once, idle ones included; when they run out, idle ones are closed."},
    {"DENIZEN_HTTP_ADDRESS_SHARE", CFG_INT, "25", 1, 100,
     "How many of the connections one client address (IPv6: /64) may have when all are taken, percent; trusted proxies "
     "are exempt."},
    {"DENIZEN_HTTP_KEEP_ALIVE_MS", CFG_INT, "60000", 100, 3600000,
     "An idle connection is closed after this, milliseconds."},
    {"DENIZEN_HTTP_BODY_BYTES", CFG_INT, "1048576", 1024, 16777216,
     "Largest request body, bytes; imports have their own."},
    {"DENIZEN_IMPORT_BYTES", CFG_INT, "1073741824", 1024, 1099511627776, "Largest body of an import, bytes."},
    {"DENIZEN_ISSUER", CFG_TEXT, "http://localhost:8080", 0, 0,
     "Base URL of the tokens' issuers; the same as at the claims service."},
    {"DENIZEN_TOKEN_LIFETIME_SEC", CFG_INT, "300", 10, 86400,
     "Longest life of an access token, seconds; the same as at the claims service."},
    {"DENIZEN_RATE_LIMIT", CFG_INT, "50000", 0, 10000000,
     "Requests a second that one key may send on average; 0: no limit."},
    {"DENIZEN_ACCOUNT_RATE_LIMIT", CFG_INT, "100", 0, 10000000,
     "Requests a second that one user may send on average with a token; 0: no limit."},
    {"DENIZEN_ADDRESS_RATE_LIMIT", CFG_INT, "1000", 0, 10000000,
     "Requests a second that one client address (IPv6: /64) may send on average to routes that need no credential; 0: "
     "no limit."},
    {"DENIZEN_AUTH_FAILURE_LIMIT", CFG_INT, "20", 0, 1000000,
     "Unknown keys a second that one client address may present on average; 0: no limit."},
    {"DENIZEN_TRUSTED_PROXIES", CFG_TEXT, "", 0, 0,
     "Addresses and networks (CIDR, with commas) whose X-Forwarded-For, or without one Forwarded, is believed."},
    {"DENIZEN_DIALECTS", CFG_TEXT, "descope", 0, 0,
     "Dialects served beside the native API, by name with commas; empty: none."},
    {"DENIZEN_DIALECT_HOSTS", CFG_TEXT, "", 0, 0,
     "Hosts that belong to one dialect each, as login.example.com=descope with commas; they serve nothing else."},
    {"DENIZEN_CORS_ORIGINS", CFG_TEXT, "", 0, 0,
     "Origins whose pages may call, as https://app.example.com or descope=https://app.example.com with commas; *: any, "
     "without credentials."},
    {"DENIZEN_DRAIN_MS", CFG_INT, "1000", 0, 9000,
     "How long /readyz says 503 before the gateway stops listening, milliseconds."},
    {"DENIZEN_BENCH_ROUTES", CFG_BOOL, "false", 0, 0, "Serve /bench/hello and /bench/echo."},
    {0},
};
static const struct dialect *const dialects[] = {&native_dialect, &descope_dialect, NULL};
static const struct cfg_item *const cfg_tables[] = {bus_config_items, gateway_cfg_items, NULL};

/* What the process owns besides the gateway's shared objects. */
struct gateway_process {
	struct gateway gateway;
	struct cfg *cfg;
	struct bus_config bus;
	struct loop *loop;
	struct http_server *server;
	int threads; /* of the HTTP server */
	pthread_t loop_thread;
	sem_t loop_started;
};

/* The loop's thread: everything that must be made there, then the loop. */
static void *process_run_loop(void *arg)
{
	struct gateway_process *process = arg;
	struct gateway *gateway = &process->gateway;
	gateway->client = bus_config_client(&process->bus, process->loop);
	if (gateway->client) {
		client_subscribe(gateway->client, PROCESS_AUDIT, "", 0, feed_hint, gateway->feed);
		gateway->follow = ledger_follow(gateway, process->loop, gateway->token_lifetime_sec);
		token_checker_follow(gateway->tokens, gateway->follow);
	}
	memory_settle_when_idle(process->loop);
	sem_post(&process->loop_started);
	if (gateway->follow)
		loop_run(process->loop);
	return NULL;
}

/* Objects that need no bus. */
static enum status process_make_memory(struct gateway_process *process)
{
	struct gateway *gateway = &process->gateway;
	const struct cfg *cfg = process->cfg;
	int64_t failures = cfg_int(cfg, "DENIZEN_AUTH_FAILURE_LIMIT");
	gateway->token_lifetime_sec = cfg_int(cfg, "DENIZEN_TOKEN_LIFETIME_SEC");
	int64_t keep_sec = revocation_keep_sec(gateway->token_lifetime_sec);
	struct id instance = id_new();
	id_format("gwy", &instance, gateway->instance);
	gateway->body_max_bytes = cfg_int(cfg, "DENIZEN_HTTP_BODY_BYTES");
	gateway->import_max_bytes = cfg_int(cfg, "DENIZEN_IMPORT_BYTES");
	const struct limits_options rates = {.key = cfg_int(cfg, "DENIZEN_RATE_LIMIT"),
	                                     .account = cfg_int(cfg, "DENIZEN_ACCOUNT_RATE_LIMIT"),
	                                     .address = cfg_int(cfg, "DENIZEN_ADDRESS_RATE_LIMIT")};
	gateway->limits = limits_new(&rates);
	gateway->failure_limiter = limiter_new(failures, failures * FAILURE_BURST_SEC);
	gateway->revocation = revocation_new(keep_sec * US_PER_SEC);
	gateway->feed = feed_new(process->threads / 2);
	if (address_list_parse(cfg_text(cfg, "DENIZEN_TRUSTED_PROXIES"), &gateway->trusted_proxies) != ST_OK) {
		log_event(LOG_ERROR, "DENIZEN_TRUSTED_PROXIES must be addresses or networks with commas", NULL);
		return ST_INVALID_ARGUMENT;
	}
	if (!gateway->limits || !gateway->failure_limiter || !gateway->revocation || !gateway->feed)
		return ST_UNAVAILABLE;
	return ST_OK;
}

static enum status process_start_bus(struct gateway_process *process)
{
	struct gateway *gateway = &process->gateway;
	enum status status = bus_config_load(process->cfg, "gateway", &process->bus);
	if (status != ST_OK)
		return status;
	process->loop = loop_new();
	gateway->authn = authn_new(gateway->failure_limiter);
	gateway->keysets = keysets_new();
	gateway->tokens = token_checker_new(cfg_text(process->cfg, "DENIZEN_ISSUER"), gateway->token_lifetime_sec,
	                                    gateway->revocation, gateway->keysets);
	if (!gateway->authn || !gateway->keysets || !gateway->tokens)
		return ST_UNAVAILABLE;
	sem_init(&process->loop_started, 0, 0);
	if (pthread_create(&process->loop_thread, NULL, process_run_loop, process) != 0)
		return ST_UNAVAILABLE;
	while (sem_wait(&process->loop_started) != 0)
		continue;
	return gateway->follow ? ST_OK : ST_UNAVAILABLE;
}

static enum status process_start_server(struct gateway_process *process)
{
	static const char *const always[] = {"/healthz", "/readyz", NULL};
	const struct cfg *cfg = process->cfg;
	struct http_server_options options = {
	    .address = cfg_text(cfg, "DENIZEN_HTTP_ADDRESS"),
	    .port = (int)cfg_int(cfg, "DENIZEN_HTTP_PORT"),
	    .threads = process->threads,
	    .keep_alive_ms = (int)cfg_int(cfg, "DENIZEN_HTTP_KEEP_ALIVE_MS"),
	    .body_max_bytes = cfg_int(cfg, "DENIZEN_HTTP_BODY_BYTES"),
	    .address_share_percent = (int)cfg_int(cfg, "DENIZEN_HTTP_ADDRESS_SHARE"),
	    .proxies = &process->gateway.trusted_proxies,
	    .always = always,
	    .gateway = &process->gateway,
	    .handle = pipeline_serve,
	    .refuse = pipeline_refuse,
	};
	const struct dialect_route *const tables[] = {
	    health_routes, cfg_bool(cfg, "DENIZEN_BENCH_ROUTES") ? bench_routes : NULL, NULL};
	char error[ROUTE_ERROR_SIZE];
	const struct pipeline_options pipeline = {.methods = local_methods,
	                                          .tables = tables,
	                                          .dialects = dialects,
	                                          .mounts = {.dialects = cfg_text(cfg, "DENIZEN_DIALECTS"),
	                                                     .hosts = cfg_text(cfg, "DENIZEN_DIALECT_HOSTS"),
	                                                     .origins = cfg_text(cfg, "DENIZEN_CORS_ORIGINS")}};
	enum status status = pipeline_init(&process->gateway, &pipeline, error);
	if (status != ST_OK) {
		log_event(LOG_ERROR, "the routes are not usable", "reason", error, NULL);
		return status;
	}
	return http_server_start(&options, &process->server);
}

/* As many descriptors as the machine allows: one per connection; and no more threads than they are enough for. */
static void process_raise_limits(struct gateway_process *process)
{
	struct rlimit limit;
	int wanted = (int)cfg_int(process->cfg, "DENIZEN_HTTP_THREADS");
	process->threads = wanted;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	rlim_t before = limit.rlim_cur;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
		limit.rlim_cur = before;
		log_event(LOG_WARN, "cannot raise the limit of open files", NULL);
	}
	if (limit.rlim_cur != RLIM_INFINITY)
		process->threads = http_server_threads(wanted, (int64_t)limit.rlim_cur);
	if (process->threads < wanted)
		log_event(LOG_WARN, "the limit of open files allows fewer connections than DENIZEN_HTTP_THREADS",
		          "limit", LOG_NUM((int64_t)limit.rlim_cur), "threads", LOG_NUM(process->threads), NULL);
}

static int process_run(struct gateway_process *process)
{
	sigset_t signals;
	int signal_number = 0;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	process_raise_limits(process);
	if (process_make_memory(process) != ST_OK || process_start_bus(process) != ST_OK ||
	    process_start_server(process) != ST_OK)
		return EXIT_FAILURE;
	log_event(LOG_INFO, "gateway listens", "port", LOG_NUM(cfg_int(process->cfg, "DENIZEN_HTTP_PORT")), "instance",
	          process->gateway.instance, NULL);
	sigwait(&signals, &signal_number);
	log_event(LOG_INFO, "gateway leaves", NULL);
	atomic_store(&process->gateway.draining, true);
	feed_wake_all(process->gateway.feed);
	http_server_drain(process->server, (int)cfg_int(process->cfg, "DENIZEN_DRAIN_MS"));
	bus_config_wipe(&process->bus);
	/* The process ends here: the HTTP server would take up to 2 s to end threads that have nothing left to answer. */
	fflush(NULL);
	_exit(EXIT_SUCCESS);
}

static int process_print_config(const struct cfg *cfg, bool reference)
{
	struct buf out = {0};
	if (reference)
		cfg_print_reference(cfg_tables, &out);
	else
		cfg_print(cfg, &out);
	fwrite(out.data, 1, out.len, stdout);
	buf_free(&out);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static struct gateway_process process;
	char error[CFG_ERROR_SIZE];
	const char *command = argc > 1 ? argv[1] : "run";
	bool reference = argc > 2 && strcmp(argv[2], "--reference") == 0;
	secret_shield_process();
	secret_init();
	json_object_seed(0);
	if (strcmp(command, "config") == 0 && reference)
		return process_print_config(NULL, true);
	if (cfg_load(cfg_tables, &process.cfg, error) != ST_OK) {
		fprintf(stderr, "denizen-gateway: %s\n", error);
		return EXIT_FAILURE;
	}
	log_init("gateway", log_level_parse(cfg_text(process.cfg, "DENIZEN_LOG_LEVEL")));
	if (strcmp(command, "config") == 0)
		return process_print_config(process.cfg, false);
	if (strcmp(command, "health") == 0)
		return health_command(cfg_text(process.cfg, "DENIZEN_HTTP_ADDRESS"),
		                      (int)cfg_int(process.cfg, "DENIZEN_HTTP_PORT"));
	if (strcmp(command, "run") != 0) {
		fprintf(stderr, "usage: denizen-gateway [run | health | config [--reference]]\n");
		return EXIT_FAILURE;
	}
	return process_run(&process);
}
