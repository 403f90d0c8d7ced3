/* Where a database is: the hosts of its connection string and the addresses their names have now. libpq would look names up while
 * the loop waits, so it is given each address beside its name, which TLS checks. */
#include "db/db_internal.h"

#include "base/buf.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define FRESH_US (1 * US_PER_SEC) /* lanes that connect one after the other ask once */

/* Copies field number `number` of a comma-separated list; false when it is not there or does not fit. */
static bool list_field(const char *list, unsigned number, char *ret_field, size_t size)
{
	for (; number > 0; number--) {
		list = strchr(list, ',');
		if (!list)
			return false;
		list++;
	}
	size_t len = strcspn(list, ",");
	if (len >= size)
		return false;
	memcpy(ret_field, list, len);
	ret_field[len] = '\0';
	return true;
}

static unsigned list_count(const char *list)
{
	unsigned count = list[0] != '\0';
	for (; (list = strchr(list, ',')); list++)
		count++;
	return count;
}

static const char *info_value(const struct db_conninfo *info, const char *keyword)
{
	for (size_t i = 0; info->keywords[i]; i++) {
		if (strcmp(info->keywords[i], keyword) == 0)
			return info->values[i];
	}
	return "";
}

/* Whether libpq would ask a resolver for it. */
static bool host_is_name(const struct db_host *host)
{
	unsigned char address[sizeof(struct in6_addr)];
	if (host->address[0] || !host->name[0] || host->name[0] == '/' || host->name[0] == '@')
		return false;
	return inet_pton(AF_INET, host->name, address) != 1 && inet_pton(AF_INET6, host->name, address) != 1;
}

enum status db_hosts_init(struct db_hosts *hosts, const struct db_conninfo *info, struct loop *loop)
{
	const char *names = info_value(info, "host"), *addresses = info_value(info, "hostaddr");
	const char *ports = info_value(info, "port");
	unsigned count = list_count(names), address_count = list_count(addresses), port_count = list_count(ports);
	if ((count && address_count && count != address_count) || count > DB_HOSTS_MAX || address_count > DB_HOSTS_MAX)
		return ST_INVALID_ARGUMENT;
	count = count ? count : address_count;
	if (port_count > 1 && port_count != count)
		return ST_INVALID_ARGUMENT;
	for (unsigned i = 0; i < count; i++) {
		struct db_host *host = &hosts->list[i];
		if ((names[0] && !list_field(names, i, host->name, sizeof(host->name))) ||
		    (addresses[0] && !list_field(addresses, i, host->address, sizeof(host->address))) ||
		    !list_field(ports, port_count > 1 ? i : 0, host->port, sizeof(host->port)))
			return ST_INVALID_ARGUMENT;
		host->asked = host_is_name(host);
		if (host->asked)
			hosts->asked[hosts->asked_count++] = i;
	}
	hosts->count = count;
	if (loop && hosts->asked_count > 0)
		hosts->resolver = resolver_new(loop);
	return ST_OK;
}

void db_hosts_close(struct db_hosts *hosts)
{
	resolver_free(&hosts->resolver);
}

/* ---- asking ---- */

/* What is known of a name stays until it is answered for again: a dead resolver does not take the database away. */
static void hosts_keep(struct db_hosts *hosts, const struct resolved *resolved)
{
	struct resolved merged = *resolved;
	for (unsigned i = 0; i < hosts->known.count && merged.count < RESOLVER_ADDRESSES_MAX; i++) {
		const struct resolved_address *old = &hosts->known.found[i];
		bool answered = false;
		for (unsigned n = 0; n < resolved->count; n++)
			answered = answered || resolved->found[n].name == old->name;
		if (!answered)
			merged.found[merged.count++] = *old;
	}
	hosts->known = merged;
}

static void hosts_on_answer(void *arg, const struct resolved *resolved)
{
	struct db_hosts *hosts = arg;
	hosts->asking = false;
	hosts_keep(hosts, resolved);
	hosts->answered_us = clock_monotonic_us();
	while (hosts->waiting) {
		struct db_hosts_wait *wait = hosts->waiting;
		hosts->waiting = wait->next;
		wait->waits = false;
		wait->fn(wait->arg);
	}
}

void db_hosts_ask(struct db_hosts *hosts, struct db_hosts_wait *wait)
{
	const char *names[DB_HOSTS_MAX];
	bool fresh = hosts->answered_us && clock_monotonic_us() - hosts->answered_us < FRESH_US;
	if (!hosts->resolver || fresh) {
		wait->fn(wait->arg);
		return;
	}
	for (unsigned i = 0; i < hosts->asked_count; i++)
		names[i] = hosts->list[hosts->asked[i]].name;
	if (!hosts->asking)
		hosts->asking = resolver_ask(hosts->resolver, names, hosts->asked_count, hosts_on_answer, hosts);
	wait->waits = true;
	wait->next = hosts->waiting;
	hosts->waiting = wait;
}

void db_hosts_forget(struct db_hosts *hosts, struct db_hosts_wait *wait)
{
	struct db_hosts_wait **at = &hosts->waiting;
	if (!wait->waits)
		return;
	while (*at != wait)
		at = &(*at)->next;
	*at = wait->next;
	wait->waits = false;
}

/* ---- the connection string of now ---- */

struct place {
	const struct db_host *host;
	const char *address;
};

static unsigned hosts_places(const struct db_hosts *hosts, struct place places[DB_HOSTS_MAX + RESOLVER_ADDRESSES_MAX])
{
	unsigned count = 0;
	for (unsigned i = 0; i < hosts->count; i++) {
		const struct db_host *host = &hosts->list[i];
		if (!host->asked)
			places[count++] = (struct place){host, host->address};
		for (unsigned n = 0; n < hosts->known.count; n++) {
			const struct resolved_address *address = &hosts->known.found[n];
			if (hosts->asked[address->name] == i)
				places[count++] = (struct place){host, address->text};
		}
	}
	return count;
}

enum status db_hosts_conninfo(const struct db_hosts *hosts, const struct db_conninfo *info, unsigned turn,
                              struct db_conninfo *ret_info)
{
	struct place places[DB_HOSTS_MAX + RESOLVER_ADDRESSES_MAX];
	struct buf names = {0}, addresses = {0}, ports = {0};
	unsigned count = hosts_places(hosts, places);
	enum status status = ST_UNAVAILABLE;
	if (hosts->count == 0)
		return db_conninfo_copy(info, ret_info);
	if (count == 0)
		return ST_NOT_FOUND;
	for (unsigned i = 0; i < count; i++) {
		const struct place *place = &places[(i + turn) % count];
		const char *comma = i > 0 ? "," : "";
		buf_printf(&names, "%s%s", comma, place->host->name);
		buf_printf(&addresses, "%s%s", comma, place->address);
		buf_printf(&ports, "%s%s", comma, place->host->port);
	}
	buf_add_char(&names, '\0');
	buf_add_char(&addresses, '\0');
	buf_add_char(&ports, '\0');
	struct db_conninfo now = {0};
	if (!buf_ok(&names) || !buf_ok(&addresses) || !buf_ok(&ports) || db_conninfo_copy(info, &now) != ST_OK)
		goto out;
	if (!db_conninfo_set(&now, "host", names.data) || !db_conninfo_set(&now, "hostaddr", addresses.data) ||
	    !db_conninfo_set(&now, "port", ports.data)) {
		db_conninfo_free(&now);
		goto out;
	}
	*ret_info = now;
	status = ST_OK;
out:
	buf_free(&names);
	buf_free(&addresses);
	buf_free(&ports);
	return status;
}
