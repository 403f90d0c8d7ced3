/* Mounts: which dialect answers at a host and under a path, chosen before the route; unknown paths and CORS are its dialect's too.
 * Immutable while requests are served; any thread then. */
#pragma once

#include "front/route.h"

#define MOUNT_ERROR_SIZE ROUTE_ERROR_SIZE

/* Origins whose pages may call a dialect. */
struct mount_origins {
	const char **list; /* owned, as their texts: "https://app.example.com"; "*" = any */
	size_t count;
};

struct mount {
	const char *host;   /* lower case, without port; NULL = every host that has no mount of its own */
	const char *prefix; /* "/v1/mgmt": whole segments; "" = every path */
	size_t prefix_len;
	size_t
	    skip; /* bytes of the path that the routes do not see: the prefix, or 0 where it is part of their paths */
	const struct dialect *dialect;
	struct route_table *routes;          /* of the dialect, shared by its mounts */
	const struct mount_origins *origins; /* of the dialect */
};

struct mount_settings {
	const char *dialects; /* names of those served beside the native API, with commas */
	const char *hosts;    /* "login.example.com=descope, ..." */
	const char
	    *origins; /* "https://app.example.com, descope=https://other.example.com": of all dialects, or of one */
};

struct mounts;

/* NULL without memory. settings and their texts are borrowed. */
struct mounts *mounts_new(const struct mount_settings *settings);
void mounts_free(struct mounts **mounts);

/* Whether the settings name this dialect; the one whose root is every path is always served. */
bool mounts_wanted(const struct mounts *mounts, const struct dialect *dialect);

/* Serves a dialect at its roots and, unless its root is every path, under /<its name>. Its table is empty: add the routes before
 * mounts_finish. NULL and a sentence when another dialect has one of these places. */
struct route_table *mounts_serve(struct mounts *mounts, const struct dialect *dialect,
                                 char ret_error[MOUNT_ERROR_SIZE]);

/* Gives hosts and origins to their dialects and looks for what could not be reached. False and a sentence when the settings name what is
 * not served, two mounts are the same, a mount hides another's route, or a route lies under none of its dialect's roots. */
bool mounts_finish(struct mounts *mounts, char ret_error[MOUNT_ERROR_SIZE]);

/* Sets exchange->mount by exchange->path, of which it takes what the routes do not see. The path need not be well formed. */
void mounts_choose(const struct mounts *mounts, struct exchange *exchange);
