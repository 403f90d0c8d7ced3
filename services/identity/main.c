/* denizen-identity: projects, keys, users, passwords. */
#include "service.h"

int main(int argc, char **argv)
{
	return process_main(&identity_service, argc, argv);
}
