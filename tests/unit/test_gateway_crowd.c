/* Whose connection ends when places run out. */
#include "http/crowd.h"

#include <criterion/criterion.h>
#include <string.h>

static struct crowd_member member(const char *site, int64_t idle_ms)
{
	struct crowd_member member = {.idle_ms = idle_ms};
	cr_assert(address_read(site, &member.site));
	return member;
}

static size_t leaving(const struct crowd_member *members, size_t count, const char *site)
{
	struct crowd_member wanted = member(site, 0);
	size_t found = 0;
	for (size_t i = 0; i < count; i++)
		found += members[i].leaves && memcmp(&members[i].site, &wanted.site, sizeof(wanted.site)) == 0;
	return found;
}

static struct crowd choose(struct crowd_member *members, size_t count, size_t share, size_t need)
{
	struct crowd crowd = {.members = members, .count = count, .share = share};
	crowd_choose(&crowd, need);
	return crowd;
}

Test(gateway_crowd, who_has_more_than_a_share_leaves_first)
{
	struct crowd_member members[10];
	for (int i = 0; i < 8; i++)
		members[i] = member("1.1.1.1", CROWD_SHARE_GRACE_MS + i); /* just now */
	members[8] = member("2.2.2.2", 60000);
	members[9] = member("2.2.2.2", 90000);
	cr_assert_eq(choose(members, 10, 4, 3).site_count, 1, "it still has five");
	cr_assert_eq(leaving(members, 10, "1.1.1.1"), 3);
	cr_assert_eq(leaving(members, 10, "2.2.2.2"), 0);
	for (size_t i = 0; i < 10; i++)
		cr_assert(!members[i].leaves || members[i].idle_ms >= CROWD_SHARE_GRACE_MS + 5,
		          "the longest idle ones");
}

Test(gateway_crowd, a_share_is_left_to_everybody)
{
	struct crowd_member members[8];
	for (int i = 0; i < 6; i++)
		members[i] = member("1.1.1.1", CROWD_SHARE_GRACE_MS + i);
	members[6] = member("2.2.2.2", 60000);
	members[7] = member("2.2.2.2", 100);
	cr_assert_eq(choose(members, 8, 4, 5).site_count, 0);
	cr_assert_eq(leaving(members, 8, "1.1.1.1"), 2, "down to its share, as the others are too young");
	cr_assert_eq(leaving(members, 8, "2.2.2.2"), 1);
}

Test(gateway_crowd, who_works_or_has_just_come_stays)
{
	struct crowd_member members[4];
	for (int i = 0; i < 4; i++)
		members[i] = member("1.1.1.1", i % 2 == 0 ? -1 : CROWD_SHARE_GRACE_MS - 1);
	struct crowd crowd = choose(members, 4, 2, 2);
	cr_assert_eq(crowd.site_count, 1);
	cr_assert_eq(leaving(members, 4, "1.1.1.1"), 0);
	cr_assert_eq(memcmp(&crowd.sites[0], &members[0].site, sizeof(crowd.sites[0])), 0);
}

Test(gateway_crowd, proxies_have_no_share)
{
	struct crowd_member members[5];
	for (int i = 0; i < 4; i++) {
		members[i] = member("1.1.1.1", 1000);
		members[i].exempt = true;
	}
	members[4] = member("2.2.2.2", 2000);
	cr_assert_eq(choose(members, 5, 1, 1).site_count, 0);
	cr_assert_eq(leaving(members, 5, "2.2.2.2"), 1, "only who idles longest");
	cr_assert_eq(choose(members, 0, 1, 1).site_count, 0);
}
