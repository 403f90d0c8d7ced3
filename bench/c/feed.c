/* bench-feed ENDPOINT SERVER_PUB_FILE PUB_FILE SECRET_FILE PROJECT: a subscriber that measures how old each created user is when
 * its event arrives. Prints "ready" at the first event of any kind, and at SIGTERM
 * {"events", "p50_us", "p99_us", "max_us"}. */
#include "denizen_feed.h"
#include "quantile.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define KEY_LEN 40
#define EVENTS_MAX 1000000

static struct denizen_feed *running;
static int64_t ages_us[EVENTS_MAX];
static size_t age_count;
static int ready;

static void on_signal(int number)
{
	if (running)
		denizen_feed_stop(running);
}

static int load(void *arg, int64_t *ret_cursor)
{
	*ret_cursor = 0;
	return 0;
}

static int apply(void *arg, const struct denizen_feed_event *events, size_t count, int64_t next)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	int64_t now_us = now.tv_sec * 1000000LL + now.tv_nsec / 1000;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(events[i].type_name, "USER_CREATED") == 0 && age_count < EVENTS_MAX)
			ages_us[age_count++] = now_us - events[i].at_us;
	}
	if (!ready) {
		puts("ready");
		fflush(stdout);
	}
	ready = 1;
	return 0;
}

static int read_key(const char *path, char ret_key[KEY_LEN + 1])
{
	FILE *file = fopen(path, "r");
	int good = file && fread(ret_key, 1, KEY_LEN, file) == KEY_LEN;
	if (file)
		fclose(file);
	ret_key[KEY_LEN] = '\0';
	return good;
}

int main(int argc, char **argv)
{
	char server[KEY_LEN + 1], public[KEY_LEN + 1], secret[KEY_LEN + 1];
	const char *error = "usage: bench-feed ENDPOINT SERVER_PUB_FILE PUB_FILE SECRET_FILE PROJECT";
	struct denizen_feed_options options = {
	    .server_public_key = server, .public_key = public, .secret_key = secret, .load = load, .apply = apply};
	if (argc == 6 && read_key(argv[2], server) && read_key(argv[3], public) && read_key(argv[4], secret)) {
		options.endpoints = argv[1];
		options.project_id = argv[5];
		running = denizen_feed_new(&options, &error);
	}
	if (!running) {
		fprintf(stderr, "bench-feed: %s\n", error);
		return EXIT_FAILURE;
	}
	signal(SIGTERM, on_signal);
	enum denizen_feed_result result = denizen_feed_run(running);
	quantile_sort(ages_us, age_count);
	printf("{\"events\": %zu, \"p50_us\": %lld, \"p99_us\": %lld, \"max_us\": %lld}\n", age_count,
	       (long long)quantile_of(ages_us, age_count, 0.5), (long long)quantile_of(ages_us, age_count, 0.99),
	       (long long)quantile_of(ages_us, age_count, 1.0));
	denizen_feed_free(&running);
	return result == DENIZEN_FEED_STOPPED ? EXIT_SUCCESS : EXIT_FAILURE;
}
