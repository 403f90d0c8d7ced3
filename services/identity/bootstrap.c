/* The command `bootstrap`: makes the platform project with its first management key and writes them to a file.
 *
 * The file is complete on disk before the transaction commits: a crash between leaves a file that names nothing, which the
 * next run replaces, and never a key that nobody knows. */
#include "identity_sql.gen.h"
#include "keys/keys.h"
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
	struct sql_scope scope;
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

static enum status rows_insert(struct bootstrap *boot, const Identity__Rows__Project *project, bool new_project,
                               const struct keys_made *made)
{
	struct id id = id_from_bytes(project->project_id), key = id_from_bytes(made->row.key_id);
	char project_id[ID_TEXT_SIZE], key_id[ID_TEXT_SIZE];
	id_format("prj", &id, project_id);
	id_format("key", &key, key_id);
	int64_t now_us = made->row.created_at_us, rows;
	const struct db_blob events[] = {
	    event_pack(boot->arena, EVENTS__EVENT_TYPE__EVENT_TYPE_PROJECT_CREATED, project_id, now_us),
	    event_pack(boot->arena, EVENTS__EVENT_TYPE__EVENT_TYPE_KEY_CREATED, key_id, now_us)};
	struct db_effects effects = {.events = {events + !new_project, 1 + new_project}, .at_us = now_us};
	struct db_blob secret_hash = {made->secret_hash, SHA256_SIZE};
	if (!events[0].data || !events[1].data)
		return ST_RESOURCE_EXHAUSTED;
	boot->scope.project = &id;
	boot->scope.effects = &effects;
	if (!new_project)
		return sql_run(&boot->scope, &sql_key_create,
		               &(struct sql_key_create){.key = &made->row, .secret_hash = secret_hash}, &rows);
	struct sql_project_create params = {.created = project, .key = &made->row, .secret_hash = secret_hash};
	return sql_run(&boot->scope, &sql_project_create, &params, &rows);
}

/* Creates, writes the file, commits: in this order. */
static int bootstrap_create(struct bootstrap *boot, const struct id *existing)
{
	Identity__Rows__Project project = IDENTITY__ROWS__PROJECT__INIT;
	struct keys_made made = {0};
	struct id id = existing ? *existing : id_new();
	char project_id[ID_TEXT_SIZE];
	project.has_project_id = project.has_platform = project.has_created_at_us = true;
	project.project_id = (ProtobufCBinaryData){ID_SIZE, id.bytes};
	project.name = (char *)boot->name;
	project.platform = true;
	project.created_at_us = clock_wall_us();
	id_format("prj", &id, project_id);
	enum status status = keys_make_management(boot->arena, project.created_at_us, &made);
	if (status == ST_OK)
		status = rows_insert(boot, &project, !existing, &made);
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
	struct sql_project_platform_row platform;
	char project_id[ID_TEXT_SIZE];
	enum status status = db_begin(boot->db, boot->scope.deadline_us, &boot->tx);
	boot->scope.tx = boot->tx;
	if (status == ST_OK)
		status = sql_one(&boot->scope, &sql_project_platform, NULL, &platform);
	if (status != ST_OK && status != ST_NOT_FOUND) {
		fprintf(stderr, "bootstrap: the database cannot be used: %s\n", status_name(status));
		return 1;
	}
	if (status == ST_OK && !boot->new_key) {
		id_format("prj", &platform.project_id, project_id);
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
	return bootstrap_create(boot, status == ST_OK ? &platform.project_id : NULL);
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
		boot.scope = (struct sql_scope){
		    .db = boot.db, .arena = boot.arena, .deadline_us = clock_monotonic_us() + WAIT_US};
		exit_status = bootstrap_run(&boot);
	}
	if (boot.tx)
		db_end(&boot.tx);
	db_free(&boot.db);
	arena_free(&boot.arena);
	return exit_status;
}
