/* Sockets of the feed, by czmq. */
#include "feed_link.h"

#include <netdb.h>
#include <pthread.h>

#define REPLICAS_MAX 32
#define ADDRESS_SIZE 80
#define ENDPOINTS_SIZE 512
#define MESSAGE_MAX_BYTES (4 * 1024 * 1024)
#define HINT_PORT_OFFSET 1000

/* Numeric addresses of the replicas, as ZeroMQ endpoints, in order. */
struct replicas {
	struct replica {
		char dealer[ADDRESS_SIZE];
		char hints[ADDRESS_SIZE];
	} list[REPLICAS_MAX];
	size_t count;
};

struct feed_link {
	char endpoints[ENDPOINTS_SIZE];
	char server_key[41];
	zcert_t *cert;
	struct replicas replicas;
	size_t current; /* of replicas */
	zsock_t *dealer, *sub;
	zpoller_t *poller;
	bool has_topic;
	uint8_t topic[FEED_TOPIC_BYTES];
};

/* ---- names ---- */

static bool add_replica(struct replicas *replicas, const struct addrinfo *info, unsigned port)
{
	char host[64];
	if (replicas->count == REPLICAS_MAX ||
	    getnameinfo(info->ai_addr, info->ai_addrlen, host, sizeof(host), NULL, 0, NI_NUMERICHOST) != 0)
		return false;
	bool six = info->ai_family == AF_INET6;
	struct replica *replica = &replicas->list[replicas->count++];
	snprintf(replica->dealer, ADDRESS_SIZE, "tcp://%s%s%s:%u", six ? "[" : "", host, six ? "]" : "", port);
	snprintf(replica->hints, ADDRESS_SIZE, "tcp://%s%s%s:%u", six ? "[" : "", host, six ? "]" : "",
	         port + HINT_PORT_OFFSET);
	return true;
}

/* Reads one "host:port" up to a comma; *at moves behind it. False when malformed. */
static bool next_endpoint(const char **at, char *ret_host, size_t host_size, unsigned *ret_port)
{
	size_t len = strcspn(*at, ",");
	const char *colon = memrchr(*at, ':', len);
	char *end;
	if (!colon || colon == *at || (size_t)(colon - *at) >= host_size)
		return false;
	unsigned long port = strtoul(colon + 1, &end, 10);
	if (end != *at + len || port < 1 || port > 65535 - HINT_PORT_OFFSET)
		return false;
	size_t host_len = (size_t)(colon - *at);
	const char *host = *at;
	if (*host == '[' && host_len > 2 && host[host_len - 1] == ']') {
		host++;
		host_len -= 2;
	}
	memcpy(ret_host, host, host_len);
	ret_host[host_len] = '\0';
	*ret_port = (unsigned)port;
	*at += len + ((*at)[len] == ',');
	return true;
}

static int compare_replicas(const void *a, const void *b)
{
	return strcmp(((const struct replica *)a)->dealer, ((const struct replica *)b)->dealer);
}

/* ZeroMQ itself would take the first address of a name only, so names are resolved here. */
static void resolve(const char *endpoints, struct replicas *ret_replicas)
{
	const struct addrinfo want = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct addrinfo *list;
	struct replicas replicas = {0};
	char host[256];
	unsigned port;
	for (const char *at = endpoints; *at && next_endpoint(&at, host, sizeof(host), &port);) {
		if (getaddrinfo(host, NULL, &want, &list) != 0)
			continue;
		for (const struct addrinfo *info = list; info; info = info->ai_next)
			add_replica(&replicas, info, port);
		freeaddrinfo(list);
	}
	/* Name servers shuffle; the order must not look like a change. */
	qsort(replicas.list, replicas.count, sizeof(*replicas.list), compare_replicas);
	*ret_replicas = replicas;
}

/* ---- sockets ---- */

static zsock_t *open_socket(struct feed_link *link, int type)
{
	zsock_t *sock = zsock_new(type);
	if (!sock)
		return NULL;
	zsock_set_linger(sock, 0);
	/* Without a limit: ZeroMQ ends the process when the connection of a full queue breaks and a heartbeat comes before the queue
	 * is read. */
	zsock_set_rcvhwm(sock, 0);
	zsock_set_maxmsgsize(sock, MESSAGE_MAX_BYTES);
	zsock_set_heartbeat_ivl(sock, 1000);
	zsock_set_heartbeat_timeout(sock, 3000);
	zsock_set_connect_timeout(sock, 2000);
	zsock_set_handshake_ivl(sock, 5000);
	zsock_set_reconnect_ivl(sock, 50);
	zsock_set_reconnect_ivl_max(sock, 2000);
	zsock_set_ipv6(sock, 1);
	zsock_set_sndtimeo(sock, 300);
	zsock_set_rcvtimeo(sock, 0); /* what the poller promised may be gone with its connection */
	zcert_apply(link->cert, sock);
	zsock_set_curve_serverkey(sock, link->server_key);
	return sock;
}

static void drop_socket(struct feed_link *link, zsock_t **sock)
{
	if (*sock && link->poller)
		zpoller_remove(link->poller, *sock);
	zsock_destroy(sock);
}

static void connect_dealer(struct feed_link *link)
{
	if (link->dealer || link->replicas.count == 0)
		return;
	link->current %= link->replicas.count;
	link->dealer = open_socket(link, ZMQ_DEALER);
	if (!link->dealer)
		return;
	/* Not before the connection stands: a request that waited would be answered long after it was given up. Only here: a socket
	 * with this option that is read when its connection breaks between two frames of a message ends the whole process. */
	zsock_set_immediate(link->dealer, 1);
	if (zsock_connect(link->dealer, "%s", link->replicas.list[link->current].dealer) != 0)
		zsock_destroy(&link->dealer);
	else
		zpoller_add(link->poller, link->dealer);
}

static void subscribe(struct feed_link *link)
{
	if (link->sub && link->has_topic)
		zmq_setsockopt(zsock_resolve(link->sub), ZMQ_SUBSCRIBE, link->topic, sizeof(link->topic));
}

static void connect_sub(struct feed_link *link)
{
	if (link->sub || link->replicas.count == 0)
		return;
	link->sub = open_socket(link, ZMQ_SUB);
	if (!link->sub)
		return;
	subscribe(link);
	for (size_t i = 0; i < link->replicas.count; i++)
		zsock_connect(link->sub, "%s", link->replicas.list[i].hints);
	zpoller_add(link->poller, link->sub);
}

bool feed_link_refresh(struct feed_link *link)
{
	struct replicas replicas;
	if (!link->poller)
		link->poller = zpoller_new(NULL);
	resolve(link->endpoints, &replicas);
	bool same = replicas.count == link->replicas.count;
	for (size_t i = 0; i < replicas.count && same; i++)
		same = compare_replicas(&replicas.list[i], &link->replicas.list[i]) == 0;
	if (!same && replicas.count > 0) { /* a name server that is down takes nothing away */
		link->replicas = replicas;
		drop_socket(link, &link->sub);
	}
	connect_dealer(link);
	connect_sub(link);
	return link->dealer;
}

void feed_link_rotate(struct feed_link *link)
{
	drop_socket(link, &link->dealer);
	link->current++;
	connect_dealer(link);
}

void feed_link_close(struct feed_link *link)
{
	drop_socket(link, &link->dealer);
	drop_socket(link, &link->sub);
	zpoller_destroy(&link->poller);
}

void feed_link_set_topic(struct feed_link *link, const uint8_t topic[FEED_TOPIC_BYTES])
{
	if (link->has_topic)
		return;
	memcpy(link->topic, topic, FEED_TOPIC_BYTES);
	link->has_topic = true;
	subscribe(link);
}

const char *feed_link_address(const struct feed_link *link)
{
	return link->dealer ? link->replicas.list[link->current].dealer : "";
}

/* ---- messages ---- */

bool feed_link_send(struct feed_link *link, struct feed_frame frame)
{
	zframe_t *message = link->dealer && frame.data ? zframe_new(frame.data, frame.len) : NULL;
	bool sent = message && zframe_send(&message, link->dealer, 0) == 0;
	zframe_destroy(&message);
	free(frame.data);
	return sent;
}

void feed_link_wait(struct feed_link *link, int wait_ms, zframe_t **ret_reply, zframe_t **ret_hint)
{
	if (!link->dealer && !link->sub) {
		zclock_sleep(wait_ms);
		return;
	}
	zsock_t *ready = zpoller_wait(link->poller, wait_ms);
	if (!ready)
		return;
	bool is_reply = ready == link->dealer;
	zframe_t *frame = zframe_recv(ready);
	if (frame && zframe_more(frame)) {
		zframe_destroy(&frame);
		drop_socket(link, is_reply ? &link->dealer : &link->sub);
	}
	*(is_reply ? ret_reply : ret_hint) = frame;
}

/* ---- life ---- */

static bool well_formed(const char *endpoints)
{
	char host[256];
	unsigned port;
	const char *at = endpoints;
	while (*at)
		if (!next_endpoint(&at, host, sizeof(host), &port))
			return false;
	return at != endpoints;
}

/* Z85 to bytes; false when the text is no key. */
static bool take_key(const char *text, uint8_t ret_bytes[32])
{
	return text && strlen(text) == 40 && zmq_z85_decode(ret_bytes, text);
}

/* Once for all threads, since czmq's own start is not safe when two of them open their first sockets at the same time. */
static void start_czmq(void)
{
	zsys_handler_set(NULL); /* signals belong to the program */
	zsys_init();
}

struct feed_link *feed_link_new(const char *endpoints, const char *server_key, const char *public_key,
                                const char *secret_key)
{
	uint8_t server[32], own[32], secret[32];
	if (!endpoints || strlen(endpoints) >= ENDPOINTS_SIZE || !well_formed(endpoints) ||
	    !take_key(server_key, server) || !take_key(public_key, own) || !take_key(secret_key, secret))
		return NULL;
	static pthread_once_t started = PTHREAD_ONCE_INIT;
	pthread_once(&started, start_czmq);
	struct feed_link *link = calloc(1, sizeof(*link));
	if (link) {
		memcpy(link->endpoints, endpoints, strlen(endpoints));
		memcpy(link->server_key, server_key, sizeof(link->server_key));
		link->cert = zcert_new_from(own, secret);
		if (!link->cert)
			feed_link_free(&link);
	}
	explicit_bzero(secret, sizeof(secret));
	return link;
}

void feed_link_free(struct feed_link **link)
{
	if (!link || !*link)
		return;
	feed_link_close(*link);
	zcert_destroy(&(*link)->cert);
	free(*link);
	*link = NULL;
}
