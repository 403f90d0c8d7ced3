/* denizen-session: sign-in, sessions, refresh families. */
#include "service.h"

int main(int argc, char **argv)
{
	return service_main(&session_service, argc, argv);
}
