/* The method table, generated from proto/ (proto/gen): one row per rpc, in order of id. */
#pragma once

#include "methods.gen.h" /* M_IDENTITY_GET_USER = 1021, ... */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

struct method {
	uint32_t id;
	const char *service; /* process that answers: "identity"; "common" = every service; "gateway" = local */
	const char *name;    /* "GetUser" */
	const ProtobufCMessageDescriptor *request;
	const ProtobufCMessageDescriptor *reply;
	bool write;                  /* changes something: carries an operation id, is not retried blindly */
	bool local;                  /* answered by the gateway itself */
	bool stream;                 /* NDJSON in or out */
	uint32_t callers;            /* bit per process: 1u << PROCESS_... */
	uint32_t timeout_ms;         /* default budget */
	uint32_t cache_sec;          /* anyone may keep the answer of its route for so long; 0 = nobody */
	const char *http_verb;       /* NULL when it has no route */
	const char *http_path;       /* "/v1/users/{user_id}" */
	int http_success;            /* 200, 201, 204 */
	const char *permission;      /* "users:read"; "none" = public; NULL when it has no route */
	const char *const *required; /* members that a body must have, NULL-ended; NULL = there need not be a body */
};

extern const struct method method_table[];
extern const unsigned method_count;

/* NULL when there is none. */
const struct method *method_find(uint32_t id);

/* A process of proto/processes.txt. */
struct process_info {
	const char *name;
	uint32_t number;  /* index: PROCESS_... */
	uint32_t service; /* method id / 1000; 0 = not callable */
	uint16_t port;    /* bus port; PUB is port + 1000 */
	const char *role; /* database role and schema; NULL = none */
	uint32_t peers;   /* bits of processes it may call */
};
extern const struct process_info process_table[];
extern const unsigned process_count;
const struct process_info *process_find(const char *name); /* NULL when unknown */
