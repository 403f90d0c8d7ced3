/* When a follower may say that it knows what was revoked. The ledger and the sources are played by this file. */
#define client_send play_send
#define client_subscribe play_subscribe
#include "../../common/ledger/follow.c"
#include "../../common/ledger/source.c"

#include "local/follower.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <time.h>

#define IN_OUTBOX 1
#define IN_LEDGER 2

/* One suite and one gateway that follows it. Atomics: the test's thread changes them while the loop reads. */
static struct {
	struct loop *loop;
	pthread_t thread;
	struct gateway gateway;
	struct follow *follow;
	struct id user, session;
	char user_id[ID_TEXT_SIZE];
	atomic_llong head;        /* newest position of the ledger */
	atomic_int told_type;     /* of the one event there is; 0 = none */
	atomic_int where;         /* it is in identity's outbox, in the ledger */
	atomic_bool ledger_hangs; /* reads come to their deadline */
	atomic_int silent, more;  /* bit per process: does not answer; has more than it says */
	atomic_bool asked_revoking;
	atomic_int sources; /* bits of those that were asked */
} play;

static Events__Event play_event(void)
{
	Events__Event event = EVENTS__EVENT__INIT;
	event.has_type = event.has_epoch = true;
	event.type = (Events__EventType)atomic_load(&play.told_type);
	event.user_id = play.user_id;
	event.epoch = 7;
	return event;
}

static enum status play_outbox(unsigned process, struct arena *arena, ProtobufCMessage **ret_reply)
{
	Common__ReadOutboxReply *reply = arena_alloc(arena, sizeof(*reply));
	common__read_outbox_reply__init(reply);
	atomic_fetch_or(&play.sources, 1 << process);
	if (atomic_load(&play.silent) & 1 << process)
		return ST_UNAVAILABLE;
	reply->has_complete = true;
	reply->complete = !(atomic_load(&play.more) & 1 << process);
	if (process == PROCESS_IDENTITY && atomic_load(&play.told_type) && atomic_load(&play.where) == IN_OUTBOX) {
		Common__WaitingEvent *waiting = arena_alloc(arena, sizeof(*waiting));
		Events__Event event = play_event();
		common__waiting_event__init(waiting);
		waiting->project_id = (ProtobufCBinaryData){ID_SIZE, play.session.bytes};
		waiting->event.len = events__event__get_packed_size(&event);
		waiting->event.data = arena_alloc(arena, waiting->event.len);
		events__event__pack(&event, waiting->event.data);
		reply->n_events = 1;
		reply->events = arena_memdup(arena, &waiting, sizeof(waiting));
	}
	*ret_reply = &reply->base;
	return ST_OK;
}

static enum status play_ledger(const Audit__ReadStreamRequest *ask, struct arena *arena, ProtobufCMessage **ret_reply)
{
	Audit__ReadStreamReply *reply = arena_alloc(arena, sizeof(*reply));
	audit__read_stream_reply__init(reply);
	reply->has_head = reply->has_next = true;
	reply->head = atomic_load(&play.head);
	reply->next = ask->after + ask->limit < reply->head ? ask->after + ask->limit : reply->head;
	atomic_store(&play.asked_revoking, ask->revoking && ask->n_types == 0);
	if (atomic_load(&play.told_type) && atomic_load(&play.where) == IN_LEDGER && ask->after < reply->head) {
		Audit__LedgerEntry *entry = arena_alloc(arena, sizeof(*entry));
		Events__Event event = play_event();
		audit__ledger_entry__init(entry);
		entry->event = arena_memdup(arena, &event, sizeof(event));
		reply->n_entries = 1;
		reply->entries = arena_memdup(arena, &entry, sizeof(entry));
	}
	*ret_reply = &reply->base;
	return ST_OK;
}

enum status play_send(struct client *client, struct client_call *call, uint32_t method, const ProtobufCMessage *request,
                      struct arena *arena, ProtobufCMessage **ret_reply)
{
	fiber_sleep_us(play.loop, 5 * US_PER_MS);
	if (method == M_COMMON_READ_OUTBOX)
		return play_outbox(call->process, arena, ret_reply);
	if (atomic_load(&play.ledger_hangs)) {
		fiber_sleep_us(play.loop, 300 * US_PER_MS);
		return ST_DEADLINE_EXCEEDED;
	}
	return play_ledger((const Audit__ReadStreamRequest *)request, arena, ret_reply);
}

void play_subscribe(struct client *client, unsigned process, const void *topic, size_t topic_len,
                    void (*fn)(void *arg, const void *data, size_t len_bytes), void *arg)
{
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

static void play_begin(void)
{
	play.user = id_new();
	play.session = id_new();
	id_format("usr", &play.user, play.user_id);
	play.loop = loop_new();
	play.gateway.revocation = revocation_new(US_PER_SEC * 60);
	play.follow = ledger_follow(&play.gateway, play.loop, 300);
	pthread_create(&play.thread, NULL, run_loop, play.loop);
}

static void play_end(void)
{
	loop_post(play.loop, stop_loop, play.loop);
	pthread_join(play.thread, NULL);
	revocation_free(&play.gateway.revocation);
}

static bool is_live(void)
{
	return follow_live(play.follow);
}

static bool is_hit(void)
{
	return revocation_hit(play.gateway.revocation, &play.user, &play.session, 6);
}

/* Within so many milliseconds. */
static bool becomes(bool (*fact)(void), bool wanted, long ms)
{
	for (long passed = 0; passed < ms && fact() != wanted; passed += 5)
		wait_ms(5);
	return fact() == wanted;
}

Test(follow, a_long_way_behind_is_not_live)
{
	atomic_store(&play.head, 1000000000);
	play_begin();
	for (int i = 0; i < 20; i++) {
		wait_ms(100);
		cr_assert_not(is_live(), "it reads without a pause, but is far from the end");
	}
	cr_assert_not(follow_caught_up(play.follow));
	atomic_store(&play.head, 1); /* what is left is nothing */
	cr_assert(becomes(is_live, true, 1000));
	play_end();
}

Test(follow, what_waits_at_its_source_takes_effect_while_the_ledger_cannot_be_written)
{
	play_begin();
	cr_assert(becomes(is_live, true, 1000));
	cr_assert_eq(atomic_load(&play.sources), 1 << PROCESS_IDENTITY | 1 << PROCESS_CLAIMS | 1 << PROCESS_SESSION);
	atomic_store(&play.where, IN_OUTBOX); /* the relay cannot hand it on */
	atomic_store(&play.told_type, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_DISABLED);
	cr_assert(becomes(is_hit, true, 600));
	cr_assert(is_live(), "and nobody needs to be asked");
	cr_assert_not(revocation_hit(play.gateway.revocation, &play.user, &play.session, 7));
	play_end();
}

Test(follow, a_source_that_does_not_answer_or_not_in_full_makes_it_unsure)
{
	static const struct {
		atomic_int *fault;
		unsigned process;
	} cases[] = {{&play.silent, PROCESS_IDENTITY}, {&play.silent, PROCESS_SESSION}, {&play.more, PROCESS_CLAIMS}};
	play_begin();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_assert(becomes(is_live, true, 1000));
		atomic_store(cases[i].fault, 1 << cases[i].process);
		cr_assert(becomes(is_live, false, 850), "case %zu", i);
		wait_ms(300);
		cr_assert_not(is_live());
		atomic_store(cases[i].fault, 0);
	}
	cr_assert(becomes(is_live, true, 1000));
	play_end();
}

/* What has left the outbox is in the ledger: so the outbox alone says nothing. */
Test(follow, a_ledger_that_cannot_be_read_makes_it_unsure)
{
	play_begin();
	cr_assert(becomes(is_live, true, 1000));
	atomic_store(&play.ledger_hangs, true);
	cr_assert(becomes(is_live, false, 850));
	atomic_store(&play.where, IN_LEDGER);
	atomic_store(&play.told_type, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_DISABLED);
	atomic_store(&play.head, 1);
	wait_ms(300);
	cr_assert(!is_live() && !is_hit());
	atomic_store(&play.ledger_hangs, false);
	cr_assert(becomes(is_live, true, 2000));
	cr_assert(is_hit(), "before it says that it is sure");
	play_end();
}

/* Type 900 is declared for the tests alone (tests/contract.py): no code of the gateway names it. */
Test(follow, what_the_contract_says_of_an_event_reaches_the_gateway)
{
	static const struct {
		int type, where;
		bool hit;
	} cases[] = {{EVENTS__EVENT_TYPE__EVENT_TYPE_USER_UPDATED, IN_LEDGER, false},
	             {900, IN_LEDGER, true},
	             {900, IN_OUTBOX, true}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		atomic_store(&play.told_type, cases[i].type);
		atomic_store(&play.where, cases[i].where);
		atomic_store(&play.head, 1);
		play_begin();
		cr_assert(becomes(is_live, true, 1000) && follow_caught_up(play.follow));
		cr_assert(atomic_load(&play.asked_revoking));
		cr_assert_eq(is_hit(), cases[i].hit);
		cr_assert_not(revocation_hit(play.gateway.revocation, &play.user, &play.session, 7));
		play_end();
	}
}
