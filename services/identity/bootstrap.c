/* The command `bootstrap`: makes the platform project with its first management key and writes them to a file.
 *
 * The file is complete on disk before the transaction commits: a crash between leaves a file that names nothing, which the
 * next run replaces, and never a key that nobody knows. */
#include "keys.h"
#include "service.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARENA_BYTES (256 * 1024)
#define WAIT_US (30 * US_PER_SEC)

struct bootstrap {
	const char *name, *file;
	bool new_key; /* a further management key for the platform project that exists */
	struct db *db;
	struct db_tx *tx;
	struct arena *arena;
	struct store store;
};

/* ---- the file ---- */

/* Absent, or written by this command: anything else is not overwritten. */
static bool file_is_ours(const char *path)
{
	json_error_t error;
	struct stat info;
	if (lstat(path, &info) != 0)
		return errno == ENOENT;
	if (!S_ISREG(info.st_mode))
		return false;
	if (info.st_size == 0)
		return true;
	json_t *json = json_load_file(path, 0, &error);
	bool ours = json_is_string(json_object_get(json, "project_id")) &&
	            json_is_string(json_object_get(json, "management_key"));
	json_decref(json);
	return ours;
}

static bool directory_sync(const char *path, struct arena *arena)
{
	char *copy = arena_strdup(arena, path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	bool ok = fd >= 0 && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool file_write(const struct bootstrap *boot, const char *project_id, const char *secret)
{
	char *temporary = arena_printf(boot->arena, "%s.tmp", boot->file);
	json_t *json = json_pack("{s:s, s:s}", "project_id", project_id, "management_key", secret);
	char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
	bool ok = false;
	int fd = -1;
	if (!temporary || !text)
		goto out;
	unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		goto out;
	ok = dprintf(fd, "%s\n", text) == (int)strlen(text) + 1 && fsync(fd) == 0;
	ok = close(fd) == 0 && ok && rename(temporary, boot->file) == 0 && directory_sync(boot->file, boot->arena);
out:
	if (!ok)
		fprintf(stderr, "bootstrap: %s cannot be written: %s\n", boot->file, strerror(errno));
	if (text)
		secret_wipe(text, strlen(text));
	free(text);
	json_decref(json);
	return ok;
}

/* ---- the rows ---- */

/* Packs an event of this command, which has no caller. */
static struct db_blob event_pack(struct arena *arena, Events__EventType type, const char *subject, int64_t now_us)
{
	Events__Event event = EVENTS__EVENT__INIT;
	event.has_type = event.has_at_us = event.has_version = true;
	event.type = type;
	event.subject = (char *)subject;
	event.actor = (char *)"";
	event.at_us = now_us;
	event.version = 1;
	event.reason = (char *)"bootstrap";
	size_t len = events__event__get_packed_size(&event);
	uint8_t *data = arena_alloc(arena, len);
	if (data)
		events__event__pack(&event, data);
	return (struct db_blob){data, len};
}

static enum status rows_insert(struct bootstrap *boot, const struct project *project, bool new_project,
                               const struct keys_made *made)
{
	char project_id[ID_TEXT_SIZE], key_id[ID_TEXT_SIZE];
	id_format("prj", &project->id, project_id);
	id_format("key", &made->key.id, key_id);
	struct db_blob key_event =
	    event_pack(boot->arena, EVENTS__EVENT_TYPE__EVENT_TYPE_KEY_CREATED, key_id, made->key.created_at_us);
	struct db_blob project_event = event_pack(boot->arena, EVENTS__EVENT_TYPE__EVENT_TYPE_PROJECT_CREATED,
	                                          project_id, made->key.created_at_us);
	struct store_effects effects = {.at_us = made->key.created_at_us};
	if (!key_event.data || !project_event.data)
		return ST_RESOURCE_EXHAUSTED;
	boot->store.project = project->id;
	if (!new_project) {
		effects.event = key_event.data;
		effects.event_len = key_event.len;
		return store_key_create(&boot->store, &made->key, made->secret_hash, &effects);
	}
	effects.event = project_event.data;
	effects.event_len = project_event.len;
	struct store_new_project row = {project, &made->key, made->secret_hash, key_event.data, key_event.len};
	return store_project_create(&boot->store, &row, &effects);
}

/* Creates, writes the file, commits: in this order. */
static int bootstrap_create(struct bootstrap *boot, const struct id *existing)
{
	struct project project = {
	    .id = id_new(), .name = boot->name, .platform = true, .created_at_us = clock_wall_us()};
	struct keys_made made = {0};
	char project_id[ID_TEXT_SIZE];
	if (existing)
		project.id = *existing;
	id_format("prj", &project.id, project_id);
	enum status status = keys_make_management(boot->arena, project.created_at_us, &made);
	if (status == ST_OK)
		status = rows_insert(boot, &project, existing == NULL, &made);
	if (status == ST_OK && !file_write(boot, project_id, made.secret)) {
		secret_wipe(made.secret, sizeof(made.secret));
		return 1;
	}
	secret_wipe(made.secret, sizeof(made.secret));
	if (status == ST_OK)
		status = db_commit(boot->tx);
	if (status != ST_OK) {
		fprintf(stderr, "bootstrap: the database refused: %s. Run it again.\n", status_name(status));
		return 1;
	}
	fprintf(stderr, "bootstrap: platform project %s; its management key is in %s\n", project_id, boot->file);
	return 0;
}

static int bootstrap_run(struct bootstrap *boot)
{
	struct id platform;
	char project_id[ID_TEXT_SIZE];
	enum status status = db_begin(boot->db, boot->store.deadline_us, &boot->tx);
	boot->store.tx = boot->tx;
	if (status == ST_OK)
		status = store_project_platform(&boot->store, &platform);
	if (status != ST_OK && status != ST_NOT_FOUND) {
		fprintf(stderr, "bootstrap: the database cannot be used: %s\n", status_name(status));
		return 1;
	}
	if (status == ST_OK && !boot->new_key) {
		id_format("prj", &platform, project_id);
		if (access(boot->file, F_OK) != 0)
			fprintf(
			    stderr,
			    "bootstrap: the platform project %s exists, but %s does not. Put the file back, or make "
			    "another management key with --new-key.\n",
			    project_id, boot->file);
		return 0;
	}
	if (!file_is_ours(boot->file)) {
		fprintf(stderr, "bootstrap: %s exists and was not written by this command; choose another file\n",
		        boot->file);
		return 1;
	}
	return bootstrap_create(boot, status == ST_OK ? &platform : NULL);
}

static bool options_parse(int argc, char **argv, struct bootstrap *boot)
{
	static const struct option options[] = {{"name", required_argument, NULL, 'n'},
	                                        {"out", required_argument, NULL, 'o'},
	                                        {"new-key", no_argument, NULL, 'k'},
	                                        {0}};
	int option;
	optind = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'n')
			boot->name = optarg;
		else if (option == 'o')
			boot->file = optarg;
		else if (option == 'k')
			boot->new_key = true;
		else
			return false;
	}
	return boot->file && boot->name && boot->name[0] && strlen(boot->name) <= 100;
}

int identity_bootstrap(struct cfg *cfg, int argc, char **argv)
{
	struct bootstrap boot = {0};
	int exit_status = 1;
	if (!options_parse(argc, argv, &boot)) {
		fprintf(stderr, "usage: bootstrap --name NAME --out FILE [--new-key]\n");
		return 2;
	}
	struct db_options options = {.conninfo = cfg_text(cfg, "DENIZEN_DB"),
	                             .schema = "identity",
	                             .read_lanes = 1,
	                             .write_lanes = 1,
	                             .statement_timeout_ms = 10000};
	boot.arena = arena_new(ARENA_BYTES);
	boot.db = db_new(&options);
	if (boot.arena && boot.db) {
		boot.store =
		    (struct store){.db = boot.db, .arena = boot.arena, .deadline_us = clock_monotonic_us() + WAIT_US};
		exit_status = bootstrap_run(&boot);
	}
	if (boot.tx)
		db_end(&boot.tx);
	db_free(&boot.db);
	arena_free(&boot.arena);
	return exit_status;
}
