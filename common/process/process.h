/* A service process: what it is made of and its life. Each service declares one `struct service` and calls process_main. */
#pragma once

#include "base/arena.h"
#include "base/cfg.h"
#include "base/secret.h"
#include "base/status.h"
#include "bus/bus_frame.h"
#include "bus/client.h"
#include "bus/method.h"
#include "db/db.h"
#include "events.pb-c.h"
#include "ledger/outbox.h"
#include "loop/loop.h"

#include "process/call.h"

struct service;

/* request and reply are messages of the method's types; reply is initialised, its pointers must live in call->arena. */
typedef enum status (*handler_fn)(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply);

struct handler {
	uint32_t method;
	handler_fn fn;
};

/* Shared objects of a running process, the same for all calls. */
struct process {
	const struct service *service;
	struct loop *loop;
	struct db *db;
	struct client *client;
	struct cfg *cfg;
	struct outbox *outbox;
	struct server *server;             /* the bus side, private to common/ */
	void *state;                       /* the service's own, from service->start */
	uint8_t cursor_key[SEAL_KEY_SIZE]; /* seals cursors (page.h); the same in all replicas */
};

struct process_command {
	const char *name;
	int (*fn)(struct cfg *cfg, int argc, char **argv);
};

struct service {
	const char *name;               /* in processes.txt */
	const struct handler *handlers; /* ended by method 0; every method of the service must be there */
	const struct cfg_item
	    *cfg_items; /* the service's own configuration, ended by an item without name; may be NULL */
	const struct migration *migrations; /* ended by one without sql; generated from schema/ */
	/* Optional. Called once before the loop runs; may spawn fibers through loop_post. Sets run->state, which lives as long as the process:
	 * nothing is torn down at its end. */
	enum status (*start)(struct process *run);
	/* Optional extra sub-commands: name, function over the loaded configuration; ended by a NULL name. */
	const struct process_command *commands;
};

/* main of a service: `run` (default), `migrate`, `health`, `config`, `config --reference`, and the service's own commands.
 * Returns the exit status. SIGTERM drains: GOAWAY, finish, leave. */
int process_main(const struct service *service, int argc, char **argv);

/* Publishes a frame of topic and data on the service's PUB port. Lossy by design: subscribers read the ledger.
 * Loop's thread or a fiber. */
void process_publish(struct process *run, const uint8_t topic[BUS_TOPIC_BYTES], const void *data, size_t len_bytes);
