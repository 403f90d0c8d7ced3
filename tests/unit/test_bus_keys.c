/* Bus keys on disk: pairs, modes, the allow-list, replacement. */
#include "bus_config.h"
#include "bus_keys.h"
#include "log.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void path_of(const char *dir, const char *rest, char ret_path[128])
{
	snprintf(ret_path, 128, "%s/%s", dir, rest);
}

static struct allow_list list_read(const char *dir)
{
	static struct allow_list list;
	char path[128];
	memset(&list, 0, sizeof(list));
	path_of(dir, "public", path);
	cr_assert_eq(allow_list_read(path, &list), ST_OK);
	return list;
}

Test(bus_keys, are_made_once_and_replaced_ones_are_forgotten)
{
	char dir[] = "keys-XXXXXX", path[128];
	struct stat info;
	log_init("test", LOG_ERROR);
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(bus_keys_ensure(dir), ST_OK);
	struct allow_list first = list_read(dir);
	cr_expect_eq(first.count, 5);
	path_of(dir, "secret/gateway.key", path);
	cr_assert_eq(stat(path, &info), 0);
	cr_expect_eq(info.st_mode & 0777, 0600);
	cr_assert_eq(bus_keys_ensure(dir), ST_OK);
	struct allow_list again = list_read(dir);
	cr_expect_eq(again.count, 5);
	for (unsigned i = 0; i < first.count; i++)
		cr_expect_not_null(allow_list_find_key(&again, first.entries[i].key));

	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(bus_keys_ensure(dir), ST_OK);
	struct allow_list replaced = list_read(dir);
	cr_expect_eq(replaced.count, 5);
	unsigned kept = 0;
	for (unsigned i = 0; i < first.count; i++)
		kept += allow_list_find_key(&replaced, first.entries[i].key) != NULL;
	cr_expect_eq(kept, 4, "the replaced key is admitted no more");
}

Test(bus_keys, subscribers_are_bound_to_a_project)
{
	char dir[] = "keys-XXXXXX";
	struct id project = id_new();
	log_init("test", LOG_ERROR);
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(bus_keys_ensure(dir), ST_OK);
	cr_expect_eq(bus_keys_add_subscriber(dir, "billing", &project), ST_OK);
	cr_expect_eq(bus_keys_add_subscriber(dir, "mirror", NULL), ST_OK);
	char allow[64];
	snprintf(allow, sizeof(allow), "%s/public/allow", dir);
	cr_assert_eq(unlink(allow), 0);
	cr_assert_eq(bus_keys_ensure(dir), ST_OK);
	cr_expect_eq(bus_keys_add_subscriber(dir, "mirror", NULL), ST_OK, "its line was never written");
	cr_expect_eq(bus_keys_add_subscriber(dir, "billing", &project), ST_OK);
	cr_expect_eq(bus_keys_add_subscriber(dir, "billing", NULL), ST_ALREADY_EXISTS);
	cr_expect_eq(bus_keys_add_subscriber(dir, "gateway", NULL), ST_ALREADY_EXISTS);
	cr_expect_eq(bus_keys_add_subscriber(dir, "../x", NULL), ST_INVALID_ARGUMENT);
	cr_expect_eq(bus_keys_add_subscriber(dir, "", NULL), ST_INVALID_ARGUMENT);
	cr_assert_eq(bus_keys_ensure(dir), ST_OK);
	struct allow_list list = list_read(dir);
	cr_expect_eq(list.count, 7, "subscribers stay when the processes' keys are looked after");
	unsigned bound = 0;
	for (unsigned i = 0; i < list.count; i++)
		bound += id_equal(&list.entries[i].project, &project);
	cr_expect_eq(bound, 1);
}
