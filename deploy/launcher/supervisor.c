/* denizen-supervisor: runs the processes of a plan, restarts what dies, stops them in reverse order.
 * usage: denizen-supervisor PLAN STATUS_FILE. SIGTERM, SIGINT or (without nohup) SIGHUP stops everything.
 * STATUS_FILE is rewritten at each change: JSON
 * {"supervisor": pid, "stopping": bool, "processes": [{"name", "pid", "restarts", "started_at"}]}; pid 0 = not running. Any user may
 * read it. */
#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 5000
#define STABLE_MS 10000    /* after so long a process counts as healthy again */
#define STOP_WAIT_MS 15000 /* then SIGKILL */
#define STATUS_RETRY_MS 1000

struct running {
	pid_t pid;
	int restarts;
	int64_t started_ms, start_at_ms; /* start_at: not before, monotonic */
	time_t started_at;
	int backoff_ms;
};

static struct plan plan;
static struct running running[PLAN_PROCESSES_MAX];
static const char *status_path;
static bool is_stopping;
static bool status_stale; /* could not be written, on a full disk for instance: tried again each second */

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void say(const char *name, const char *what, int value)
{
	char line[256];
	int len = snprintf(line, sizeof(line), "denizen-supervisor: %s: %s (%d)\n", name, what, value);
	ssize_t written = write(STDERR_FILENO, line, (size_t)len);
	(void)written;
}

/* Names come from our own launcher: letters, digits and dots only, so nothing needs escaping. */
static void status_write(void)
{
	char temporary[1024];
	snprintf(temporary, sizeof(temporary), "%s.new", status_path);
	status_stale = true;
	FILE *file = fopen(temporary, "we");
	if (!file)
		return;
	fchmod(fileno(file), 0644);
	fprintf(file, "{\"supervisor\": %d, \"stopping\": %s, \"processes\": [", (int)getpid(),
	        is_stopping ? "true" : "false");
	for (int i = 0; i < plan.count; i++)
		fprintf(file, "%s\n {\"name\": \"%s\", \"pid\": %d, \"restarts\": %d, \"started_at\": %lld}",
		        i ? "," : "", plan.processes[i].name, (int)running[i].pid, running[i].restarts,
		        (long long)running[i].started_at);
	fprintf(file, "\n]}\n");
	if (fclose(file) == 0 && rename(temporary, status_path) == 0)
		status_stale = false;
	else
		unlink(temporary);
}

/* ---- in the child ---- */

static bool child_become(const char *user)
{
	if (!user)
		return true;
	struct passwd *entry = getpwnam(user);
	return entry && initgroups(user, entry->pw_gid) == 0 && setgid(entry->pw_gid) == 0 &&
	       setuid(entry->pw_uid) == 0;
}

static void child_environment(const struct plan_process *process)
{
	static const char *const kept[] = {"PATH",         "HOME",          "LANG",        "TZ",
	                                   "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"};
	char *values[sizeof(kept) / sizeof(*kept)];
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		values[i] = getenv(kept[i]) ? strdup(getenv(kept[i])) : NULL;
	clearenv();
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
		if (values[i])
			setenv(kept[i], values[i], 1);
	}
	for (int i = 0; i < process->env_count; i++)
		putenv(process->env[i]);
}

static void child_run(const struct plan_process *process)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	int null = open("/dev/null", O_RDONLY);
	int log = process->log ? open(process->log, O_WRONLY | O_CREAT | O_APPEND, 0640) : -1;
	dup2(null, STDIN_FILENO);
	if (log >= 0) {
		dup2(log, STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
	}
	child_environment(process);
	/* After the change of user, which clears it: nothing outlives a supervisor that was killed. */
	if (child_become(process->user) && prctl(PR_SET_PDEATHSIG, process->stop_signal) == 0)
		execv(process->args[0], process->args);
	say(process->name, strerror(errno), errno);
	_exit(127);
}

/* ---- in the supervisor ---- */

static void process_start(int i)
{
	pid_t pid = fork();
	if (pid == 0)
		child_run(&plan.processes[i]);
	running[i].pid = pid > 0 ? pid : 0;
	running[i].started_ms = now_ms();
	running[i].started_at = time(NULL);
	running[i].start_at_ms = pid > 0 ? 0 : now_ms() + 1000;
	status_write();
}

static int process_of(pid_t pid)
{
	for (int i = 0; i < plan.count; i++) {
		if (running[i].pid == pid)
			return i;
	}
	return -1;
}

static void process_ended(int i, int wait_status)
{
	struct running *process = &running[i];
	process->pid = 0;
	if (is_stopping)
		return;
	say(plan.processes[i].name,
	    WIFSIGNALED(wait_status) ? "killed by signal, starting again" : "ended, starting again",
	    WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status));
	bool was_stable = now_ms() - process->started_ms > STABLE_MS;
	int doubled = process->backoff_ms ? process->backoff_ms * 2 : BACKOFF_MIN_MS;
	process->backoff_ms = was_stable ? BACKOFF_MIN_MS : doubled > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : doubled;
	process->start_at_ms = now_ms() + process->backoff_ms;
	process->restarts++;
}

static void reap(void)
{
	int wait_status;
	pid_t pid;
	bool any = false;
	while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
		int i = process_of(pid);
		if (i >= 0)
			process_ended(i, wait_status);
		any = true;
	}
	if (any)
		status_write();
}

/* Starts what is due; returns milliseconds until the next start, -1 when none is waiting. */
static int start_due(void)
{
	int64_t next_ms = -1, now = now_ms();
	for (int i = 0; i < plan.count; i++) {
		if (running[i].pid)
			continue;
		if (running[i].start_at_ms <= now)
			process_start(i);
		if (running[i].pid)
			continue; /* else the fork failed, and is due again */
		int64_t left = running[i].start_at_ms - now;
		next_ms = next_ms < 0 || left < next_ms ? left : next_ms;
	}
	return (int)next_ms;
}

static void stop_one(int i)
{
	if (!running[i].pid)
		return;
	kill(running[i].pid, plan.processes[i].stop_signal);
	int64_t until = now_ms() + STOP_WAIT_MS;
	while (running[i].pid && now_ms() < until) {
		poll(NULL, 0, 5);
		reap();
	}
	if (!running[i].pid)
		return;
	say(plan.processes[i].name, "does not stop, killing it", (int)running[i].pid);
	kill(running[i].pid, SIGKILL);
	while (running[i].pid) {
		poll(NULL, 0, 5);
		reap();
	}
}

static void supervise(int signal_fd)
{
	for (;;) {
		struct pollfd item = {.fd = signal_fd, .events = POLLIN};
		int wait_ms = start_due();
		if (status_stale && (wait_ms < 0 || wait_ms > STATUS_RETRY_MS))
			wait_ms = STATUS_RETRY_MS;
		if (poll(&item, 1, wait_ms) <= 0) {
			if (status_stale)
				status_write();
			continue;
		}
		struct signalfd_siginfo info;
		if (read(signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
			continue;
		if (info.ssi_signo != SIGCHLD)
			return;
		reap();
	}
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: denizen-supervisor PLAN STATUS_FILE\n");
		return 2;
	}
	if (!plan_read(argv[1], &plan))
		return 2;
	status_path = argv[2];
	sigset_t set;
	struct sigaction hangup;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) /* as nohup sets it */
		sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	supervise(signal_fd);
	is_stopping = true;
	status_write();
	for (int i = plan.count; i-- > 0;)
		stop_one(i);
	unlink(status_path);
	return 0;
}
