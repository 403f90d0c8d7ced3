/* The plan: which processes the supervisor runs. A text file, one directive a line:
 *
 *   process NAME      begins a process; they are started in this order and stopped in the reverse order
 *   user NAME         runs as this user (only root may)
 *   log FILE          stdout and stderr are appended here
 *   env NAME=VALUE    added to an otherwise small environment (PATH, HOME, LANG, TZ are kept)
 *   signal NAME       stops it: TERM (default) or INT
 *   arg TEXT          one argument; the first is the program
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#define PLAN_PROCESSES_MAX 64
#define PLAN_ARGS_MAX 32
#define PLAN_ENV_MAX 48

struct plan_process {
	char *name, *user, *log;
	char *args[PLAN_ARGS_MAX + 1]; /* NULL-ended */
	char *env[PLAN_ENV_MAX + 1];
	int arg_count, env_count;
	int stop_signal;
};

struct plan {
	struct plan_process processes[PLAN_PROCESSES_MAX];
	int count;
};

/* Reads a plan; false with a sentence on stderr when the file is unreadable or has a bad line. The strings live until the
 * program ends. */
bool plan_read(const char *path, struct plan *ret_plan);
