/* Endpoints: parsing and ZeroMQ's form. */
#include "bus/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCAL "ipc://"
#define PUB_ABOVE 1000 /* the port of the PUB socket beside that of the calls */
#define PORT_MAX (65535 - PUB_ABOVE)

static enum status parse_local(const char *path, struct endpoint *endpoint)
{
	size_t len = strlen(path);
	if (len == 0 || len >= sizeof(endpoint->host) - sizeof(".pub"))
		return ST_INVALID_ARGUMENT;
	endpoint->local = true;
	memcpy(endpoint->host, path, len + 1);
	return ST_OK;
}

static bool parse_port(const char *text, unsigned *ret_port)
{
	char *end;
	if (text[0] < '0' || text[0] > '9')
		return false;
	unsigned long port = strtoul(text, &end, 10);
	if (*end || port == 0 || port > PORT_MAX)
		return false;
	*ret_port = (unsigned)port;
	return true;
}

enum status endpoint_parse(const char *text, struct endpoint *ret_endpoint)
{
	struct endpoint endpoint = {0};
	if (strncmp(text, LOCAL, strlen(LOCAL)) == 0) {
		enum status status = parse_local(text + strlen(LOCAL), &endpoint);
		if (status == ST_OK)
			*ret_endpoint = endpoint;
		return status;
	}
	const char *colon = strrchr(text, ':'), *host = text;
	if (!colon || colon == text)
		return ST_INVALID_ARGUMENT;
	size_t len = (size_t)(colon - text);
	if (host[0] == '[') {
		if (len < 3 || host[len - 1] != ']')
			return ST_INVALID_ARGUMENT;
		host++;
		len -= 2;
	}
	if (len >= sizeof(endpoint.host) || !parse_port(colon + 1, &endpoint.port))
		return ST_INVALID_ARGUMENT;
	memcpy(endpoint.host, host, len);
	*ret_endpoint = endpoint;
	return ST_OK;
}

enum status endpoint_next(const char **list, struct endpoint *ret_endpoint)
{
	char text[ENDPOINT_ADDRESS_SIZE];
	size_t len = strcspn(*list, ",");
	const char *at = *list;
	*list = at[len] ? at + len + 1 : NULL;
	if (len >= sizeof(text))
		return ST_INVALID_ARGUMENT;
	memcpy(text, at, len);
	text[len] = '\0';
	return endpoint_parse(text, ret_endpoint);
}

void endpoint_address(const struct endpoint *endpoint, bool is_pub, char ret_address[ENDPOINT_ADDRESS_SIZE])
{
	bool v6 = strchr(endpoint->host, ':');
	if (endpoint->local)
		snprintf(ret_address, ENDPOINT_ADDRESS_SIZE, LOCAL "%s%s", endpoint->host, is_pub ? ".pub" : "");
	else
		snprintf(ret_address, ENDPOINT_ADDRESS_SIZE, "tcp://%s%s%s:%u", v6 ? "[" : "", endpoint->host,
		         v6 ? "]" : "", endpoint->port + (is_pub ? PUB_ABOVE : 0));
}
