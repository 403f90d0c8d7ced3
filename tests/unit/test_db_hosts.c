/* What libpq is told of the hosts of a connection string: each address beside its name, so that it looks none up. */
#include "db/db_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *value_of(const struct db_conninfo *info, const char *keyword)
{
	for (size_t i = 0; info->keywords[i]; i++) {
		if (strcmp(info->keywords[i], keyword) == 0)
			return info->values[i];
	}
	return "";
}

static enum status hosts_of(const char *conninfo, struct db_hosts *hosts, struct db_conninfo *info)
{
	struct db_options options = {.conninfo = conninfo, .schema = "test"};
	memset(hosts, 0, sizeof(*hosts));
	enum status status = db_conninfo_new(&options, false, info);
	return status == ST_OK ? db_hosts_init(hosts, info, NULL) : status;
}

static void know(struct db_hosts *hosts, unsigned name, const char *address)
{
	struct resolved_address *known = &hosts->known.found[hosts->known.count++];
	known->name = name;
	snprintf(known->text, sizeof(known->text), "%s", address);
}

static void check(const struct db_hosts *hosts, const struct db_conninfo *info, unsigned turn, const char *names,
                  const char *addresses, const char *ports)
{
	struct db_conninfo now;
	cr_assert_eq(db_hosts_conninfo(hosts, info, turn, &now), ST_OK);
	cr_expect_str_eq(value_of(&now, "host"), names);
	cr_expect_str_eq(value_of(&now, "hostaddr"), addresses);
	cr_expect_str_eq(value_of(&now, "port"), ports);
	cr_expect_str_eq(value_of(&now, "user"), "me");
	db_conninfo_free(&now);
}

Test(db_hosts, names_get_their_addresses)
{
	struct db_hosts hosts;
	struct db_conninfo info;
	cr_assert_eq(hosts_of("host=a,/run/pg,b,::1 port=1,2,3,4 user=me", &hosts, &info), ST_OK);
	cr_assert_eq(hosts.asked_count, 2);
	check(&hosts, &info, 0, "/run/pg,::1", ",", "2,4"); /* nothing is known yet */
	know(&hosts, 0, "10.0.0.1");
	know(&hosts, 0, "fd00::1");
	know(&hosts, 1, "10.0.0.2");
	check(&hosts, &info, 0, "a,a,/run/pg,b,::1", "10.0.0.1,fd00::1,,10.0.0.2,", "1,1,2,3,4");
	check(&hosts, &info, 3, "b,::1,a,a,/run/pg", "10.0.0.2,,10.0.0.1,fd00::1,", "3,4,1,1,2");
	db_conninfo_free(&info);
}

Test(db_hosts, addresses_that_are_given_are_kept)
{
	struct db_hosts hosts;
	struct db_conninfo info;
	cr_assert_eq(hosts_of("host=a,b hostaddr=10.0.0.1,10.0.0.2 user=me port=5", &hosts, &info), ST_OK);
	cr_expect_eq(hosts.asked_count, 0);
	check(&hosts, &info, 1, "b,a", "10.0.0.2,10.0.0.1", "5,5");
	db_conninfo_free(&info);
	cr_assert_eq(hosts_of("hostaddr=10.0.0.1 user=me port=5", &hosts, &info), ST_OK);
	check(&hosts, &info, 0, "", "10.0.0.1", "5");
	db_conninfo_free(&info);
}

Test(db_hosts, the_environment_is_looked_up_as_well)
{
	struct db_hosts hosts;
	struct db_conninfo info, now;
	setenv("PGHOST", "db.test", 1);
	cr_assert_eq(hosts_of("user=me", &hosts, &info), ST_OK);
	cr_expect_eq(hosts.asked_count, 1);
	cr_expect_eq(db_hosts_conninfo(&hosts, &info, 0, &now), ST_NOT_FOUND, "libpq would look the name up");
	db_conninfo_free(&info);
	cr_assert_eq(hosts_of("host=/run/pg user=me port=7", &hosts, &info), ST_OK);
	check(&hosts, &info, 0, "/run/pg", "", "7");
	db_conninfo_free(&info);
	unsetenv("PGHOST");
	cr_assert_eq(hosts_of("user=me", &hosts, &info), ST_OK);
	cr_assert_eq(db_hosts_conninfo(&hosts, &info, 0, &now), ST_OK, "the default Unix socket");
	cr_expect_str_eq(value_of(&now, "host"), "");
	db_conninfo_free(&now);
	db_conninfo_free(&info);
}

Test(db_hosts, what_does_not_fit_is_refused)
{
	static const char *const bad[] = {"host=a,b hostaddr=10.0.0.1", "host=a port=1,2", "host=a,b,c port=1,2",
	                                  "host=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "service=x"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct db_hosts hosts;
		struct db_conninfo info = {0};
		cr_expect_eq(hosts_of(bad[i], &hosts, &info), ST_INVALID_ARGUMENT, "%s", bad[i]);
		db_conninfo_free(&info);
	}
}
