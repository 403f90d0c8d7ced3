/* Endpoints of the bus, as settings name them. */
#include "bus/endpoint.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(endpoint, forms)
{
	static const struct {
		const char *text, *address, *pub;
	} good[] = {
	    {"identity:7001", "tcp://identity:7001", "tcp://identity:8001"},
	    {"127.0.0.1:64535", "tcp://127.0.0.1:64535", "tcp://127.0.0.1:65535"},
	    {"*:7001", "tcp://*:7001", "tcp://*:8001"},
	    {"[::1]:7001", "tcp://[::1]:7001", "tcp://[::1]:8001"},
	    {"[fe80::1%eth0]:1", "tcp://[fe80::1%eth0]:1", "tcp://[fe80::1%eth0]:1001"},
	    {"::1:7001", "tcp://[::1]:7001", "tcp://[::1]:8001"},
	    {"ipc:///run/bus", "ipc:///run/bus", "ipc:///run/bus.pub"},
	};
	char address[ENDPOINT_ADDRESS_SIZE];
	struct endpoint endpoint;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		cr_assert_eq(endpoint_parse(good[i].text, &endpoint), ST_OK, "%s", good[i].text);
		endpoint_address(&endpoint, false, address);
		cr_expect_str_eq(address, good[i].address);
		endpoint_address(&endpoint, true, address);
		cr_expect_str_eq(address, good[i].pub);
	}
}

Test(endpoint, what_is_none)
{
	static const char *const bad[] = {"",        "host",    ":7001",   "host:",     "host:0", "host:64536",
	                                  "host:7x", "host:+7", "[]:7001", "[::1:7001", "[::1]7", "ipc://"};
	struct endpoint endpoint;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_eq(endpoint_parse(bad[i], &endpoint), ST_INVALID_ARGUMENT, "%s", bad[i]);
	char longer[400];
	memset(longer, 'a', sizeof(longer));
	snprintf(longer + 300, sizeof(longer) - 300, ":7001");
	cr_expect_eq(endpoint_parse(longer, &endpoint), ST_INVALID_ARGUMENT);
	memcpy(longer, "ipc:///", 7);
	cr_expect_eq(endpoint_parse(longer, &endpoint), ST_INVALID_ARGUMENT);
}

Test(endpoint, lists)
{
	const char *list = "a:1,[::1]:2,,ipc:///x";
	struct endpoint endpoint;
	cr_expect_eq(endpoint_next(&list, &endpoint), ST_OK);
	cr_expect_str_eq(endpoint.host, "a");
	cr_expect_eq(endpoint_next(&list, &endpoint), ST_OK);
	cr_expect_str_eq(endpoint.host, "::1");
	cr_expect_eq(endpoint_next(&list, &endpoint), ST_INVALID_ARGUMENT);
	cr_expect_eq(endpoint_next(&list, &endpoint), ST_OK);
	cr_expect(endpoint.local);
	cr_expect_null(list);
}
