/* When a follower may say that it knows what the ledger knows; the ledger is played by this file. */
#define client_send ledger_send
#define client_subscribe ledger_subscribe
#include "../../common/ledger/follow.c"

#include "local/follower.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <time.h>

static struct loop *loop;
static atomic_llong head; /* newest position */
static int told_type;     /* of the entry that the ledger holds at its end; 0 = none */
static Events__Event told = EVENTS__EVENT__INIT;
static Audit__LedgerEntry entry = AUDIT__LEDGER_ENTRY__INIT;
static Audit__LedgerEntry *const entries[] = {&entry};
static atomic_bool asked_revoking;

enum status ledger_send(struct client *client, struct client_call *call, uint32_t method,
                        const ProtobufCMessage *request, struct arena *arena, ProtobufCMessage **ret_reply)
{
	const Audit__ReadStreamRequest *ask = (const Audit__ReadStreamRequest *)request;
	Audit__ReadStreamReply *reply = arena_alloc(arena, sizeof(*reply));
	fiber_sleep_us(loop, 5 * US_PER_MS);
	audit__read_stream_reply__init(reply);
	reply->has_head = reply->has_next = true;
	reply->head = atomic_load(&head);
	reply->next = ask->after + ask->limit < reply->head ? ask->after + ask->limit : reply->head;
	atomic_store(&asked_revoking, ask->revoking && ask->n_types == 0);
	if (told_type && ask->after < reply->head) {
		told.has_type = true;
		told.type = (Events__EventType)told_type;
		entry.event = &told;
		reply->n_entries = 1;
		reply->entries = arena_memdup(arena, entries, sizeof(entries));
	}
	*ret_reply = &reply->base;
	return ST_OK;
}

void ledger_subscribe(struct client *client, unsigned process, const void *topic, size_t topic_len,
                      void (*fn)(void *arg, const void *data, size_t len_bytes), void *arg)
{
}

static enum status apply(void *arg, Audit__LedgerEntry **entries, size_t count, int64_t next)
{
	return ST_OK;
}

static void *run_loop(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void stop_loop(void *arg)
{
	loop_stop(arg);
}

static void wait_ms(long ms)
{
	struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	nanosleep(&pause, NULL);
}

Test(follow, a_long_way_behind_is_not_live)
{
	pthread_t thread;
	loop = loop_new();
	atomic_store(&head, 1000000000);
	struct follow_options options = {.loop = loop, .poll_ms = 100, .apply = apply};
	struct follow *follow = follow_start(&options);
	pthread_create(&thread, NULL, run_loop, loop);
	for (int i = 0; i < 30; i++) {
		wait_ms(100);
		cr_assert_not(follow_live(follow), "it reads without a pause, but is far from the end");
	}
	cr_assert_not(follow_caught_up(follow));
	atomic_store(&head, 1); /* what is left is nothing */
	wait_ms(1000);
	cr_assert_not(follow_live(follow), "the relays may have waited as well");
	wait_ms(2000);
	cr_assert(follow_live(follow));
	loop_post(loop, stop_loop, loop);
	pthread_join(thread, NULL);
}

/* Type 900 is declared for the tests alone (tests/contract.py): no code of the gateway names it. */
Test(follow, what_the_contract_says_of_an_event_reaches_the_gateway)
{
	static struct gateway gateway;
	pthread_t thread;
	struct id user = id_new(), session = id_new();
	char user_id[ID_TEXT_SIZE];
	id_format("usr", &user, user_id);
	told.user_id = user_id;
	told.has_epoch = true;
	told.epoch = 7;
	static const struct {
		int type;
		bool hit;
	} cases[] = {{11, false}, {900, true}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		told_type = cases[i].type;
		loop = loop_new();
		atomic_store(&head, 1);
		gateway.revocation = revocation_new(US_PER_SEC * 60);
		struct follow *follow = ledger_follow(&gateway, loop, 300);
		pthread_create(&thread, NULL, run_loop, loop);
		for (int ms = 0; ms < 2000 && !follow_caught_up(follow); ms += 10)
			wait_ms(10);
		cr_assert(follow_caught_up(follow) && atomic_load(&asked_revoking));
		cr_assert_eq(revocation_hit(gateway.revocation, &user, &session, 6), cases[i].hit);
		cr_assert_not(revocation_hit(gateway.revocation, &user, &session, 7));
		loop_post(loop, stop_loop, loop);
		pthread_join(thread, NULL);
		revocation_free(&gateway.revocation);
	}
}
