/* The program denizen-claims. */
#include "service.h"

int main(int argc, char **argv)
{
	return process_main(&claims_service, argc, argv);
}
