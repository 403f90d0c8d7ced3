/* The `health` command: asks the service on this machine for a PONG, over the bus as any peer would. */
#include "process/process_internal.h"

#include "bus/endpoint.h"

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

/* Where the first endpoint of `listen` is reached from this machine: all addresses are also this one. */
static bool health_address(const struct process_info *self, const char *listen, char ret_address[ENDPOINT_ADDRESS_SIZE])
{
	struct endpoint endpoint = {.host = "*", .port = self->port};
	if (listen[0] && endpoint_next(&listen, &endpoint) != ST_OK)
		return false;
	if (strcmp(endpoint.host, "*") == 0 || strcmp(endpoint.host, "0.0.0.0") == 0)
		snprintf(endpoint.host, sizeof(endpoint.host), "127.0.0.1");
	else if (strcmp(endpoint.host, "::") == 0)
		snprintf(endpoint.host, sizeof(endpoint.host), "::1");
	endpoint_address(&endpoint, false, ret_address);
	return true;
}

int process_health(const struct bus_config *config, const char *listen)
{
	char address[ENDPOINT_ADDRESS_SIZE];
	if (!health_address(config->self, listen, address))
		return 1;
	void *context = zmq_ctx_new();
	void *dealer = zmq_socket(context, ZMQ_DEALER);
	bus_socket_prepare(dealer, 0);
	bus_socket_curve_client(dealer, config->public_key, config->secret_key, config->public_key);
	bool healthy = zmq_connect(dealer, address) == 0 && health_exchange(dealer);
	zmq_close(dealer);
	zmq_ctx_term(context);
	return healthy ? 0 : 1;
}
