/* The program denizen-claims. */
#include "service.h"

int main(int argc, char **argv)
{
	return service_main(&claims_service, argc, argv);
}
