/* Bus settings: endpoints, CURVE keys, the allow-list file. */
#include "bus/bus_config.h"

#include "base/log.h"
#include "bus/endpoint.h"
#include "bus/method.h"
#include "loop/resolver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const struct cfg_item bus_config_items[] = {
    {"DENIZEN_LOG_LEVEL", CFG_TEXT, "info", 0, 0, "Lowest level that is logged: debug, info, warn or error."},
    {"DENIZEN_BUS_LISTEN", CFG_TEXT, "", 0, 0,
     "Where this service listens on the bus, several with commas: address and port, for example 0.0.0.0:7001 or "
     "[::1]:7001, "
     "whose PUB socket uses the port + 1000; or ipc:///path, a Unix socket of this machine, whose PUB socket is "
     "/path.pub. "
     "Empty: all addresses and the port of processes.txt."},
    {"DENIZEN_BUS_IDENTITY", CFG_TEXT, "identity:7001", 0, 0,
     "Where identity listens: host:port, [address]:port or ipc:///path, several with commas."},
    {"DENIZEN_BUS_CLAIMS", CFG_TEXT, "claims:7002", 0, 0,
     "Where claims listens: host:port, [address]:port or ipc:///path, several with commas."},
    {"DENIZEN_BUS_SESSION", CFG_TEXT, "session:7003", 0, 0,
     "Where session listens: host:port, [address]:port or ipc:///path, several with commas."},
    {"DENIZEN_BUS_AUDIT", CFG_TEXT, "audit:7004", 0, 0,
     "Where audit listens: host:port, [address]:port or ipc:///path, several with commas."},
    {"DENIZEN_BUS_PUBLIC_KEYS", CFG_TEXT, "/run/denizen/public", 0, 0,
     "Directory with <process>.pub (Z85 public keys) and the file allow."},
    {"DENIZEN_BUS_SECRET_KEY", CFG_SECRET, "", 0, 0, "This process's CURVE secret key in Z85 (40 characters)."},
    {0},
};

/* Endpoint variable by process name. */
static const struct {
	const char *process, *variable;
} endpoint_variables[] = {
    {"identity", "DENIZEN_BUS_IDENTITY"},
    {"claims", "DENIZEN_BUS_CLAIMS"},
    {"session", "DENIZEN_BUS_SESSION"},
    {"audit", "DENIZEN_BUS_AUDIT"},
};

static enum status key_file_read(const char *dir, const char *process, char ret_key[Z85_KEY_SIZE])
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s.pub", dir, process);
	FILE *file = fopen(path, "re");
	if (!file) {
		log_event(LOG_ERROR, "cannot open the public key of a process", "path", path, NULL);
		return ST_INVALID_ARGUMENT;
	}
	char line[64] = "";
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	line[strcspn(line, "\r\n")] = '\0';
	if (strlen(line) != Z85_KEY_SIZE - 1) {
		log_event(LOG_ERROR, "a public key file must hold 40 characters", "path", path, NULL);
		return ST_INVALID_ARGUMENT;
	}
	memcpy(ret_key, line, Z85_KEY_SIZE);
	return ST_OK;
}

/* All endpoints of a list must be good. */
static enum status endpoints_check(const char *variable, const char *list)
{
	struct endpoint endpoint;
	unsigned count = 0;
	while (list) {
		if (endpoint_next(&list, &endpoint) == ST_OK && ++count <= RESOLVER_NAMES_MAX)
			continue;
		log_event(LOG_ERROR, "not a list of host:port or ipc:///path", "setting", variable, NULL);
		return ST_INVALID_ARGUMENT;
	}
	return ST_OK;
}

/* Where a peer listens and its key, when this process may call it. */
static enum status peer_load(struct bus_config *config, const struct cfg *cfg, const struct process_info *peer,
                             const char *variable)
{
	if (!(config->self->peers & 1u << peer->number))
		return ST_OK;
	config->endpoints[peer->number] = cfg_text(cfg, variable);
	enum status status = endpoints_check(variable, config->endpoints[peer->number]);
	if (status != ST_OK)
		return status;
	return key_file_read(config->public_dir, peer->name, config->server_keys[peer->number]);
}

enum status bus_config_load(const struct cfg *cfg, const char *self, struct bus_config *ret_config)
{
	struct bus_config config = {.self = process_find(self), .public_dir = cfg_text(cfg, "DENIZEN_BUS_PUBLIC_KEYS")};
	const char *secret = cfg_text(cfg, "DENIZEN_BUS_SECRET_KEY");
	if (!config.self || strlen(secret) != Z85_KEY_SIZE - 1) {
		log_event(LOG_ERROR, "DENIZEN_BUS_SECRET_KEY must hold 40 characters", "process", self, NULL);
		return ST_INVALID_ARGUMENT;
	}
	memcpy(config.secret_key, secret, Z85_KEY_SIZE);
	enum status status = key_file_read(config.public_dir, self, config.public_key);
	for (size_t i = 0; status == ST_OK && i < sizeof(endpoint_variables) / sizeof(endpoint_variables[0]); i++)
		status = peer_load(&config, cfg, process_find(endpoint_variables[i].process),
		                   endpoint_variables[i].variable);
	if (status == ST_OK)
		*ret_config = config;
	secret_wipe(config.secret_key, sizeof(config.secret_key));
	return status;
}

void bus_config_wipe(struct bus_config *config)
{
	secret_wipe(config->secret_key, sizeof(config->secret_key));
}

struct client *bus_config_client(const struct bus_config *config, struct loop *loop)
{
	struct client_options options = {
	    .loop = loop,
	    .self = config->self->name,
	    .endpoints = config->endpoints,
	    .curve_public = config->public_key,
	    .curve_secret = config->secret_key,
	};
	const char *server_keys[8];
	for (size_t i = 0; i < 8; i++)
		server_keys[i] = config->server_keys[i];
	options.server_keys = server_keys;
	return client_new(&options);
}

/* "<z85> <process> [prj_...]"; '#' begins a comment. Returns false when the line is none. */
static bool allow_line_parse(char *line, struct allow_entry *ret_entry)
{
	struct allow_entry entry = {0};
	char process[32], project[ID_TEXT_SIZE] = "";
	line[strcspn(line, "\r\n")] = '\0';
	if (line[0] == '#')
		return false;
	int fields = sscanf(line, "%40s %31s %39s", entry.key, process, project);
	if (fields < 2 || strlen(entry.key) != Z85_KEY_SIZE - 1 || !(entry.process = process_find(process)))
		return false;
	if (fields == 3 && !id_parse("prj", project, &entry.project))
		return false;
	snprintf(entry.user_id, sizeof(entry.user_id), "%s:%s", process, entry.key);
	*ret_entry = entry;
	return true;
}

static bool allow_list_add(struct allow_list *list, const struct allow_entry *entry)
{
	if (list->count == list->capacity) {
		unsigned capacity = list->capacity ? list->capacity * 2 : 16;
		struct allow_entry *entries = realloc(list->entries, capacity * sizeof(*entries));
		if (!entries)
			return false;
		list->entries = entries;
		list->capacity = capacity;
	}
	list->entries[list->count++] = *entry;
	return true;
}

enum status allow_list_read(const char *public_dir, struct allow_list *list)
{
	char path[512];
	struct stat info;
	snprintf(path, sizeof(path), "%s/allow", public_dir);
	if (stat(path, &info) != 0)
		return ST_NOT_FOUND;
	int64_t modified_ns = info.st_mtim.tv_sec * 1000000000LL + info.st_mtim.tv_nsec;
	if (list->modified_ns == modified_ns)
		return ST_OK;
	FILE *file = fopen(path, "re");
	if (!file)
		return ST_NOT_FOUND;
	struct allow_list read = {.modified_ns = modified_ns};
	char line[256];
	bool fits = true;
	while (fits && fgets(line, sizeof(line), file)) {
		struct allow_entry entry;
		if (allow_line_parse(line, &entry))
			fits = allow_list_add(&read, &entry);
	}
	fclose(file);
	if (!fits) {
		allow_list_free(&read);
		return ST_UNAVAILABLE;
	}
	allow_list_free(list);
	*list = read;
	return ST_OK;
}

void allow_list_free(struct allow_list *list)
{
	free(list->entries);
	*list = (struct allow_list){0};
}

const struct allow_entry *allow_list_find_key(const struct allow_list *list, const char *z85_key)
{
	for (unsigned i = 0; i < list->count; i++) {
		if (strcmp(list->entries[i].key, z85_key) == 0)
			return &list->entries[i];
	}
	return NULL;
}

const struct allow_entry *allow_list_find_user(const struct allow_list *list, const char *user_id)
{
	for (unsigned i = 0; i < list->count; i++) {
		if (strcmp(list->entries[i].user_id, user_id) == 0)
			return &list->entries[i];
	}
	return NULL;
}
