/* The `health` command: asks the service on this machine for a PONG, over the bus as any peer would. */
#include "process/process_internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define HEALTH_WAIT_MS 2000

static bool health_exchange(void *dealer)
{
	Bus__Header header = BUS__HEADER__INIT;
	header.has_version = header.has_kind = 1;
	header.version = BUS_VERSION;
	header.kind = BUS__KIND__KIND_PING;
	int timeout_ms = HEALTH_WAIT_MS;
	zmq_setsockopt(dealer, ZMQ_RCVTIMEO, &timeout_ms, sizeof(timeout_ms));
	if (!bus_send(dealer, NULL, &header, BUS_NO_BODY))
		return false;
	zmq_msg_t reply;
	zmq_msg_init(&reply);
	bool heard = zmq_msg_recv(&reply, dealer, 0) >= 0;
	zmq_msg_close(&reply);
	return heard;
}

/* Where "address:port" is reached from this machine: all addresses are also this one. */
static void health_endpoint(const char *listen, const char *colon, char *ret_endpoint, size_t size)
{
	static const char *const all[] = {"", "*", "0.0.0.0", "[::]", "::"};
	int len = (int)(colon - listen);
	bool any = false;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		any = any || (strlen(all[i]) == (size_t)len && memcmp(listen, all[i], (size_t)len) == 0);
	if (any)
		snprintf(ret_endpoint, size, "tcp://127.0.0.1%s", colon);
	else
		snprintf(ret_endpoint, size, "tcp://%s", listen);
}

int process_health(const struct bus_config *config, const char *listen)
{
	char endpoint[192], first[128];
	snprintf(first, sizeof(first), "%.*s", (int)strcspn(listen, ","), listen);
	const char *colon = strrchr(first, ':');
	if (strncmp(first, "ipc://", 6) == 0)
		snprintf(endpoint, sizeof(endpoint), "%s", first);
	else if (colon)
		health_endpoint(first, colon, endpoint, sizeof(endpoint));
	else
		snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", config->self->port);
	void *context = zmq_ctx_new();
	void *dealer = zmq_socket(context, ZMQ_DEALER);
	bus_socket_prepare(dealer, 0);
	bus_socket_curve_client(dealer, config->public_key, config->secret_key, config->public_key);
	bool healthy = zmq_connect(dealer, endpoint) == 0 && health_exchange(dealer);
	zmq_close(dealer);
	zmq_ctx_term(context);
	return healthy ? 0 : 1;
}
