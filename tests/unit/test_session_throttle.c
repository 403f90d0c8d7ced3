/* What failures are counted by: addresses of one network fall together, other networks, login ids and projects do not. */
#include "../../services/session/throttle.h"

#include <criterion/criterion.h>
#include <string.h>

static uint8_t key[SHA256_SIZE];
static struct id project;

static void set_up(void)
{
	secret_init();
	secret_random(key, sizeof(key));
	project = id_new();
}

static struct throttle_keys keys_of(const char *login_id, const char *ip_address)
{
	struct throttle_keys keys;
	struct address address;
	bool told = ip_address && address_read(ip_address, &address);
	throttle_make_keys(key, &project, login_id, told ? &address : NULL, &keys);
	return keys;
}

#define SAME(a, b) (memcmp((a), (b), THROTTLE_KEY_SIZE) == 0)

Test(session_throttle, login_ids_and_networks_are_apart, .init = set_up)
{
	struct throttle_keys a = keys_of("ann@example.com", "192.0.2.1");
	struct throttle_keys b = keys_of("ann@example.com", "192.0.2.254");
	cr_assert(SAME(a.pair, b.pair) && SAME(a.login, b.login) && SAME(a.network, b.network));
	struct throttle_keys c = keys_of("bob@example.com", "192.0.2.1");
	cr_assert(!SAME(a.pair, c.pair) && !SAME(a.login, c.login) && SAME(a.network, c.network));
	struct throttle_keys d = keys_of("ann@example.com", "192.0.3.1");
	cr_assert(!SAME(a.pair, d.pair) && SAME(a.login, d.login) && !SAME(a.network, d.network));
}

Test(session_throttle, networks, .init = set_up)
{
	struct throttle_keys a = keys_of("a", "2001:db8:1::1");
	struct throttle_keys b = keys_of("a", "2001:db8:1:ffff::2");
	struct throttle_keys c = keys_of("a", "2001:db8:2::1");
	struct throttle_keys none = keys_of("a", NULL);
	cr_assert(SAME(a.network, b.network) && !SAME(a.network, c.network));
	cr_assert(a.has_address && !none.has_address && !SAME(none.network, a.network));
	cr_assert(!SAME(none.pair, none.login), "kinds are apart");
}

Test(session_throttle, projects_are_apart_and_the_longest_login_id_fits, .init = set_up)
{
	char login[LOGIN_SIZE];
	memset(login, 'x', sizeof(login) - 1);
	login[sizeof(login) - 1] = '\0';
	struct throttle_keys a = keys_of(login, "192.0.2.1"), b;
	struct id other = id_new();
	struct address address;
	cr_assert(address_read("192.0.2.1", &address));
	throttle_make_keys(key, &other, login, &address, &b);
	cr_assert(!SAME(a.pair, b.pair) && !SAME(a.login, b.login) && !SAME(a.network, b.network));
}
