/* denizen-keys: makes the bus keys of an installation, and keys for subscribers. */
#include "base/log.h"
#include "bus/bus_keys.h"

#include <stdio.h>
#include <string.h>

static int usage(void)
{
	fprintf(stderr, "usage: denizen-keys DIR                       make what is missing\n"
	                "       denizen-keys DIR subscriber NAME [PRJ]  make a key pair for a feed subscriber\n");
	return 2;
}

static int subscriber_add(const char *dir, const char *name, const char *project_text)
{
	struct id project;
	if (project_text && !id_parse("prj", project_text, &project)) {
		fprintf(stderr, "denizen-keys: %s is no project id\n", project_text);
		return 2;
	}
	enum status status = bus_keys_add_subscriber(dir, name, project_text ? &project : NULL);
	if (status == ST_INVALID_ARGUMENT)
		fprintf(stderr, "denizen-keys: %s: a name has 1 to 40 lower-case letters, digits and dashes\n", name);
	else if (status != ST_OK)
		fprintf(stderr, "denizen-keys: %s: %s\n", name, status_info(status)->text);
	return status == ST_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
	log_init("keys", LOG_INFO);
	secret_init();
	if (argc == 2)
		return bus_keys_ensure(argv[1]) == ST_OK ? 0 : 1;
	if ((argc == 4 || argc == 5) && strcmp(argv[2], "subscriber") == 0)
		return subscriber_add(argv[1], argv[3], argc == 5 ? argv[4] : NULL);
	return usage();
}
