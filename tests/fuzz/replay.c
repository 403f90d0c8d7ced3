/* Runs a fuzz target without libFuzzer: every file of the directories given, and seeded mutations of each. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUTATIONS 2000
#define INPUT_MAX_BYTES (1u << 20)
#define GROWTH_BYTES 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long inputs;

/* splitmix64: the same sequence on every machine. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* The target gets memory of exactly this size, so that a sanitizer sees one byte too many. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1);
	if (!exact)
		abort();
	if (size)
		memcpy(exact, data, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	inputs++;
}

/* One change in place; data has room for GROWTH_BYTES more. Returns the new size. */
static size_t mutate(uint8_t *data, size_t size, uint64_t *state)
{
	static const uint8_t special[] = {0,   1,    0x7f, 0x80, 0xff, '"', '{', '[',
	                                  '.', '\\', '_',  '=',  '-',  '0', '9', '\n'};
	uint64_t random = next_random(state);
	size_t at = size ? (size_t)(random >> 16) % size : 0, len = (size_t)(random >> 8 & 15) + 1;
	uint8_t byte = random & 128 ? special[random >> 56 & 15] : (uint8_t)(random >> 56);
	switch (size ? random % 5 : 1) {
	case 0: /* flip a bit */
		data[at] ^= (uint8_t)(1u << (random >> 56 & 7));
		return size;
	case 1: /* insert a byte */
		memmove(data + at + 1, data + at, size - at);
		data[at] = byte;
		return size + 1;
	case 2: /* remove a piece */
		if (len > size - at)
			len = size - at;
		memmove(data + at, data + at + len, size - at - len);
		return size - len;
	case 3: /* cut the end off */
		return at;
	default: /* replace a byte */
		data[at] = byte;
		return size;
	}
}

static void run_mutations(const uint8_t *data, size_t size)
{
	uint64_t state = size;
	uint8_t *changed = malloc(size + GROWTH_BYTES);
	if (!changed)
		abort();
	for (int i = 0; i < MUTATIONS; i++) {
		size_t changed_size = size;
		if (size)
			memcpy(changed, data, size);
		for (uint64_t times = next_random(&state) % 8 + 1; times; times--)
			changed_size = mutate(changed, changed_size, &state);
		run(changed, changed_size);
	}
	free(changed);
}

/* False when the file cannot be read. */
static int run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = file ? malloc(INPUT_MAX_BYTES) : NULL;
	size_t size = data ? fread(data, 1, INPUT_MAX_BYTES, file) : 0;
	int good = data && !ferror(file);
	if (file)
		fclose(file);
	if (good) {
		run(data, size);
		run_mutations(data, size);
	}
	free(data);
	return good;
}

static int run_directory(const char *path)
{
	struct dirent **entries;
	int good = 1, count = scandir(path, &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		char name[4096];
		int len = snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.' && (len < 0 || (size_t)len >= sizeof(name) || !run_file(name)))
			good = 0;
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	return good && count >= 0;
}

int main(int argc, char **argv)
{
	int good = argc > 1;
	for (int i = 1; i < argc; i++)
		if (!run_directory(argv[i])) {
			fprintf(stderr, "%s: cannot be read\n", argv[i]);
			good = 0;
		}
	run(NULL, 0);
	printf("%lu inputs\n", inputs);
	return good ? 0 : 1;
}
