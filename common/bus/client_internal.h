/* What client.c (calls) shares with client_replica.c (connections), on which it stands. Everything here belongs to the loop's thread. */
#pragma once

#include "bus/client.h"
#include "bus/endpoint.h"
#include "bus/envelope.h"
#include "loop/resolver.h"

#define REPLICAS_MAX 32
#define ENDPOINTS_MAX RESOLVER_NAMES_MAX
#define SLOTS_MAX 4096
#define QUEUE_WAIT_US (1000 * 1000) /* how long a call waits for a replica to come up */

enum replica_state {
	REPLICA_CONNECTING, /* no WELCOME yet */
	REPLICA_UP,
	REPLICA_SUSPECT,  /* connected but silent: not chosen */
	REPLICA_DRAINING, /* said GOAWAY: not chosen until it is welcomed again */
};

struct replica {
	struct client *client;
	struct peer *peer;
	char address[ENDPOINT_ADDRESS_SIZE];     /* tcp://ip:port or ipc:///path */
	char pub_address[ENDPOINT_ADDRESS_SIZE]; /* tcp://ip:port+1000 or ipc:///path.pub */
	void *dealer, *monitor;
	struct loop_watch *dealer_watch, *monitor_watch;
	enum replica_state state;
	bool connected, leaving; /* leaving: no longer in the DNS answer */
	bool broken;             /* sent what is no message: not read any more, closed at the next tick */
	unsigned outstanding, max_in_flight, load;
	int64_t heard_us, pinged_us; /* monotonic */
};

struct peer {
	struct client *client;
	const struct process_info *process;
	struct endpoint *endpoints; /* owned; NULL = no peer */
	unsigned endpoint_count;
	unsigned asked[ENDPOINTS_MAX]; /* the question that is with the resolver: places in endpoints */
	bool asking;
	int64_t ask_at_us;
	const char *server_key;
	struct replica *replicas[REPLICAS_MAX];
	unsigned replica_count;
	_Atomic unsigned up; /* replicas in REPLICA_UP; read by any thread */
};

enum pending_state { PENDING_QUEUED, PENDING_SENT };

/* One call in progress. Lives on the caller's stack: the loop completes it exactly once, at its deadline at the latest. */
struct pending {
	struct wait wait;
	struct client *client;
	struct peer *peer;
	const struct method *method;
	Bus__Header header;
	struct bus_packed body; /* in the caller's arena */
	int64_t deadline_us, queued_us, not_before_us;
	struct replica *replica; /* where it was sent, or last was */
	int pinned;              /* number among the replicas that are up, for client_send_replica; -1 = any */
	enum pending_state state;
	unsigned slot;
	struct pending *next, *previous;
	/* result */
	enum status status;
	struct bus_message reply;
	uint32_t retry_after_ms;
	char field[128], reason[256];
};

/* What connections tell the calls. */
struct replica_events {
	/* A reply arrived; its message may be moved away. */
	void (*on_reply)(struct client *client, struct replica *replica, Bus__Header *header,
	                 struct bus_message *message);
	/* The connection of a replica broke: its calls are retried elsewhere or fail. */
	void (*on_lost)(struct client *client, struct replica *replica);
	/* A replica came up: queued calls can go. */
	void (*on_up)(struct client *client, struct peer *peer);
};

struct subscription {
	struct client *client;
	struct peer *peer;
	void *socket;
	struct loop_watch *watch;
	void (*fn)(void *arg, const void *data, size_t len_bytes);
	void *arg;
};
#define SUBSCRIPTIONS_MAX 8

struct client {
	struct loop *loop;
	const struct replica_events *events;
	const struct process_info *self;
	char curve_public[41], curve_secret[41];
	bool curve;
	struct peer peers[8]; /* by PROCESS_ number */
	struct {
		struct pending *pending;
		uint64_t generation;
	} slots[SLOTS_MAX];
	unsigned free_slots[SLOTS_MAX], free_count;
	struct pending *active; /* doubly linked list of all calls */
	double retry_tokens;
	struct loop_timer *sweep, *tick;
	struct arena *scratch; /* for received headers */
	struct subscription subscriptions[SUBSCRIPTIONS_MAX];
	unsigned subscription_count;
	struct resolver *resolver;
};

/* ---- client_replica.c ---- */
/* Starts discovery of all peers; client->events is set. */
void replica_start(struct client *client);
void replica_stop(struct client *client);
/* The better of two random candidates by calls in progress, avoiding `avoid` when there is another; NULL = none. */
struct replica *replica_choose(struct peer *peer, const struct replica *avoid);
/* Sends; false when its pipe is full or gone. */
bool replica_send(struct replica *replica, const Bus__Header *header, struct bus_packed body);
/* Connects a subscription to the replicas known now. */
void replica_subscribe(struct subscription *subscription);
