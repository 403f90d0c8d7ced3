/* Bus settings shared by all processes: endpoints of peers, CURVE keys, the allow-list. */
#pragma once

#include "base/cfg.h"
#include "base/secret.h"
#include "bus/client.h"

#define Z85_KEY_SIZE 41 /* 40 characters and NUL */

/* DENIZEN_LOG_LEVEL and DENIZEN_BUS_*: part of every process's configuration. */
extern const struct cfg_item bus_config_items[];

struct bus_config {
	const struct process_info *self;
	char secret_key[Z85_KEY_SIZE], public_key[Z85_KEY_SIZE];
	char server_keys[8][Z85_KEY_SIZE]; /* by PROCESS_ number */
	const char *endpoints[8];          /* by PROCESS_ number; NULL = no peer */
	const char *public_dir;            /* borrowed from cfg */
};

/* Reads keys and endpoints for the process `self`. Logs and returns ST_INVALID_ARGUMENT when a key is missing or malformed. */
MUST_USE enum status bus_config_load(const struct cfg *cfg, const char *self, struct bus_config *ret_config);
void bus_config_wipe(struct bus_config *config);

/* Client over this configuration. */
struct client *bus_config_client(const struct bus_config *config, struct loop *loop);

/* One line of the allow-list. */
struct allow_entry {
	char key[Z85_KEY_SIZE];
	const struct process_info *process; /* in the static table */
	struct id project;                  /* subscribers bound to one project; zero = none */
	char user_id[96];                   /* what ZAP reports for a connection of this key */
};
struct allow_list {
	struct allow_entry *entries; /* owned */
	unsigned count, capacity;
	int64_t modified_ns; /* of the file when it was read */
};
/* Reads public_dir/allow when it changed since *list was read (zeroed: never). ST_NOT_FOUND without the file, ST_UNAVAILABLE
 * without memory; *list is kept then. */
MUST_USE enum status allow_list_read(const char *public_dir, struct allow_list *list);
void allow_list_free(struct allow_list *list);
/* By CURVE key or by user id; NULL when the key is (no longer) allowed. */
const struct allow_entry *allow_list_find_key(const struct allow_list *list, const char *z85_key);
const struct allow_entry *allow_list_find_user(const struct allow_list *list, const char *user_id);
