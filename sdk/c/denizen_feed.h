/* Follows the user-change events of a Denizen project over ZeroMQ, without losing or doubling one.
 *
 * The ledger numbers a project's events 1, 2, 3 ... The feed reads them after a cursor that the program keeps with the effects of
 * the events. A hint (ZeroMQ PUB) wakes it within milliseconds; a read every poll_ms covers lost hints. Restarts of either side
 * lose nothing: the program starts again at its cursor.
 *
 * One feed belongs to one thread at a time. The first denizen_feed_new switches czmq's own signal handlers off. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct denizen_feed;

/* A field of a user before and after; JSON values, NULL when there was none or it is a secret. */
struct denizen_feed_change {
	const char *field;
	const char *before_json;
	const char *after_json;
};

/* One event. Texts are never NULL unless said so, and live until the callback returns. */
struct denizen_feed_event {
	int64_t seq;            /* 1, 2, 3 ... within the project */
	const char *project_id; /* prj_... */
	int type;               /* number in proto/events.proto */
	const char *type_name;  /* "USER_CREATED"; "UNKNOWN" when this library is older than the server */
	const char *subject;    /* what changed: usr_..., ses_..., key_... */
	const char *user_id;    /* NULL when no user is concerned */
	const char *actor;      /* who did it; NULL when unknown */
	int64_t at_us;          /* microseconds since 1970 */
	int64_t version;        /* of the subject after the change; 0 = none */
	int64_t epoch;          /* of the user after the change, where the type has one; else 0 */
	const char *trace_id;   /* NULL or 32 hex digits */
	const char *reason;     /* NULL or text */
	const struct denizen_feed_change *changes;
	size_t change_count;
	const uint8_t *hash; /* 32 bytes: link of the ledger's chain */
};

struct denizen_feed_options {
	const char *endpoints;         /* audit: "host:port[,host:port...]"; hints come from port + 1000 */
	const char *server_public_key; /* Z85, 40 characters: bus key of audit */
	const char *public_key;        /* Z85: own pair, entered in the server's allow-list as `subscriber` */
	const char *secret_key;        /* Z85; copied, wiped by denizen_feed_free */
	const char *project_id;        /* prj_...; NULL when the key is bound to one project */
	unsigned poll_ms;              /* 0 = 1000 */
	unsigned batch;                /* events of one apply at most, 1..1000; 0 = 500 */

	/* Gives the last event that was applied; 0 = none yet. Called when denizen_feed_run starts. 0 = success. */
	int (*load)(void *arg, int64_t *ret_cursor);
	/* Applies events in order, without gaps and repetitions, and stores `next` as the cursor in the same transaction.
	 * 0 = success; otherwise the same events come again after a pause. */
	int (*apply)(void *arg, const struct denizen_feed_event *events, size_t count, int64_t next);
	/* Optional: one sentence about a change of the connection, for a log. */
	void (*log)(void *arg, const char *text);
	void *arg;
};

enum denizen_feed_result {
	DENIZEN_FEED_STOPPED = 0, /* denizen_feed_stop was called */
	DENIZEN_FEED_LOAD = 1,    /* load failed */
	DENIZEN_FEED_REFUSED = 2, /* the server refuses the key or the project */
	DENIZEN_FEED_AHEAD = 3,   /* the cursor is beyond the ledger: the server was restored from an older backup */
	DENIZEN_FEED_MEMORY = 4,
};

/* Copies the options' texts. NULL when an option is missing or malformed, with one static sentence in *ret_error. Give back by
 * denizen_feed_free. */
struct denizen_feed *denizen_feed_new(const struct denizen_feed_options *options, const char **ret_error);

/* Reads and applies until denizen_feed_stop; goes on through restarts and losses of the connection. May be called again. */
enum denizen_feed_result denizen_feed_run(struct denizen_feed *feed);

/* Makes denizen_feed_run return within about half a second. Any thread, also inside a signal handler or a callback. */
void denizen_feed_stop(struct denizen_feed *feed);

/* Last applied event and newest known one, for metrics. The running thread only (also inside callbacks). */
int64_t denizen_feed_cursor(const struct denizen_feed *feed);
int64_t denizen_feed_head(const struct denizen_feed *feed);

/* Sets *feed to NULL. NULL and *NULL are allowed. Not while denizen_feed_run runs. */
void denizen_feed_free(struct denizen_feed **feed);
