/* denizen-audit: the ledger of all events. */
#include "service.h"

int main(int argc, char **argv)
{
	return process_main(&audit_service, argc, argv);
}
