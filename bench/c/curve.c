/* bench-curve plain|curve SECONDS: a bare DEALER/ROUTER echo over loopback with 32 calls on their way, one frame each
 * way as on the bus. Prints {"rate": calls a second, "cpu_us": processor time of both sides for one call}. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define DEPTH 32
#define FRAME_BYTES 40 /* as an echo has on the bus: header and no text */
#define KEY_SIZE 41

static double clock_sec(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void must(int result)
{
	if (result < 0) {
		fprintf(stderr, "bench-curve: %s\n", zmq_strerror(zmq_errno()));
		exit(EXIT_FAILURE);
	}
}

/* Echoes until it is killed by the parent closing the pipe's other side. */
static void serve(const char *secret, int port_pipe)
{
	void *context = zmq_ctx_new(), *router = zmq_socket(context, ZMQ_ROUTER);
	char endpoint[64];
	size_t len = sizeof(endpoint);
	int yes = 1;
	if (secret) {
		must(zmq_setsockopt(router, ZMQ_CURVE_SERVER, &yes, sizeof(yes)));
		must(zmq_setsockopt(router, ZMQ_CURVE_SECRETKEY, secret, KEY_SIZE));
	}
	must(zmq_bind(router, "tcp://127.0.0.1:*"));
	must(zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &len));
	if (write(port_pipe, endpoint, sizeof(endpoint)) != sizeof(endpoint))
		exit(EXIT_FAILURE);
	for (;;) {
		zmq_msg_t part;
		zmq_msg_init(&part);
		must(zmq_msg_recv(&part, router, 0));
		int more = zmq_msg_more(&part);
		must(zmq_msg_send(&part, router, more ? ZMQ_SNDMORE : 0));
	}
}

static void send_call(void *dealer)
{
	static const char frame[FRAME_BYTES];
	must(zmq_send(dealer, frame, sizeof(frame), 0));
}

static void receive_reply(void *dealer)
{
	char frame[FRAME_BYTES];
	must(zmq_recv(dealer, frame, sizeof(frame), 0));
}

static void *connect_dealer(const char *endpoint, const char *server_public)
{
	void *dealer = zmq_socket(zmq_ctx_new(), ZMQ_DEALER);
	char public[KEY_SIZE], secret[KEY_SIZE];
	if (server_public) {
		must(zmq_curve_keypair(public, secret));
		must(zmq_setsockopt(dealer, ZMQ_CURVE_SERVERKEY, server_public, KEY_SIZE));
		must(zmq_setsockopt(dealer, ZMQ_CURVE_PUBLICKEY, public, KEY_SIZE));
		must(zmq_setsockopt(dealer, ZMQ_CURVE_SECRETKEY, secret, KEY_SIZE));
	}
	must(zmq_connect(dealer, endpoint));
	send_call(dealer);
	receive_reply(dealer);
	return dealer;
}

static double child_cpu_sec(void)
{
	struct rusage usage;
	getrusage(RUSAGE_CHILDREN, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void measure(void *dealer, double seconds, pid_t server)
{
	long calls = 0;
	double cpu = clock_sec(CLOCK_PROCESS_CPUTIME_ID), start = clock_sec(CLOCK_MONOTONIC), end = start + seconds;
	for (int i = 0; i < DEPTH; i++)
		send_call(dealer);
	while (calls % 64 != 0 || clock_sec(CLOCK_MONOTONIC) < end) {
		receive_reply(dealer);
		send_call(dealer);
		calls++;
	}
	double took = clock_sec(CLOCK_MONOTONIC) - start;
	cpu = clock_sec(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	cpu += child_cpu_sec();
	printf("{\"rate\": %.0f, \"cpu_us\": %.3f}\n", (double)calls / took, cpu * 1e6 / (double)calls);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char public[KEY_SIZE], secret[KEY_SIZE], endpoint[64];
	int pipes[2];
	if (argc != 3 || pipe(pipes) != 0) {
		fputs("usage: bench-curve plain|curve SECONDS\n", stderr);
		return 2;
	}
	int curve = strcmp(argv[1], "curve") == 0;
	must(zmq_curve_keypair(public, secret));
	pid_t server = fork();
	if (server == 0)
		serve(curve ? secret : NULL, pipes[1]);
	if (server < 0 || read(pipes[0], endpoint, sizeof(endpoint)) != sizeof(endpoint))
		return EXIT_FAILURE;
	measure(connect_dealer(endpoint, curve ? public : NULL), strtod(argv[2], NULL), server);
	_exit(EXIT_SUCCESS);
}
