/* What failures are counted by: addresses of one network fall together, login ids of one user too; other users, networks and projects do not. */
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

static struct throttle_keys keys_of(const struct throttle_who *who, const char *ip_address)
{
	struct throttle_keys keys;
	struct address address;
	bool told = ip_address && address_read(ip_address, &address);
	throttle_make_keys(key, &project, who, told ? &address : NULL, &keys);
	return keys;
}

static struct throttle_keys nobody(const char *login, const char *ip_address)
{
	return keys_of(&(struct throttle_who){.login = login}, ip_address);
}

#define SAME(a, b) (memcmp((a), (b), THROTTLE_KEY_SIZE) == 0)

Test(session_throttle, login_ids_and_networks_are_apart, .init = set_up)
{
	struct throttle_keys a = nobody("ann@example.com", "192.0.2.1");
	struct throttle_keys b = nobody("ann@example.com", "192.0.2.254");
	cr_assert(SAME(a.pair, b.pair) && SAME(a.user, b.user) && SAME(a.network, b.network));
	struct throttle_keys c = nobody("bob@example.com", "192.0.2.1");
	cr_assert(!SAME(a.pair, c.pair) && !SAME(a.user, c.user) && SAME(a.network, c.network));
	struct throttle_keys d = nobody("ann@example.com", "192.0.3.1");
	cr_assert(!SAME(a.pair, d.pair) && SAME(a.user, d.user) && !SAME(a.network, d.network));
}

Test(session_throttle, a_user_is_one_by_all_login_ids_and_anew_with_another_password, .init = set_up)
{
	struct id ann = id_new(), bob = id_new();
	uint8_t one[16] = {1}, two[16] = {2};
	struct throttle_who who = {.user = &ann, .secret = {16, one}, .login = "ann"};
	struct throttle_keys a = keys_of(&who, "192.0.2.1");
	who.login = "ann@example.com";
	struct throttle_keys b = keys_of(&who, "192.0.2.1");
	cr_assert(SAME(a.pair, b.pair) && SAME(a.user, b.user) && SAME(a.known, b.known));
	who.secret.data = two;
	struct throttle_keys c = keys_of(&who, "192.0.2.1");
	cr_assert(!SAME(a.pair, c.pair) && !SAME(a.user, c.user) && SAME(a.known, c.known) &&
	          SAME(a.network, c.network));
	who.user = &bob;
	struct throttle_keys d = keys_of(&who, "192.0.2.1");
	cr_assert(!SAME(c.pair, d.pair) && !SAME(c.user, d.user) && !SAME(c.known, d.known));
	who.secret = (ProtobufCBinaryData){0};
	struct throttle_keys e = keys_of(&who, "192.0.2.1");
	cr_assert(!SAME(d.pair, e.pair) && SAME(d.known, e.known), "a user without a password");
}

Test(session_throttle, networks, .init = set_up)
{
	struct throttle_keys a = nobody("a", "2001:db8:1::1");
	struct throttle_keys b = nobody("a", "2001:db8:1:ffff::2");
	struct throttle_keys c = nobody("a", "2001:db8:2::1");
	struct throttle_keys none = nobody("a", NULL);
	cr_assert(SAME(a.network, b.network) && !SAME(a.network, c.network));
	cr_assert(a.has_address && !none.has_address && !SAME(none.network, a.network));
	cr_assert(!SAME(none.pair, none.user) && !SAME(none.known, none.user), "kinds are apart");
}

Test(session_throttle, projects_are_apart_and_the_longest_login_id_fits, .init = set_up)
{
	char login[LOGIN_SIZE];
	memset(login, 'x', sizeof(login) - 1);
	login[sizeof(login) - 1] = '\0';
	struct throttle_keys a = nobody(login, "192.0.2.1");
	project = id_new();
	struct throttle_keys b = nobody(login, "192.0.2.1");
	cr_assert(!SAME(a.pair, b.pair) && !SAME(a.user, b.user) && !SAME(a.network, b.network) &&
	          !SAME(a.known, b.known));
}
