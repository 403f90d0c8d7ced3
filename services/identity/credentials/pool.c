/* The threads that hash passwords, with a bounded queue, and how they step back for others. */
#include "credentials/pool.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "credentials/share.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PASSWORD_ROOM 1024
#define THREADS_MAX 64
#define COST_START_US (30 * US_PER_MS)
#define PATIENCE_US (20 * US_PER_MS)

enum job_state { JOB_NEW, JOB_QUEUED, JOB_RUNNING, JOB_DONE };

/* Self-contained, since a caller that gave up may be gone when the thread is done with it. */
struct job {
	struct job *next;
	struct wait wait;
	enum job_state state;
	bool abandoned; /* nobody waits any more: the thread frees it */
	bool check;     /* check `hash`; else make one into it */
	bool heavy;     /* an imported hash that costs much: one at a time */
	enum status status;
	struct id project;
	uint64_t turn; /* projects take turns: its n-th waiting job comes after every other project's first n - 1 */
	int64_t deadline_us;
	size_t password_len;
	char password[PASSWORD_ROOM];
	char hash[PASSWORD_HASH_SIZE];
};

struct pool {
	struct pool_options options;
	unsigned threads;
	pthread_t handles[THREADS_MAX];
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* under the lock */
	struct job *first; /* in order of turns */
	uint64_t turn;     /* of the last job that was taken */
	unsigned queued;
	bool heavy_running;
	int64_t cost_us; /* moving average of one job, the rest after it included */
	struct share share;
	bool stopping;
	struct metric *refused, *hash_time;
};

static void job_free(struct job *job)
{
	secret_wipe(job, sizeof(*job));
	free(job);
}

/* ---- the threads ---- */

static void thread_lower_priority(enum pool_priority priority)
{
	struct sched_param none = {0};
	if (priority == POOL_IDLE)
		sched_setscheduler(0, SCHED_IDLE, &none); /* 0: the calling thread, on Linux */
	else if (priority == POOL_NICE)
		setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
}

/* Takes *at out of the queue. Under the lock. */
static struct job *pool_unlink(struct pool *pool, struct job **at)
{
	struct job *job = *at;
	*at = job->next;
	pool->queued--;
	return job;
}

/* The next job in time; those whose deadline passed are answered unhashed. NULL when none may run. Under the lock. */
static struct job *pool_take_job(struct pool *pool)
{
	for (struct job **at = &pool->first; *at;) {
		if ((*at)->heavy && pool->heavy_running) {
			at = &(*at)->next;
			continue;
		}
		struct job *job = pool_unlink(pool, at);
		if (clock_monotonic_us() < job->deadline_us) {
			job->state = JOB_RUNNING;
			pool->turn = job->turn > pool->turn ? job->turn : pool->turn;
			pool->heavy_running = pool->heavy_running || job->heavy;
			return job;
		}
		job->state = JOB_DONE;
		job->status = ST_DEADLINE_EXCEEDED;
		wait_done(&job->wait);
	}
	return NULL;
}

static int64_t thread_cpu_us(void)
{
	struct timespec used;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return used.tv_sec * US_PER_SEC + used.tv_nsec / 1000;
}

static void thread_rest(int64_t rest_us)
{
	struct timespec rest = {.tv_sec = rest_us / US_PER_SEC, .tv_nsec = rest_us % US_PER_SEC * 1000};
	if (rest_us > 0)
		nanosleep(&rest, NULL);
}

static enum status job_execute(struct job *job, const struct password_params *params)
{
	if (job->check)
		return password_verify(job->hash, job->password, job->password_len);
	return password_hash(params, job->password, job->password_len, job->hash);
}

static void pool_finish_job(struct pool *pool, struct job *job, enum status status, int64_t took_us)
{
	if (job->heavy)
		pool->heavy_running = false;
	else
		pool->cost_us += (took_us - pool->cost_us) / 8;
	job->status = status;
	job->state = JOB_DONE;
	if (job->abandoned)
		job_free(job);
	else
		wait_done(&job->wait); /* under the lock: the waiter frees the job only with the lock in hand */
}

static void *pool_thread(void *arg)
{
	struct pool *pool = arg;
	thread_lower_priority(pool->options.priority);
	pthread_mutex_lock(&pool->lock);
	while (!pool->stopping) {
		struct job *job = pool_take_job(pool);
		if (!job) {
			pthread_cond_wait(&pool->wake, &pool->lock);
			continue;
		}
		pthread_mutex_unlock(&pool->lock);
		int64_t start_us = clock_monotonic_us(), cpu_us = thread_cpu_us();
		enum status status = job_execute(job, &pool->options.params);
		int64_t end_us = clock_monotonic_us();
		metric_observe_us(pool->hash_time, end_us - start_us);
		cpu_us = thread_cpu_us() - cpu_us;
		struct share_times times;
		bool looked = share_look(&times);
		pthread_mutex_lock(&pool->lock);
		if (looked)
			share_note(&pool->share, cpu_us, end_us, &times);
		int64_t rest_us = share_rest_us(&pool->share, pool->threads, end_us - start_us, cpu_us);
		pool_finish_job(pool, job, status, end_us - start_us + rest_us);
		pthread_mutex_unlock(&pool->lock);
		thread_rest(rest_us);
		pthread_mutex_lock(&pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* ---- the callers ---- */

/* Room for one more job of this project, and a chance that it runs in time. Gives the job its turn. Under the lock. */
static bool pool_accepts(struct pool *pool, struct job *job, uint32_t *ret_retry_after_ms)
{
	unsigned same = 0, ahead = 0;
	for (const struct job *other = pool->first; other; other = other->next)
		same += id_equal(&other->project, &job->project);
	job->turn = pool->turn + same;
	for (const struct job *other = pool->first; other && other->turn <= job->turn; other = other->next)
		ahead++;
	int64_t wait_us = (int64_t)(ahead + 1) * pool->cost_us / pool->threads;
	*ret_retry_after_ms = (uint32_t)(wait_us / US_PER_MS) + 1;
	return !pool->stopping && pool->queued < pool->options.queue_max && same < pool->options.queue_max * 3 / 4 &&
	       clock_monotonic_us() + wait_us <= job->deadline_us;
}

/* Behind the jobs of the same turn. Under the lock. */
static void pool_insert_job(struct pool *pool, struct job *job)
{
	struct job **at = &pool->first;
	while (*at && (*at)->turn <= job->turn)
		at = &(*at)->next;
	job->state = JOB_QUEUED;
	job->next = *at;
	*at = job;
	pool->queued++;
	pthread_cond_signal(&pool->wake);
}

static struct job *job_new(struct pool *pool, const struct pool_request *request)
{
	struct job *job = calloc(1, sizeof(*job));
	if (!job)
		return NULL;
	job->project = request->project;
	job->deadline_us = request->deadline_us;
	job->password_len = strlen(request->password);
	memcpy(job->password, request->password, job->password_len);
	job->check = request->hash;
	if (job->check) {
		struct password_info info = {0};
		memcpy(job->hash, request->hash, strlen(request->hash) + 1);
		job->heavy = password_inspect(job->hash, &info) && info.heavy &&
		             password_is_outdated(job->hash, &pool->options.params);
	}
	wait_init(&job->wait, pool->options.loop);
	return job;
}

/* Puts a job into the queue; ST_RESOURCE_EXHAUSTED leaves *ret_job alone. */
static enum status pool_submit(struct pool *pool, const struct pool_request *request, struct job **ret_job,
                               uint32_t *ret_retry_after_ms)
{
	if (strlen(request->password) > PASSWORD_ROOM || (request->hash && strlen(request->hash) >= PASSWORD_HASH_SIZE))
		return ST_INVALID_ARGUMENT;
	struct job *job = job_new(pool, request);
	if (!job)
		return ST_RESOURCE_EXHAUSTED;
	pthread_mutex_lock(&pool->lock);
	bool accepted = pool_accepts(pool, job, ret_retry_after_ms);
	if (accepted)
		pool_insert_job(pool, job);
	pthread_mutex_unlock(&pool->lock);
	if (!accepted) {
		job_free(job);
		metric_add(pool->refused, 1);
		return ST_RESOURCE_EXHAUSTED;
	}
	*ret_job = job;
	return ST_OK;
}

/* Under the lock. */
static void pool_remove_job(struct pool *pool, struct job *job)
{
	struct job **at = &pool->first;
	while (*at != job)
		at = &(*at)->next;
	(void)pool_unlink(pool, at);
}

static void job_free_posted(void *arg)
{
	job_free(arg);
}

/* A thread's wait_done may still be on its way through the loop when the waiter gave up meanwhile: it is posted before this. */
static void pool_release_job(struct pool *pool, struct job *job)
{
	if (job->wait.fiber)
		loop_post(pool->options.loop, job_free_posted, job);
	else
		job_free(job);
}

/* Waits for a submitted job and releases it. */
static enum status pool_collect(struct pool *pool, struct job *job, struct pool_reply *ret_reply)
{
	enum status status = ST_DEADLINE_EXCEEDED;
	bool release = true;
	(void)wait_for(&job->wait, job->deadline_us);
	pthread_mutex_lock(&pool->lock);
	if (job->state == JOB_DONE) {
		status = job->status;
		if (status == ST_OK && !job->check)
			memcpy(ret_reply->hash, job->hash, sizeof(job->hash));
	} else if (job->state == JOB_QUEUED) {
		pool_remove_job(pool, job);
	} else {
		job->abandoned = true;
		release = false;
	}
	pthread_mutex_unlock(&pool->lock);
	if (release)
		pool_release_job(pool, job);
	return status;
}

enum status pool_run(struct pool *pool, const struct pool_request *request, struct pool_reply *ret_reply)
{
	struct job *job = NULL;
	enum status status = pool_submit(pool, request, &job, &ret_reply->retry_after_ms);
	return status == ST_OK ? pool_collect(pool, job, ret_reply) : status;
}

/* As pool_submit, but comes again until the deadline when there is no room: a batch yields to sign-ins. */
static enum status pool_submit_patiently(struct pool *pool, const struct pool_request *request, struct job **ret_job,
                                         uint32_t *ret_retry_after_ms)
{
	for (;;) {
		enum status status = pool_submit(pool, request, ret_job, ret_retry_after_ms);
		if (status != ST_RESOURCE_EXHAUSTED || clock_monotonic_us() + PATIENCE_US >= request->deadline_us)
			return status;
		fiber_sleep_us(pool->options.loop, PATIENCE_US);
	}
}

void pool_run_many(struct pool *pool, const struct pool_request *requests, size_t count, enum status *ret_status,
                   struct pool_reply *ret_replies)
{
	struct job *jobs[THREADS_MAX] = {0}; /* a window: no more waiting than can run, others are served between */
	size_t window = pool->threads;
	for (size_t i = 0; i < count + window; i++) {
		if (i >= window && jobs[i % window])
			ret_status[i - window] = pool_collect(pool, jobs[i % window], &ret_replies[i - window]);
		jobs[i % window] = NULL;
		if (i < count)
			ret_status[i] = pool_submit_patiently(pool, &requests[i], &jobs[i % window],
			                                      &ret_replies[i].retry_after_ms);
	}
}

/* ---- start and end ---- */

struct pool *pool_new(const struct pool_options *options)
{
	struct pool *pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned threads = options->threads ? options->threads : (unsigned)(cores > 0 ? cores : 1);
	pool->options = *options;
	pool->cost_us = COST_START_US;
	pool->share.cores = (unsigned)(cores > 0 ? cores : 1);
	pool->refused =
	    metric_counter("denizen_hash_refused_total", "", "Password hashes refused because of the queue");
	pool->hash_time = metric_histogram("denizen_hash_seconds", "", "Time to make or check one password hash");
	pthread_cond_init(&pool->wake, NULL);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_mutex_lock(&pool->lock); /* the threads begin when their number is known */
	while (pool->threads < threads && pool->threads < THREADS_MAX &&
	       pthread_create(&pool->handles[pool->threads], NULL, pool_thread, pool) == 0)
		pool->threads++;
	pthread_mutex_unlock(&pool->lock);
	if (pool->threads == 0)
		pool_free(&pool);
	return pool;
}

void pool_free(struct pool **pool)
{
	struct pool *gone = *pool;
	if (!gone)
		return;
	pthread_mutex_lock(&gone->lock);
	gone->stopping = true;
	for (struct job *job = gone->first, *next; job; job = next) {
		next = job->next;
		job->state = JOB_DONE;
		job->status = ST_UNAVAILABLE;
		wait_done(&job->wait);
	}
	gone->first = NULL;
	gone->queued = 0;
	pthread_cond_broadcast(&gone->wake);
	pthread_mutex_unlock(&gone->lock);
	for (unsigned i = 0; i < gone->threads; i++)
		pthread_join(gone->handles[i], NULL);
	pthread_cond_destroy(&gone->wake);
	pthread_mutex_destroy(&gone->lock);
	free(gone);
	*pool = NULL;
}
