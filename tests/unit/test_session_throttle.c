/* What failures are counted by: spellings of one login id and addresses of one network fall together, others do not. */
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
	throttle_make_keys(key, &project, login_id, ip_address, &keys);
	return keys;
}

#define SAME(a, b) (memcmp((a), (b), THROTTLE_KEY_SIZE) == 0)

Test(session_throttle, canonical_addresses)
{
	const struct {
		const char *text, *canonical;
	} cases[] = {
	    {"192.0.2.1", "192.0.2.1"},
	    {"::ffff:192.0.2.1", "192.0.2.1"},
	    {"2001:DB8:0:0::1", "2001:db8::1"},
	    {"::1", "::1"},
	    {"", NULL},
	    {"192.0.2.256", NULL},
	    {"192.0.2.1 ", NULL},
	    {"192.0.2", NULL},
	    {"fe80::1%eth0", NULL},
	    {"localhost", NULL},
	    {"192.0.2.1:80", NULL},
	    {"[::1]", NULL},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[INET6_ADDRSTRLEN] = "";
		bool ok = throttle_parse_address(cases[i].text, text);
		cr_assert_eq(ok, cases[i].canonical != NULL, "%s", cases[i].text);
		if (ok)
			cr_assert_str_eq(text, cases[i].canonical);
	}
}

Test(session_throttle, spellings_fall_together, .init = set_up)
{
	struct throttle_keys a = keys_of("Ann@Example.com", "192.0.2.1");
	struct throttle_keys b = keys_of(" ann@example.COM\t", "192.0.2.254");
	cr_assert(SAME(a.pair, b.pair) && SAME(a.login, b.login) && SAME(a.network, b.network));
	const char *spellings[] = {"\uff21nn@example.com", "an\u200bn@example.com", "ann@ex\u00adample\u3002com",
	                           "ann@EXAMPLE\uff0ecom"};
	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		struct throttle_keys spelled = keys_of(spellings[i], "192.0.2.1");
		cr_assert(SAME(a.pair, spelled.pair) && SAME(a.login, spelled.login), "spelling %zu", i);
	}
	struct throttle_keys c = keys_of("bob@example.com", "192.0.2.1");
	cr_assert(!SAME(a.pair, c.pair) && !SAME(a.login, c.login) && SAME(a.network, c.network));
	struct throttle_keys d = keys_of("ann@example.com", "192.0.3.1");
	cr_assert(!SAME(a.pair, d.pair) && SAME(a.login, d.login) && !SAME(a.network, d.network));
}

/* identity keeps a domain as A-labels, whichever way it came. */
Test(session_throttle, spellings_of_a_domain_fall_together, .init = set_up)
{
	struct throttle_keys a = keys_of("ann@b\u00fccher.fa\u00df.example", "192.0.2.1");
	const char *spellings[] = {"ann@xn--bcher-kva.xn--fa-hia.example", "Ann@XN--BCHER-KVA.fa\u00df.Example",
	                           "ann@B\u00dcCHER.xn--fa-hia.example", "ann\uff20xn--bcher-kva.fa\u00df.example"};
	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		struct throttle_keys spelled = keys_of(spellings[i], "192.0.2.1");
		cr_assert(SAME(a.pair, spelled.pair) && SAME(a.login, spelled.login), "spelling %zu", i);
	}
	struct throttle_keys b = keys_of("ann@xn--bcher-kvb.example", "192.0.2.1");
	cr_assert(!SAME(a.login, b.login));
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

Test(session_throttle, projects_are_apart_and_long_login_ids_fit, .init = set_up)
{
	char login_id[1000];
	memset(login_id, 'x', sizeof(login_id) - 1);
	login_id[sizeof(login_id) - 1] = '\0';
	struct throttle_keys a = keys_of(login_id, "192.0.2.1"), b;
	struct id other = id_new();
	throttle_make_keys(key, &other, login_id, "192.0.2.1", &b);
	cr_assert(!SAME(a.pair, b.pair) && !SAME(a.login, b.login) && !SAME(a.network, b.network));
}
