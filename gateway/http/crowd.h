/* Whose connection ends when the server has no place left. A pure choice over a list; any thread. */
#pragma once

#include "base/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An idle connection that is younger than this stays: its request may be on the way. Less for sites above their share. */
#define CROWD_GRACE_MS 200
#define CROWD_SHARE_GRACE_MS 50

struct crowd_member {
	struct address site; /* what counts as one client */
	bool exempt;         /* a proxy, which carries many: it has no share */
	int fd;
	int64_t idle_ms; /* since its last byte; -1 = at work, or something of it waits to be read */
	bool leaves;     /* chosen */
};

#define CROWD_SITES_MAX 100

struct crowd {
	struct crowd_member *members;
	size_t count;
	size_t share;                          /* of one site */
	struct address sites[CROWD_SITES_MAX]; /* that have more than it, those who leave not counted */
	size_t site_count;
};

/* Chooses up to `need` members that leave: first idle ones of sites with more than their share, down to it; then those that are idle longest.
 * Sorts the members and sets sites. */
void crowd_choose(struct crowd *crowd, size_t need);
