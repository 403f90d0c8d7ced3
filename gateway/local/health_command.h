/* The command `denizen-gateway health`: asks the gateway on this machine whether it is ready, for container health checks. */
#pragma once

/* GET /readyz over HTTP. address: IPv4 in text; "" = 127.0.0.1. Waits at most 2 s for each step.
 * Returns the exit status of the command: 0 when the answer is 200, otherwise 1. */
int health_command(const char *address, int port);
