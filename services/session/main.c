/* denizen-session: sign-in, sessions, refresh families. */
#include "service.h"

int main(int argc, char **argv)
{
	return process_main(&session_service, argc, argv);
}
