/* Password hashes: the parser's bounds, every scheme, the pool. */
#include "../../services/identity/credentials/password.h"
#include "../../services/identity/credentials/pool.h"
#include "../../services/identity/credentials/share.h"
#include "base/clock.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static const char right[] = "Hello world!";

#define SALT "c29tZXNhbHRzb21lc2FsdA"
#define HASH "bm9ib2R5J3MgcGFzc3dvcmQgaGFzIHRoaXMgaGFzaC4"
#define B53 "abcdefghijklmnopqrstuuyeG8laUfZvsCmc.AE6qIDYSPGM2efmK"
#define H43 "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"

Test(identity_password, parser)
{
	static const struct {
		const char *hash;
		bool accepted;
	} cases[] = {
	    {"$argon2id$v=19$m=19456,t=2,p=1$" SALT "$" HASH, true},
	    {"$argon2i$v=16$m=4096,t=3,p=4$" SALT "$" HASH, true},
	    {"$argon2d$v=19$m=262144,t=4,p=1$" SALT "$" HASH, true},
	    {"$argon2d$v=19$m=65536,t=16,p=1$" SALT "$" HASH, true},
	    {"$argon2d$v=19$m=262144,t=16,p=1$" SALT "$" HASH, false}, /* each allowed, together 5 s */
	    {"$argon2id$v=19$m=262145,t=2,p=1$" SALT "$" HASH, false},
	    {"$argon2id$v=19$m=4294967295,t=2,p=1$" SALT "$" HASH, false},
	    {"$argon2id$v=19$m=99999999999999999999,t=2,p=1$" SALT "$" HASH, false},
	    {"$argon2id$v=19$m=19456,t=17,p=1$" SALT "$" HASH, false},
	    {"$argon2id$v=19$m=19456,t=0,p=1$" SALT "$" HASH, false},
	    {"$argon2id$v=19$m=19456,t=02,p=1$" SALT "$" HASH, false},
	    {"$argon2id$v=19$m=19456,t=2,p=17$" SALT "$" HASH, false},
	    {"$argon2id$v=19$m=64,t=2,p=16$" SALT "$" HASH, false},
	    {"$argon2id$v=18$m=19456,t=2,p=1$" SALT "$" HASH, false},
	    {"$argon2id$v=19$m=19456,t=2,p=1$short$" HASH, false},
	    {"$argon2id$v=19$m=19456,t=2,p=1$" SALT "$" HASH "=", false},
	    {"$argon2id$v=19$m=19456,t=2,p=1$" SALT, false},
	    {"$argon2id$v=19$m=19456,t=2,p=1,x=1$" SALT "$" HASH, false},
	    {"$2b$04$" B53, true},
	    {"$2a$14$" B53, true},
	    {"$2y$10$" B53, true},
	    {"$2b$15$" B53, false},
	    {"$2b$03$" B53, false},
	    {"$2x$10$" B53, false},
	    {"$2b$10$" B53 "a", false},
	    {"$2b$1$" B53, false},
	    {"$5$saltstring$" H43, true},
	    {"$5$rounds=200000$saltstring$" H43, true},
	    {"$5$rounds=200001$saltstring$" H43, false},
	    {"$6$saltstring$" H43, false},
	    {"$y$j9T$saltsaltsalt$kWIqxcWfXjuZr31QB0vcBe5BBK9FByx0O2mMdKkHFM/", true},
	    {"$y$jFT$saltsaltsalt$kWIqxcWfXjuZr31QB0vcBe5BBK9FByx0O2mMdKkHFM/", false}, /* 1 GiB */
	    {"$y$jzT$saltsaltsalt$kWIqxcWfXjuZr31QB0vcBe5BBK9FByx0O2mMdKkHFM/", false},
	    {"$1$abc$.FiamM1s4pFo0QKAk4pqS.", false},
	    {"$3$$8846f7eaee8fb117ad06bdd830b7586c", false},
	    {"abcdefghijklm", false},
	    {"", false},
	    {NULL, false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct password_info info;
		cr_expect_eq(password_inspect(cases[i].hash, &info), cases[i].accepted, "case %zu", i);
	}
}

Test(identity_password, schemes)
{
	static const char *const hashes[] = {
	    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
	    "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
	    "$2b$04$abcdefghijklmnopqrstuuyeG8laUfZvsCmc.AE6qIDYSPGM2efmK",
	    "$y$j9T$saltsaltsalt$kWIqxcWfXjuZr31QB0vcBe5BBK9FByx0O2mMdKkHFM/",
	};
	cr_assert(password_init());
	for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
		cr_expect_eq(password_verify(hashes[i], right, strlen(right)), ST_OK, "%s", hashes[i]);
		cr_expect_eq(password_verify(hashes[i], "Hello world?", strlen(right)), ST_INVALID_CREDENTIALS);
		cr_expect_eq(password_verify(hashes[i], right, strlen(right) - 1), ST_INVALID_CREDENTIALS);
	}
	struct password_params params = {8192, 1}, other = {8192, 2};
	static const size_t lengths[] = {0, 1, 8, 55, 56, 71, 72, 73, 127, 128, 1024};
	char password[1025], hash[PASSWORD_HASH_SIZE];
	memset(password, 'p', sizeof(password));
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		cr_assert_eq(password_hash(&params, password, lengths[i], hash), ST_OK);
		cr_expect_eq(password_verify(hash, password, lengths[i]), ST_OK);
		cr_expect_eq(password_verify(hash, password, lengths[i] + 1), ST_INVALID_CREDENTIALS, "no truncation");
	}
	cr_expect(!password_is_outdated(hash, &params));
	cr_expect(password_is_outdated(hash, &other));
	cr_expect(password_is_outdated(hashes[0], &params));
	cr_expect_eq(password_verify("$1$abc$.FiamM1s4pFo0QKAk4pqS.", right, strlen(right)), ST_INVALID_CREDENTIALS);
}

/* ---- the pool ---- */

struct storm {
	struct pool *pool;
	struct id project;
	const char *hash;
	int64_t budget_us;
	atomic_int ok, wrong, exhausted, late;
};

static void *storm_thread(void *arg)
{
	struct storm *storm = arg;
	struct pool_request request = {.project = storm->project,
	                               .password = right,
	                               .hash = storm->hash,
	                               .deadline_us = clock_monotonic_us() + storm->budget_us};
	struct pool_reply reply = {0};
	enum status status = pool_run(storm->pool, &request, &reply);
	if (status == ST_OK)
		storm->ok++;
	else if (status == ST_RESOURCE_EXHAUSTED && reply.retry_after_ms > 0)
		storm->exhausted++;
	else if (status == ST_DEADLINE_EXCEEDED)
		storm->late++;
	else
		storm->wrong++;
	return NULL;
}

static void storm_run(struct storm *storm, int threads)
{
	pthread_t handles[64];
	for (int i = 0; i < threads; i++)
		pthread_create(&handles[i], NULL, storm_thread, storm);
	for (int i = 0; i < threads; i++)
		pthread_join(handles[i], NULL);
}

Test(identity_password, pool)
{
	char hash[PASSWORD_HASH_SIZE];
	struct password_params params = {8192, 1};
	cr_assert(password_init());
	cr_assert_eq(password_hash(&params, right, strlen(right), hash), ST_OK);
	struct pool_options options = {.threads = 2, .queue_max = 40, .priority = POOL_NORMAL, .params = params};
	struct pool *pool = pool_new(&options);
	cr_assert(pool);
	struct storm calm = {.pool = pool, .project = id_new(), .hash = hash, .budget_us = 20 * US_PER_SEC};
	storm_run(&calm, 20);
	cr_expect_eq(calm.ok, 20);
	/* One project cannot fill the queue: 30 of 40 places at most. */
	struct storm flood = {.pool = pool, .project = id_new(), .hash = hash, .budget_us = 20 * US_PER_SEC};
	storm_run(&flood, 60);
	cr_expect_eq(flood.ok + flood.exhausted, 60);
	cr_expect_eq(flood.wrong, 0);
	/* What cannot run in time is refused at once or dropped unhashed, never waited for. */
	struct storm hurry = {.pool = pool, .project = id_new(), .hash = hash, .budget_us = 1};
	storm_run(&hurry, 10);
	cr_expect_eq(hurry.exhausted + hurry.late, 10);
	pool_free(&pool);
	cr_expect_null(pool);
}

/* A look: so much of one second of four cores was busy, so much of it hashing. Returns the rest after a hash of 30 ms. */
static int64_t rest_after(struct share *share, int64_t busy_ms, int64_t hashed_ms)
{
	struct share_times now = {share->at.busy_us + busy_ms * US_PER_MS, share->at.total_us + 4 * US_PER_SEC};
	share->hashed_us = hashed_ms * US_PER_MS;
	share_judge(share, &now);
	return share_rest_us(share, 3, 30000, 30000);
}

Test(identity_password, hashing_leaves_a_crowded_machine_to_others)
{
	struct share share = {.cores = 4};
	cr_expect_eq(rest_after(&share, 4000, 4000), 0, "hashing alone may take all");
	cr_expect_eq(rest_after(&share, 3900, 2400), 0, "others need less than two fifths");
	cr_expect_eq(rest_after(&share, 3900, 2200), 150000,
	             "three threads on four cores: two ninths of the time each");
	cr_expect_eq(rest_after(&share, 3900, 2600), 150000, "still crowded above three tenths");
	cr_expect_eq(rest_after(&share, 3900, 2800), 0);
	cr_expect_eq(rest_after(&share, 3900, 100), 150000);
	cr_expect_eq(share_rest_us(&share, 3, 200000, 30000), 0, "others kept it from the core for long enough");
	cr_expect_eq(share_rest_us(&share, 3, 900000, 900000), 250 * US_PER_MS, "bounded");
}

Test(identity_password, pool_many)
{
	struct password_params params = {8192, 1};
	struct pool_options options = {.threads = 2, .queue_max = 4, .priority = POOL_IDLE, .params = params};
	struct pool *pool = pool_new(&options);
	struct pool_request requests[9];
	struct pool_reply replies[9];
	enum status statuses[9];
	cr_assert(password_init() && pool);
	memset(replies, 0, sizeof(replies));
	for (int i = 0; i < 9; i++)
		requests[i] =
		    (struct pool_request){.password = right, .deadline_us = clock_monotonic_us() + 20 * US_PER_SEC};
	pool_run_many(pool, requests, 9, statuses, replies);
	for (int i = 0; i < 9; i++) {
		cr_expect_eq(statuses[i], ST_OK, "%d", i);
		cr_expect_eq(password_verify(replies[i].hash, right, strlen(right)), ST_OK);
	}
	pool_free(&pool);
}

Test(identity_password, what_is_heavy)
{
	static const struct {
		const char *hash;
		bool heavy;
	} cases[] = {
	    {"$argon2id$v=19$m=19456,t=2,p=1$" SALT "$" HASH, false},
	    {"$argon2id$v=19$m=65536,t=4,p=1$" SALT "$" HASH, false},
	    {"$argon2id$v=19$m=65537,t=1,p=1$" SALT "$" HASH, true},
	    {"$argon2i$v=19$m=65536,t=5,p=1$" SALT "$" HASH, true},
	    {"$2b$12$" B53, false},
	    {"$2b$13$" B53, true},
	    {"$5$rounds=100000$saltstring$" H43, false},
	    {"$5$rounds=100001$saltstring$" H43, true},
	    {"$y$j9T$saltsaltsalt$kWIqxcWfXjuZr31QB0vcBe5BBK9FByx0O2mMdKkHFM/", false},
	    {"$y$jCT$saltsaltsalt$kWIqxcWfXjuZr31QB0vcBe5BBK9FByx0O2mMdKkHFM/", true},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct password_info info = {0};
		cr_expect(password_inspect(cases[i].hash, &info), "case %zu", i);
		cr_expect_eq(info.heavy, cases[i].heavy, "case %zu", i);
	}
}

/* While one project's flood fills the queue, another one's job is the next to run. */
Test(identity_password, projects_take_turns)
{
	char hash[PASSWORD_HASH_SIZE];
	struct password_params params = {65536, 3};
	pthread_t flooders[24];
	cr_assert(password_init());
	cr_assert_eq(password_hash(&params, right, strlen(right), hash), ST_OK);
	struct pool_options options = {.threads = 1, .queue_max = 40, .priority = POOL_NORMAL, .params = params};
	struct pool *pool = pool_new(&options);
	struct storm flood = {.pool = pool, .project = id_new(), .hash = hash, .budget_us = 60 * US_PER_SEC};
	struct storm calm = {.pool = pool, .project = id_new(), .hash = hash, .budget_us = 60 * US_PER_SEC};
	for (size_t i = 0; i < 24; i++)
		pthread_create(&flooders[i], NULL, storm_thread, &flood);
	while (flood.ok == 0)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	int before = flood.ok;
	storm_run(&calm, 1);
	cr_expect_eq(calm.ok, 1);
	cr_expect_leq(flood.ok - before, 4, "%d jobs of the flood went first", flood.ok - before);
	for (size_t i = 0; i < 24; i++)
		pthread_join(flooders[i], NULL);
	cr_expect_eq(flood.ok, 24);
	pool_free(&pool);
}

/* Costly hashes that somebody imported leave the other threads, and most of the memory, to everybody else. */
Test(identity_password, heavy_hashes_run_one_at_a_time)
{
	char light[PASSWORD_HASH_SIZE], heavy[PASSWORD_HASH_SIZE];
	struct password_params params = {8192, 1}, costly = {131072, 4};
	pthread_t importers[6];
	cr_assert(password_init());
	cr_assert_eq(password_hash(&params, right, strlen(right), light), ST_OK);
	cr_assert_eq(password_hash(&costly, right, strlen(right), heavy), ST_OK);
	struct pool_options options = {.threads = 2, .queue_max = 40, .priority = POOL_NORMAL, .params = params};
	struct pool *pool = pool_new(&options);
	struct storm bombs = {.pool = pool, .project = id_new(), .hash = heavy, .budget_us = 60 * US_PER_SEC};
	struct storm calm = {.pool = pool, .project = id_new(), .hash = light, .budget_us = 60 * US_PER_SEC};
	for (size_t i = 0; i < 6; i++)
		pthread_create(&importers[i], NULL, storm_thread, &bombs);
	while (bombs.ok == 0)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	int before = bombs.ok;
	storm_run(&calm, 1);
	cr_expect_eq(calm.ok, 1);
	cr_expect_leq(bombs.ok - before, 1, "%d heavy jobs went first", bombs.ok - before);
	for (size_t i = 0; i < 6; i++)
		pthread_join(importers[i], NULL);
	cr_expect_eq(bombs.ok, 6);
	pool_free(&pool);
}
