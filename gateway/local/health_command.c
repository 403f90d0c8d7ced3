/* The command `denizen-gateway health`: one request over a blocking socket. */
#include "local/health_command.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define HEALTH_WAIT_SEC 2

static int health_connect(const char *address, int port)
{
	struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct timeval wait = {.tv_sec = HEALTH_WAIT_SEC};
	if (inet_pton(AF_INET, address[0] != '\0' ? address : "127.0.0.1", &peer.sin_addr) != 1)
		return -1;
	if (peer.sin_addr.s_addr == htonl(INADDR_ANY))
		peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	/* SO_SNDTIMEO bounds connect() as well. */
	bool ok = setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) == 0 &&
	          setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) == 0 &&
	          connect(fd, (const struct sockaddr *)&peer, sizeof(peer)) == 0;
	if (ok)
		return fd;
	close(fd);
	return -1;
}

int health_command(const char *address, int port)
{
	static const char request[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
	static const char ready[] = "HTTP/1.1 200 ";
	char answer[sizeof(ready) - 1];
	int fd = health_connect(address, port);
	if (fd < 0)
		return 1;
	bool ok = send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) == (ssize_t)(sizeof(request) - 1) &&
	          recv(fd, answer, sizeof(answer), MSG_WAITALL) == (ssize_t)sizeof(answer) &&
	          memcmp(answer, ready, sizeof(answer)) == 0;
	close(fd);
	return ok ? 0 : 1;
}
