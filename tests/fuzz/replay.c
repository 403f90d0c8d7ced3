/* Runs a fuzz target over files and folders given on the command line: the corpus is replayed in the normal test run. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PATH_BYTES 4096

static int replay_file(const char *path, size_t size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(size ? size : 1); /* exact size, so that a sanitizer sees a read behind the end */
	int failed = 1;

	if (file && data && fread(data, 1, size, file) == size) {
		(void)LLVMFuzzerTestOneInput(data, size);
		failed = 0;
	}
	free(data);
	if (file)
		(void)fclose(file);
	return failed;
}

/* Number of files that could not be read; *count grows by the files that were run. */
static int replay(const char *path, unsigned *count)
{
	struct stat facts;
	struct dirent *entry;
	DIR *folder;
	int failed = 0;

	if (stat(path, &facts) != 0)
		return 1;
	if (!S_ISDIR(facts.st_mode)) {
		(*count)++;
		return replay_file(path, (size_t)facts.st_size);
	}
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		char inside[PATH_BYTES];

		if (entry->d_name[0] == '.')
			continue;
		if (snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name) >= (int)sizeof inside)
			failed++;
		else
			failed += replay(inside, count);
	}
	if (!folder)
		return 1;
	(void)closedir(folder);
	return failed;
}

int main(int argc, char **argv)
{
	unsigned count = 0;
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed += replay(argv[i], &count);
	printf("%u inputs replayed, %d unreadable\n", count, failed);
	return failed || count == 0 ? 1 : 0;
}
