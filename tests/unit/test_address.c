/* Addresses in the forms in which proxies and callers write them, networks, clients behind proxies. */
#include "base/address.h"

#include <criterion/criterion.h>
#include <string.h>

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

Test(address, forms)
{
	static const struct {
		const char *text, *wanted; /* NULL = not understood */
	} rows[] = {
	    {"192.0.2.1", "192.0.2.1"},
	    {" 192.0.2.1\t", "192.0.2.1"},
	    {"192.0.2.1:8080", "192.0.2.1"},
	    {"\"192.0.2.1:8080\"", "192.0.2.1"},
	    {"::ffff:192.0.2.1", "192.0.2.1"},
	    {"[::ffff:192.0.2.1]:80", "192.0.2.1"},
	    {"::FFFF:c000:201", "192.0.2.1"},
	    {"2001:DB8::0001", "2001:db8::1"},
	    {"2001:0db8:0:0:0:0:0:1", "2001:db8::1"},
	    {"[2001:db8::1]", "2001:db8::1"},
	    {"[2001:db8::1]:443", "2001:db8::1"},
	    {"\"[2001:db8::1]:_port\"", "2001:db8::1"},
	    {"2001:db8:0:0:0:0:0:1:443", "2001:db8::1"},
	    {"fe80::1%eth0", "fe80::1"},
	    {"[fe80::1%25en0]:1", "fe80::1"},
	    {"for=192.0.2.43;proto=https;by=203.0.113.43", "192.0.2.43"},
	    {"proto=https; For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"},
	    {"host=\"a,b;c\";for=192.0.2.43", "192.0.2.43"},
	    {"for=192.0.2.43;host=\"a, 8.8.8.8;for=8.8.4.4 \\\" \"", "192.0.2.43"},
	    {"for=1.1.1.1, for=8.8.8.8;secret=x", "8.8.8.8"},
	    {"1.1.1.1, 8.8.8.8", "8.8.8.8"},
	    {"1.1.1.1,8.8.8.8, 10.0.0.7,172.31.0.1, 192.168.3.4, 100.64.0.1, fd00::1, ::1", "8.8.8.8"},
	    {"8.8.8.8, unknown, ", "8.8.8.8"},
	    {",, 8.8.8.8 ,", "8.8.8.8"},
	    {"10.0.0.7, 10.0.0.8", "10.0.0.8"},
	    {"172.32.0.1, 10.0.0.8", "172.32.0.1"},
	    {"", NULL},
	    {" , ,", NULL},
	    {"unknown", NULL},
	    {"_hidden", NULL},
	    {"for=_hidden", NULL},
	    {"by=8.8.8.8", NULL},
	    {"localhost", NULL},
	    {"1.2.3", NULL},
	    {"1.2.3.256", NULL},
	    {"[", NULL},
	    {"[]", NULL},
	    {"\"", NULL},
	    {":", NULL},
	    {"[2001:db8::1", NULL},
	    {"1.2.3.4.5:80", NULL},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct address address;
		char text[ADDRESS_TEXT_SIZE];
		bool found = address_read(rows[i].text, &address);
		cr_assert_eq(found, rows[i].wanted != NULL, "row %zu: %s", i, rows[i].text);
		if (!found)
			continue;
		address_print(&address, text);
		cr_assert_str_eq(text, rows[i].wanted, "row %zu: %s", i, rows[i].text);
	}
	char longer[9000];
	struct address address;
	memset(longer, '7', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	cr_assert_not(address_read(longer, &address));
	memcpy(longer + sizeof(longer) - 11, ", 8.8.8.8 ", 11);
	cr_assert(address_read(longer, &address));
}

Test(address, masks)
{
	static const struct {
		const char *text;
		unsigned v4_bits, v6_bits;
		const char *wanted;
	} rows[] = {
	    {"192.0.2.129", 32, 64, "192.0.2.129"},       {"192.0.2.129", 25, 64, "192.0.2.128"},
	    {"192.0.2.129", 24, 64, "192.0.2.0"},         {"2001:db8:1:2:3:4:5:6", 24, 64, "2001:db8:1:2::"},
	    {"2001:db8:1:2:3::", 24, 48, "2001:db8:1::"}, {"2001:db8::1", 24, 128, "2001:db8::1"},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct address address;
		char text[ADDRESS_TEXT_SIZE];
		cr_assert(address_read(rows[i].text, &address));
		address_mask(&address, rows[i].v4_bits, rows[i].v6_bits);
		address_print(&address, text);
		cr_assert_str_eq(text, rows[i].wanted);
	}
}

static bool list_has(const struct address_list *list, const char *text)
{
	struct address address;
	cr_assert(address_read(text, &address));
	return address_list_has(list, &address);
}

Test(address, networks)
{
	struct address_list list;
	cr_assert_eq(address_list_parse("10.0.0.0/8, 192.168.1.7,2001:db8::/33", &list), ST_OK);
	cr_assert_eq(list.count, 3);
	cr_assert(list_has(&list, "10.255.0.1"));
	cr_assert_not(list_has(&list, "11.0.0.1"));
	cr_assert(list_has(&list, "192.168.1.7"));
	cr_assert_not(list_has(&list, "192.168.1.8"));
	cr_assert(list_has(&list, "2001:db8:7fff::1"));
	cr_assert_not(list_has(&list, "2001:db8:8000::1"));
	cr_assert_eq(address_list_parse("::ffff:10.0.0.0/104", &list), ST_OK);
	cr_assert(list_has(&list, "10.255.0.1"));
	static const char *const bad[] = {"x", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/a", "::1/129", "10.0.0.0/-1"};
	for (size_t i = 0; i < COUNT(bad); i++)
		cr_assert_eq(address_list_parse(bad[i], &list), ST_INVALID_ARGUMENT, "%s", bad[i]);
}

/* 10.0.0.0/8 is trusted. */
Test(address, clients)
{
	static const struct {
		const char *peer;
		const char *lines[3];
		const char *wanted;
	} rows[] = {
	    {"10.1.1.1", {NULL}, "10.1.1.1"},
	    {"10.1.1.1", {"203.0.113.9"}, "203.0.113.9"},
	    {"10.1.1.1", {"6.6.6.6, 203.0.113.9"}, "203.0.113.9"},
	    {"10.1.1.1", {"6.6.6.6, 203.0.113.9:4711"}, "203.0.113.9"},
	    {"10.1.1.1", {"6.6.6.6", "[2001:db8::9]:80"}, "2001:db8::9"},
	    {"10.1.1.1", {"6.6.6.6, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
	    {"10.1.1.1", {"6.6.6.6", "203.0.113.9", "10.0.0.2, 10.0.0.3"}, "203.0.113.9"},
	    {"10.1.1.1", {"for=6.6.6.6;a=\", for=\"[2001:db8::9]:1\";proto=https, for=10.0.0.2"}, "2001:db8::9"},
	    {"10.1.1.1", {"evil\"text, 203.0.113.9"}, "203.0.113.9"},
	    {"10.1.1.1", {"\"\\", "203.0.113.9"}, "203.0.113.9"},
	    {"10.1.1.1", {"6.6.6.6, evil, 10.0.0.2"}, "10.0.0.2"},
	    {"10.1.1.1", {"6.6.6.6, unknown"}, "10.1.1.1"},
	    {"10.1.1.1", {"", " ,"}, "10.1.1.1"},
	    {"8.8.8.8", {"203.0.113.9"}, "8.8.8.8"},
	    {"::ffff:8.8.8.8", {"203.0.113.9"}, "8.8.8.8"},
	    {"local", {"203.0.113.9"}, "local"},
	};
	struct address_list trusted;
	char client[ADDRESS_TEXT_SIZE];
	cr_assert_eq(address_list_parse("10.0.0.0/8", &trusted), ST_OK);
	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t count = 0;
		while (count < COUNT(rows[i].lines) && rows[i].lines[count])
			count++;
		address_client(&trusted, rows[i].peer, rows[i].lines, count, client);
		cr_assert_str_eq(client, rows[i].wanted, "row %zu", i);
	}
}
