/* Reads the supervisor's plan file. */
#include "plan.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool word_add(char **list, int *count, int max, const char *text)
{
	if (*count == max)
		return false;
	list[*count] = strdup(text);
	return list[(*count)++];
}

static bool text_set(char **slot, const char *text)
{
	if (*slot)
		return false;
	*slot = strdup(text);
	return *slot;
}

static bool directive_apply(struct plan *plan, const char *key, const char *value)
{
	if (strcmp(key, "process") == 0) {
		if (plan->count == PLAN_PROCESSES_MAX)
			return false;
		struct plan_process *added = &plan->processes[plan->count++];
		added->stop_signal = SIGTERM;
		return text_set(&added->name, value);
	}
	if (plan->count == 0)
		return false;
	struct plan_process *process = &plan->processes[plan->count - 1];
	if (strcmp(key, "user") == 0)
		return text_set(&process->user, value);
	if (strcmp(key, "log") == 0)
		return text_set(&process->log, value);
	if (strcmp(key, "env") == 0)
		return strchr(value, '=') && word_add(process->env, &process->env_count, PLAN_ENV_MAX, value);
	if (strcmp(key, "arg") == 0)
		return word_add(process->args, &process->arg_count, PLAN_ARGS_MAX, value);
	if (strcmp(key, "signal") == 0) {
		process->stop_signal = strcmp(value, "INT") == 0 ? SIGINT : SIGTERM;
		return true;
	}
	return false;
}

bool plan_read(const char *path, struct plan *ret_plan)
{
	FILE *file = fopen(path, "re");
	char line[4096];
	int number = 0;
	bool ok = file;
	memset(ret_plan, 0, sizeof(*ret_plan));
	while (ok && fgets(line, sizeof(line), file)) {
		number++;
		line[strcspn(line, "\r\n")] = '\0';
		char *value = strchr(line, ' ');
		if (line[0] == '\0' || line[0] == '#')
			continue;
		if (value)
			*value++ = '\0';
		ok = value && directive_apply(ret_plan, line, value);
	}
	if (!ok)
		fprintf(stderr, "denizen-supervisor: %s: cannot use line %d of the plan\n", path, number);
	if (file)
		fclose(file);
	return ok && ret_plan->count > 0;
}
