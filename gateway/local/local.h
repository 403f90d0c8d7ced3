/* Routes that the gateway answers itself. Each serve function fills exchange->response, or exchange->failure. */
#pragma once

#include "front/gateway.h"

/* Methods of the contract that the gateway answers itself, ended by method 0 (local.c). */
extern const struct local_method local_methods[];

/* ---- POST /v1/tokens/introspect (introspect.c) ---- */
void introspect_serve(struct exchange *exchange);

/* ---- GET /v1/projects/{project_id}/jwks.json (jwks.c) ---- */
void jwks_serve(struct exchange *exchange);

/* ---- GET /v1/events (feed.c) ---- */
/* At most max_waiting requests wait at once. */
struct feed *feed_new(int max_waiting);
void feed_free(struct feed **feed);
/* Body of a hint that audit published; the loop's thread. arg is the feed. */
void feed_hint(void *arg, const void *data, size_t len_bytes);
/* The process is leaving: nobody waits any more. */
void feed_wake_all(struct feed *feed);
void feed_serve(struct exchange *exchange);

/* ---- POST /v1/users/import (import.c), GET /v1/users/export (export.c) ---- */
void import_serve(struct exchange *exchange);
void export_serve(struct exchange *exchange);

/* ---- /healthz /readyz /metrics /openapi.json (health.c), /bench/... (bench.c) ---- */
extern const struct dialect_route health_routes[]; /* ended by a row without verb */
extern const struct dialect_route bench_routes[];
/* What still keeps the process from being ready; NULL = ready. Static text. */
const char *health_reason(struct gateway *gateway);

/* The OpenAPI document, generated and embedded by proto/. */
extern const char openapi_json[];
extern const unsigned long openapi_json_len;
