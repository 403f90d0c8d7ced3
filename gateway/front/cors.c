/* CORS: who may is in the settings, what is allowed in the dialect, which methods in the route table. */
#include "front/cors.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* What to answer to the origin of the request; NULL = it may not. */
static const char *cors_origin(const struct exchange *exchange)
{
	const struct mount_origins *origins = exchange->mount->origins;
	const char *origin = http_header_find(&exchange->request, "Origin");
	for (size_t i = 0; origin && i < origins->count; i++) {
		if (strcmp(origins->list[i], "*") == 0)
			return "*";
		if (strcasecmp(origins->list[i], origin) == 0)
			return origin;
	}
	return NULL;
}

/* Any origin gets no credentials: a list of origins is needed for that. */
static void cors_add_origin(struct exchange *exchange, const char *origin)
{
	http_header_add(exchange, "Access-Control-Allow-Origin", origin);
	if (exchange->mount->dialect->cors.credentials && strcmp(origin, "*") != 0)
		http_header_add(exchange, "Access-Control-Allow-Credentials", "true");
}

void cors_allow(struct exchange *exchange)
{
	if (exchange->mount->origins->count == 0)
		return;
	const char *origin = cors_origin(exchange);
	http_header_add(exchange, "Vary", "Origin");
	if (!origin)
		return;
	cors_add_origin(exchange, origin);
	if (exchange->mount->dialect->cors.exposed)
		http_header_add(exchange, "Access-Control-Expose-Headers", exchange->mount->dialect->cors.exposed);
}

bool cors_preflight(struct exchange *exchange)
{
	const struct dialect_cors *cors = &exchange->mount->dialect->cors;
	const char *origin = cors_origin(exchange);
	char seconds[16];
	if (!origin || strcmp(exchange->request.verb, "OPTIONS") != 0 ||
	    !http_header_find(&exchange->request, "Access-Control-Request-Method"))
		return false;
	cors_add_origin(exchange, origin);
	http_header_add(exchange, "Vary", "Origin");
	if (route_find(exchange->mount->routes, exchange) != ST_METHOD_NOT_ALLOWED)
		return true;
	snprintf(seconds, sizeof(seconds), "%d", cors->max_age_sec);
	http_header_add(exchange, "Access-Control-Allow-Methods", exchange->failure.allow);
	if (cors->headers)
		http_header_add(exchange, "Access-Control-Allow-Headers", cors->headers);
	http_header_add(exchange, "Access-Control-Max-Age", seconds);
	exchange->failure = (struct failure){0};
	exchange->response.status = 204;
	return true;
}
