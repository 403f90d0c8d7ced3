/* The walk along a project's chain. */
#include "verify.h"

#include "base/clock.h"

#include <string.h>

#define PAGE 1000
#define ARENA_BYTES (32 * 1024 * 1024)
#define MARGIN_US (500 * US_PER_MS) /* left for the answer */

static void set_bad(struct chain *chain, int64_t seq, const char *reason)
{
	chain->first_bad = seq;
	chain->reason = reason;
}

/* Checks one page. *ret_more is false at the end, at the first bad entry, and where time runs out. */
MUST_USE static enum status check_page(struct sql_scope *scope, struct verdict *verdict, bool *ret_more)
{
	struct chain *chain = &verdict->chain;
	int64_t left = verdict->head.seq - chain->seq;
	struct page page = {0};
	enum status status =
	    entries_read_project(scope, &chain->project, chain->seq, left < PAGE ? (int)left : PAGE, &page);
	if (status != ST_OK)
		return status;
	if (page.count == 0)
		set_bad(chain, chain->seq + 1, "the entry is missing");
	for (size_t i = 0; i < page.count && !chain->first_bad; i++)
		if (page.entries[i]->seq > verdict->head.seq)
			set_bad(chain, chain->seq + 1, "the entry is missing");
		else
			rules_check_entry(chain, page.entries[i], scope->arena);
	*ret_more = !chain->first_bad && chain->seq < verdict->head.seq;
	return ST_OK;
}

MUST_USE static enum status check_pages(struct sql_scope *scope, struct verdict *verdict)
{
	enum status status = ST_OK;
	bool more = verdict->chain.seq < verdict->head.seq;
	while (more && status == ST_OK && clock_monotonic_us() < scope->deadline_us - MARGIN_US) {
		struct sql_scope page = *scope;
		page.arena = arena_new(ARENA_BYTES);
		if (!page.arena)
			return ST_RESOURCE_EXHAUSTED;
		status = check_page(&page, verdict, &more);
		arena_free(&page.arena);
	}
	return status;
}

/* The chain starts at `after`, whose hash is believed. */
MUST_USE static enum status start_chain(struct sql_scope *scope, int64_t after, struct verdict *verdict)
{
	struct page page = {0};
	if (after > verdict->head.seq)
		return ST_NOT_FOUND;
	if (after == 0)
		return ST_OK;
	enum status status = entries_read_project(scope, &verdict->chain.project, after - 1, 1, &page);
	if (status != ST_OK)
		return status;
	if (page.count == 0 || page.entries[0]->seq != after) {
		set_bad(&verdict->chain, after, "the entry is missing");
		return ST_OK;
	}
	verdict->chain.seq = after;
	rules_take_hash(page.entries[0]->hash, verdict->chain.hash);
	return ST_OK;
}

enum status verify_chain(struct sql_scope *scope, const struct id *project, int64_t after, struct verdict *ret_verdict)
{
	struct verdict verdict = {.chain.project = *project, .head.project = *project};
	struct sql_get_head_row head;
	enum status status = sql_one(scope, &sql_get_head, &(struct sql_get_head){project}, &head);
	if (status != ST_OK)
		return status;
	verdict.head.seq = head.seq;
	rules_take_hash((ProtobufCBinaryData){head.hash.len, (uint8_t *)head.hash.data}, verdict.head.hash);
	status = start_chain(scope, after, &verdict);
	if (status == ST_OK && !verdict.chain.first_bad)
		status = check_pages(scope, &verdict);
	if (status != ST_OK)
		return status;
	struct chain *chain = &verdict.chain;
	verdict.complete = !chain->first_bad && chain->seq == verdict.head.seq;
	if (verdict.complete && memcmp(chain->hash, verdict.head.hash, SHA256_SIZE) != 0)
		set_bad(chain, verdict.head.seq ? verdict.head.seq : 1,
		        "the head row has another hash than the last entry");
	if (verdict.complete && !chain->first_bad && head.newest > verdict.head.seq)
		set_bad(chain, verdict.head.seq + 1, "the entry is beyond the head row");
	*ret_verdict = verdict;
	return ST_OK;
}
