/* Bus keys on disk: pairs, modes, the allow-list, replacement. */
#include "base/log.h"
#include "bus/bus_config.h"
#include "bus/bus_keys.h"

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
	struct allow_list list = {0};
	char path[128];
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
	allow_list_free(&first);
	allow_list_free(&again);
	allow_list_free(&replaced);
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

/* At each start the lines of the processes go to the end of the list. */
Test(bus_keys, many_subscribers_shut_nobody_out)
{
	char dir[] = "/tmp/denizen-keys-XXXXXX", path[128];
	log_init("test", LOG_ERROR);
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(bus_keys_ensure(dir), ST_OK);
	path_of(dir, "public/allow", path);
	FILE *file = fopen(path, "a");
	cr_assert_not_null(file);
	for (int i = 0; i < 300; i++)
		fprintf(file, "%040d subscriber\n", i);
	fclose(file);
	cr_assert_eq(bus_keys_ensure(dir), ST_OK);
	struct allow_list list = list_read(dir);
	cr_expect_eq(list.count, 305);
	unsigned processes = 0;
	for (unsigned i = 0; i < list.count; i++)
		processes += strcmp(list.entries[i].process->name, "subscriber") != 0;
	cr_expect_eq(processes, 5, "%u processes are admitted", processes);
	allow_list_free(&list);
}
