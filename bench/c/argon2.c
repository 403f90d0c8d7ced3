/* bench-argon2 hash PASSWORD: an Argon2id hash (19 MiB, t=2, p=1). bench-argon2 rate SECONDS THREADS: how many such hashes are
 * checked a second when nothing else is done, as {"rate": n}. */
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MEMORY_BYTES (19456UL * 1024)
#define PASSES 2
#define THREADS_MAX 64

static const char rate_password[] = "correct horse battery staple";
static char rate_hash[crypto_pwhash_STRBYTES];
static atomic_bool ended;

static void *rate_work(void *arg)
{
	long *count = arg;
	while (!atomic_load(&ended)) {
		if (crypto_pwhash_str_verify(rate_hash, rate_password, strlen(rate_password)) != 0)
			abort();
		++*count;
	}
	return NULL;
}

static double now_sec(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int rate_run(double seconds, int threads)
{
	pthread_t ids[THREADS_MAX];
	long counts[THREADS_MAX] = {0}, sum = 0;
	if (threads < 1 || threads > THREADS_MAX)
		return EXIT_FAILURE;
	if (crypto_pwhash_str(rate_hash, rate_password, strlen(rate_password), PASSES, MEMORY_BYTES) != 0)
		return EXIT_FAILURE;
	double start = now_sec();
	for (int i = 0; i < threads; i++) {
		if (pthread_create(&ids[i], NULL, rate_work, &counts[i]) != 0)
			return EXIT_FAILURE;
	}
	usleep((useconds_t)(seconds * 1e6));
	atomic_store(&ended, true);
	for (int i = 0; i < threads; i++) {
		pthread_join(ids[i], NULL);
		sum += counts[i];
	}
	printf("{\"rate\": %.2f}\n", (double)sum / (now_sec() - start));
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	char hash[crypto_pwhash_STRBYTES];
	if (sodium_init() < 0)
		return EXIT_FAILURE;
	if (argc == 4 && strcmp(argv[1], "rate") == 0)
		return rate_run(strtod(argv[2], NULL), (int)strtol(argv[3], NULL, 10));
	if (argc != 3 || strcmp(argv[1], "hash") != 0) {
		fputs("usage: bench-argon2 hash PASSWORD | rate SECONDS THREADS\n", stderr);
		return 2;
	}
	if (crypto_pwhash_str(hash, argv[2], strlen(argv[2]), PASSES, MEMORY_BYTES) != 0)
		return EXIT_FAILURE;
	puts(hash);
	return EXIT_SUCCESS;
}
