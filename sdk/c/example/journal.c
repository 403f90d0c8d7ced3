/* The journal file of the example. */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads the file from its start to the last good line. */
static int replay(struct journal *journal, FILE *file, journal_line_fn fn, void *arg)
{
	char *line = NULL;
	size_t capacity = 0;
	ssize_t len;
	int result = 0;
	while ((len = getline(&line, &capacity, file)) > 0) {
		int64_t seq;
		bool complete = line[len - 1] == '\n';
		if (complete)
			line[len - 1] = '\0';
		bool good = complete && strlen(line) == (size_t)len - 1 && fn(arg, line, (size_t)len - 1, &seq) &&
		            (journal->size == 0 || seq == journal->cursor + 1);
		if (!good) {
			/* Torn by a crash when nothing follows; damaged by somebody otherwise. */
			if (getc(file) != EOF) {
				errno = EBADMSG;
				result = -1;
			}
			break;
		}
		journal->cursor = seq;
		journal->size += len;
	}
	free(line);
	return result;
}

/* Makes the file's name durable, once. */
static int sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[4096] = ".";
	if (slash && (size_t)(slash - path) >= sizeof(folder))
		return 0;
	if (slash && slash != path) {
		memcpy(folder, path, (size_t)(slash - path));
		folder[slash - path] = '\0';
	} else if (slash) {
		folder[0] = '/';
	}
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	int result = fsync(fd);
	close(fd);
	return result;
}

int journal_open(struct journal *journal, const char *path, journal_line_fn fn, void *arg)
{
	int result = -1;
	struct journal opened = {.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
	FILE *file = NULL;
	if (opened.fd < 0)
		return -1;
	if (flock(opened.fd, LOCK_EX | LOCK_NB) != 0)
		goto out;
	int copy = fcntl(opened.fd, F_DUPFD_CLOEXEC, 0);
	file = copy >= 0 ? fdopen(copy, "r") : NULL;
	if (!file) {
		if (copy >= 0)
			close(copy);
		goto out;
	}
	if (replay(&opened, file, fn, arg) != 0 || ftruncate(opened.fd, opened.size) != 0 || fsync(opened.fd) != 0 ||
	    sync_folder(path) != 0)
		goto out;
	result = 0;
	*journal = opened;
out:;
	int error = errno;
	if (file)
		fclose(file);
	if (result != 0)
		close(opened.fd);
	errno = error;
	return result;
}

int journal_append(struct journal *journal, const char *lines, size_t len, int64_t cursor)
{
	size_t done = 0;
	while (done < len) {
		ssize_t written = pwrite(journal->fd, lines + done, len - done, journal->size + (int64_t)done);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			goto fail;
		done += (size_t)written;
	}
	if (fdatasync(journal->fd) != 0)
		goto fail;
	journal->size += (int64_t)len;
	journal->cursor = cursor;
	return 0;
fail:;
	/* E.g. a full disk: take the part back, so that the same lines can be written again. */
	int error = errno;
	if (ftruncate(journal->fd, journal->size) != 0)
		error = errno;
	errno = error;
	return -1;
}

void journal_close(struct journal *journal)
{
	if (journal->fd >= 0)
		close(journal->fd);
	journal->fd = -1;
}
