/* /healthz, /readyz, /metrics, /openapi.json. */
#include "local/local.h"

#include "base/metrics.h"
#include "common.pb-c.h"
#include "http/server.h"
#include "local/metrics_merge.h"

#include <stdlib.h>
#include <string.h>

static const char *const peers_missing[] = {
    [PROCESS_IDENTITY] = "No identity service can be reached",
    [PROCESS_CLAIMS] = "No claims service can be reached",
    [PROCESS_SESSION] = "No session service can be reached",
    [PROCESS_AUDIT] = "No audit service can be reached",
};

const char *health_reason(struct gateway *gateway)
{
	if (atomic_load(&gateway->draining))
		return "The gateway is leaving";
	for (unsigned process = 0; process < sizeof(peers_missing) / sizeof(peers_missing[0]); process++) {
		if (peers_missing[process] && client_replicas_up(gateway->client, process) == 0)
			return peers_missing[process];
	}
	return follow_caught_up(gateway->follow) ? NULL : "The revocation memory is being rebuilt from the ledger";
}

static void health_text(struct exchange *exchange, const char *type, const char *text)
{
	exchange->response.status = 200;
	exchange->response.content_type = type;
	buf_add_str(&exchange->response.body, text);
}

static void health_serve_alive(struct exchange *exchange)
{
	health_text(exchange, "application/json", "{\"status\":\"ok\"}");
}

static void health_serve_ready(struct exchange *exchange)
{
	const char *reason = health_reason(exchange->gateway);
	if (!reason) {
		health_text(exchange, "application/json",
		            follow_live(exchange->gateway->follow)
		                ? "{\"status\":\"ready\",\"revocations\":\"followed\"}"
		                : "{\"status\":\"ready\",\"revocations\":\"asked\"}");
		return;
	}
	(void)http_fail(exchange, ST_UNAVAILABLE, NULL, reason);
}

/* Appends what every replica of a process says about itself; one that does not answer is left out. */
static void health_collect(struct exchange *exchange, unsigned process, struct metrics_merge *merge)
{
	struct client *client = exchange->gateway->client;
	unsigned up = client_replicas_up(client, process);
	for (unsigned i = 0; i < up; i++) {
		ProtobufCMessage *reply = NULL;
		enum status status = client_send_replica(client, process, i, M_COMMON_METRICS, exchange->arena, &reply);
		const char *text = status == ST_OK ? ((const Common__MetricsReply *)reply)->text : NULL;
		if (text)
			metrics_merge_add(merge, text, strlen(text));
	}
}

static void health_serve_metrics(struct exchange *exchange)
{
	struct gateway *gateway = exchange->gateway;
	struct metrics_merge *merge = calloc(1, sizeof(*merge)); /* too large for a server thread's stack */
	struct buf own = {0};
	if (!merge) {
		(void)http_fail(exchange, ST_UNAVAILABLE, NULL, "The gateway is out of memory");
		return;
	}
	metric_set(metric_gauge("denizen_revocation_entries", "", "Users and sessions in the revocation memory."),
	           revocation_count(gateway->revocation));
	metric_set(
	    metric_gauge("denizen_revocation_followed", "",
	                 "1 when the gateway knows what was revoked; 0: it asks the session service for each token."),
	    follow_live(gateway->follow));
	metric_set(metric_gauge("denizen_ready", "", "1 when the gateway is ready."), !health_reason(gateway));
	metrics_print(&own, "gateway", gateway->instance);
	metrics_merge_add(merge, own.data, own.len);
	for (unsigned process = 0; process < PROCESS_COUNT; process++) {
		if (process_table[process].service != 0 && process != PROCESS_GATEWAY)
			health_collect(exchange, process, merge);
	}
	exchange->response.status = 200;
	exchange->response.content_type = "text/plain; version=0.0.4; charset=utf-8";
	metrics_merge_print(merge, &exchange->response.body);
	metrics_merge_free(merge);
	free(merge);
	buf_free(&own);
}

static void health_serve_openapi(struct exchange *exchange)
{
	exchange->response.status = 200;
	exchange->response.content_type = "application/json";
	buf_add(&exchange->response.body, openapi_json, openapi_json_len);
}

const struct dialect_route health_routes[] = {
    {.verb = "GET", .path = "/healthz", .rate = RATE_NONE, .permission = "none", .answer = health_serve_alive},
    {.verb = "GET", .path = "/readyz", .rate = RATE_NONE, .permission = "none", .answer = health_serve_ready},
    {.verb = "GET", .path = "/metrics", .permission = "none", .answer = health_serve_metrics},
    {.verb = "GET", .path = "/openapi.json", .permission = "none", .answer = health_serve_openapi},
    {0},
};
