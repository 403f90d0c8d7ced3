/* Makes the CURVE key pairs of the bus and the allow-list. */
#pragma once

#include "base/secret.h"
#include "base/status.h"

/* For each process of processes.txt (subscribers excepted) that has none yet: dir/secret/<process>.key (mode 0600) and
 * dir/public/<process>.pub; then rewrites dir/public/allow. Creates the directories (0700 and 0755). Logs and returns
 * ST_UNAVAILABLE when a file cannot be written. */
MUST_USE enum status bus_keys_ensure(const char *dir);

/* A key pair for a subscriber: dir/secret/<name>.key, dir/public/<name>.pub, and a line in the allow-list bound to project
 * (NULL = every project). name: [a-z0-9-]{1,40}. ST_ALREADY_EXISTS when there is one. */
MUST_USE enum status bus_keys_add_subscriber(const char *dir, const char *name, const struct id *project);
