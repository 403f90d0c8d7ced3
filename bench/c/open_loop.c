/* bench-open-loop PORT RATE SECONDS PREFIX: creates users at a fixed rate, whatever the answers take. The management key is in
 * BENCH_KEY. Prints {"sent", "failed", "p50_us", "p99_us", "max_us"}: times from when a request was due to its answer. */
#include "quantile.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SENDERS 48
#define SEC_NS 1000000000LL

struct sender {
	int index;
	int64_t *times_us; /* one per request of this sender */
	size_t count, failed;
};

static struct {
	int port;
	double rate;
	size_t total;
	const char *prefix, *key;
	int64_t start_ns;
} plan;

static int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * SEC_NS + now.tv_nsec;
}

static void wait_until(int64_t due_ns)
{
	struct timespec due = {due_ns / SEC_NS, due_ns % SEC_NS};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) != 0)
		continue;
}

static int http_connect(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)plan.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	return fd;
}

/* Reads one reply with Content-Length. The HTTP status, or -1 when the connection broke. */
static int http_read(int fd)
{
	char buffer[8192];
	size_t have = 0, whole = 0;
	while (have < sizeof(buffer) - 1) {
		ssize_t got = read(fd, buffer + have, sizeof(buffer) - 1 - have);
		if (got <= 0)
			return -1;
		have += (size_t)got;
		buffer[have] = '\0';
		const char *end = strstr(buffer, "\r\n\r\n");
		const char *length = strcasestr(buffer, "\r\nContent-Length:");
		if (end && length)
			whole = (size_t)(end + 4 - buffer) + strtoul(length + 17, NULL, 10);
		if (whole > 0 && have >= whole)
			return (int)strtol(buffer + 9, NULL, 10);
	}
	return -1;
}

static int create_user(int fd, size_t number)
{
	char body[256], request[1024];
	int body_len = snprintf(body, sizeof(body), "{\"email\":\"%s%zu@bench.example\",\"name\":\"Bench User %zu\"}",
	                        plan.prefix, number, number);
	int len = snprintf(request, sizeof(request),
	                   "POST /v1/users HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n"
	                   "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
	                   plan.key, body_len, body);
	if (len >= (int)sizeof(request) || write(fd, request, (size_t)len) != len)
		return -1;
	return http_read(fd);
}

static void *send_all(void *arg)
{
	struct sender *sender = arg;
	int fd = http_connect();
	for (size_t number = (size_t)sender->index; number < plan.total; number += SENDERS) {
		int64_t due_ns = plan.start_ns + (int64_t)((double)number * (double)SEC_NS / plan.rate);
		wait_until(due_ns);
		int status = fd < 0 ? -1 : create_user(fd, number);
		sender->times_us[sender->count++] = (now_ns() - due_ns) / 1000;
		sender->failed += status != 201;
		if (status < 0) {
			close(fd);
			fd = http_connect();
		}
	}
	close(fd);
	return NULL;
}

static int run(void)
{
	struct sender senders[SENDERS];
	pthread_t threads[SENDERS];
	int64_t *times_us = calloc(plan.total + SENDERS, sizeof(*times_us));
	size_t count = 0, failed = 0, share = plan.total / SENDERS + 1;
	for (int i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){.index = i, .times_us = calloc(share, sizeof(*times_us))};
		if (!times_us || !senders[i].times_us || pthread_create(&threads[i], NULL, send_all, &senders[i]) != 0)
			return EXIT_FAILURE;
	}
	for (int i = 0; i < SENDERS; i++) {
		pthread_join(threads[i], NULL);
		memcpy(times_us + count, senders[i].times_us, senders[i].count * sizeof(*times_us));
		count += senders[i].count;
		failed += senders[i].failed;
		free(senders[i].times_us);
	}
	quantile_sort(times_us, count);
	printf("{\"sent\": %zu, \"failed\": %zu, \"p50_us\": %lld, \"p99_us\": %lld, \"max_us\": %lld}\n", count,
	       failed, (long long)quantile_of(times_us, count, 0.5), (long long)quantile_of(times_us, count, 0.99),
	       (long long)quantile_of(times_us, count, 1.0));
	free(times_us);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	plan.key = getenv("BENCH_KEY");
	if (argc != 5 || !plan.key) {
		fputs("usage: BENCH_KEY=... bench-open-loop PORT RATE SECONDS PREFIX\n", stderr);
		return 2;
	}
	plan.port = (int)strtol(argv[1], NULL, 10);
	plan.rate = strtod(argv[2], NULL);
	plan.total = (size_t)(plan.rate * strtod(argv[3], NULL));
	plan.prefix = argv[4];
	plan.start_ns = now_ns() + SEC_NS / 10;
	return run();
}
