/* Makes the CURVE key pairs of the bus and the allow-list. */
#include "bus/bus_keys.h"

#include "base/buf.h"
#include "base/log.h"
#include "bus/method.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#define PATH_SIZE 512
#define PUBLIC_KEY_SIZE 64

/* Writes a whole file under another name and moves it into place, so that a reader sees all of it or nothing. */
static enum status file_write(const char *path, mode_t mode, const char *text)
{
	char temporary[PATH_SIZE + 8];
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	size_t len = strlen(text);
	bool ok = fd >= 0 && write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	ok = ok && rename(temporary, path) == 0;
	if (!ok)
		log_event(LOG_ERROR, "cannot write a key file", "path", path, "reason", strerror(errno), NULL);
	return ok ? ST_OK : ST_UNAVAILABLE;
}

static enum status pair_make(const char *dir, const char *name)
{
	char public_key[41], secret_key[41], path[PATH_SIZE];
	if (zmq_curve_keypair(public_key, secret_key) != 0)
		return ST_INTERNAL;
	snprintf(path, sizeof(path), "%s/secret/%s.key", dir, name);
	enum status status = file_write(path, 0600, secret_key);
	secret_wipe(secret_key, sizeof(secret_key));
	if (status != ST_OK)
		return status;
	snprintf(path, sizeof(path), "%s/public/%s.pub", dir, name);
	return file_write(path, 0644, public_key);
}

static enum status directories_make(const char *dir)
{
	static const struct {
		const char *name;
		mode_t mode;
	} wanted[] = {{"", 0755}, {"/secret", 0700}, {"/public", 0755}};
	for (size_t i = 0; i < 3; i++) {
		char path[PATH_SIZE];
		snprintf(path, sizeof(path), "%s%s", dir, wanted[i].name);
		if (mkdir(path, wanted[i].mode) != 0 && errno != EEXIST) {
			log_event(LOG_ERROR, "cannot make a directory", "path", path, "reason", strerror(errno), NULL);
			return ST_UNAVAILABLE;
		}
	}
	return ST_OK;
}

static bool pair_exists(const char *dir, const char *name)
{
	char secret[PATH_SIZE], public[PATH_SIZE];
	snprintf(secret, sizeof(secret), "%s/secret/%s.key", dir, name);
	snprintf(public, sizeof(public), "%s/public/%s.pub", dir, name);
	return access(secret, F_OK) == 0 && access(public, F_OK) == 0;
}

static bool line_is_of(const char *line, const char *process)
{
	char name[32] = "";
	return sscanf(line, "%*40s %31s", name) == 1 && strcmp(name, process) == 0;
}

/* Copies the allow-list without the lines of `process` (NULL = all lines); a replaced key is admitted no more. False when there is
 * a list that cannot be read: a new one in its place would shut everybody out. */
static bool allow_copy(const char *path, const char *process, const char *line, struct buf *ret_text)
{
	char old[256];
	FILE *file = fopen(path, "re");
	if (!file && errno != ENOENT)
		return false;
	while (file && fgets(old, sizeof(old), file)) {
		if (strcmp(old, line) != 0 && !(process && line_is_of(old, process)))
			buf_add_str(ret_text, old);
	}
	if (file)
		fclose(file);
	buf_add_str(ret_text, line);
	buf_add_char(ret_text, '\0');
	return buf_ok(ret_text);
}

/* The public key of a pair as text; empty when it cannot be read. */
static void public_key_read(const char *dir, const char *name, char ret_key[PUBLIC_KEY_SIZE])
{
	char path[PATH_SIZE];
	snprintf(path, sizeof(path), "%s/public/%s.pub", dir, name);
	FILE *file = fopen(path, "re");
	if (!file || !fgets(ret_key, PUBLIC_KEY_SIZE, file))
		ret_key[0] = '\0';
	if (file)
		fclose(file);
	ret_key[strcspn(ret_key, "\r\n")] = '\0';
}

/* Puts "<key> <process> <rest>" for a public key file into the allow-list. A process has one line, subscribers have many. */
static enum status allow_add(const char *dir, const char *name, const char *process, const char *rest)
{
	char path[PATH_SIZE], key[PUBLIC_KEY_SIZE], line[256];
	public_key_read(dir, name, key);
	snprintf(line, sizeof(line), "%s %s%s%s\n", key, process, rest[0] ? " " : "", rest);
	snprintf(path, sizeof(path), "%s/public/allow", dir);
	struct buf text = {0};
	bool copied = allow_copy(path, strcmp(name, process) == 0 ? process : NULL, line, &text);
	enum status status = copied ? file_write(path, 0644, text.data) : ST_INTERNAL;
	buf_free(&text);
	return status;
}

enum status bus_keys_ensure(const char *dir)
{
	enum status status = directories_make(dir);
	for (unsigned i = 0; status == ST_OK && i < process_count; i++) {
		const char *name = process_table[i].name;
		if (strcmp(name, "subscriber") == 0)
			continue;
		if (!pair_exists(dir, name) && (status = pair_make(dir, name)) != ST_OK)
			break;
		status = allow_add(dir, name, name, "");
	}
	return status;
}

/* Whether the allow-list has the key of a pair. */
static bool allow_has(const char *dir, const char *name)
{
	char path[PATH_SIZE], key[PUBLIC_KEY_SIZE], line[256];
	bool found = false;
	public_key_read(dir, name, key);
	snprintf(path, sizeof(path), "%s/public/allow", dir);
	FILE *file = key[0] ? fopen(path, "re") : NULL;
	while (file && !found && fgets(line, sizeof(line), file))
		found = strncmp(line, key, strlen(key)) == 0;
	if (file)
		fclose(file);
	return found;
}

enum status bus_keys_add_subscriber(const char *dir, const char *name, const struct id *project)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
	if (len == 0 || len > 40 || name[len] != '\0')
		return ST_INVALID_ARGUMENT;
	bool made = pair_exists(dir, name);
	if (process_find(name) || (made && allow_has(dir, name)))
		return ST_ALREADY_EXISTS;
	char text[ID_TEXT_SIZE] = "";
	if (project)
		id_format("prj", project, text);
	/* A run that was cut off between the pair and its line in the list is completed. */
	enum status status = made ? ST_OK : pair_make(dir, name);
	return status == ST_OK ? allow_add(dir, name, "subscriber", text) : status;
}
