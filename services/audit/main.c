/* denizen-audit: the ledger of all events. */
#include "service.h"

int main(int argc, char **argv)
{
	return service_main(&audit_service, argc, argv);
}
