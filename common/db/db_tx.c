/* Transactions of several statements, each on an exclusive connection. */
#include "db/db_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

struct db_tx {
	struct db *db;
	struct db_lane *lane;   /* NULL: still waits, or the connection was lost */
	struct db_block *block; /* instead of a lane, for threads */
	struct wait wait;
	int64_t deadline_us;
	bool begun, failed, ended; /* BEGIN was sent; a statement failed; COMMIT succeeded */
	struct db_tx *next;
};

/* ---- who gets a lane: first come, first served ---- */

static void tx_waiting_push(struct db *db, struct db_tx *tx)
{
	tx->next = NULL;
	if (db->tx_waiting_tail)
		db->tx_waiting_tail->next = tx;
	else
		db->tx_waiting_head = tx;
	db->tx_waiting_tail = tx;
}

static void tx_waiting_remove(struct db *db, struct db_tx *tx)
{
	struct db_tx *before = NULL;
	for (struct db_tx *at = db->tx_waiting_head; at; before = at, at = at->next) {
		if (at != tx)
			continue;
		*(before ? &before->next : &db->tx_waiting_head) = at->next;
		if (db->tx_waiting_tail == at)
			db->tx_waiting_tail = before;
		return;
	}
}

void db_tx_lane_ready(struct db_lane *lane)
{
	struct db *db = lane->db;
	struct db_tx *tx = db->tx_waiting_head;
	while (tx && tx->wait.timed_out) /* on its way out: it removes itself */
		tx = tx->next;
	if (!tx || db->closing || lane->owner || !db_lane_usable(lane))
		return;
	tx_waiting_remove(db, tx);
	lane->owner = tx;
	tx->lane = lane;
	wait_done(&tx->wait);
}

void db_tx_lane_lost(struct db_lane *lane)
{
	if (lane->owner)
		lane->owner->lane = NULL;
	lane->owner = NULL;
}

static enum status tx_take_lane(struct db_tx *tx)
{
	struct db *db = tx->db;
	for (unsigned i = 0; i < db->lane_count[DB_LANE_TX] && !db->tx_waiting_head; i++) {
		struct db_lane *lane = &db->lanes[DB_LANE_TX][i];
		if (lane->owner || !db_lane_usable(lane))
			continue;
		lane->owner = tx;
		tx->lane = lane;
		return ST_OK;
	}
	wait_init(&tx->wait, db->loop);
	tx_waiting_push(db, tx);
	if (!wait_for(&tx->wait, tx->deadline_us)) {
		tx_waiting_remove(db, tx);
		return atomic_load(&db->lanes_up[DB_LANE_TX]) > 0 ? ST_DEADLINE_EXCEEDED : ST_UNAVAILABLE;
	}
	return tx->lane ? ST_OK : ST_UNAVAILABLE;
}

enum status db_begin(struct db *db, int64_t deadline_us, struct db_tx **ret_tx)
{
	struct db_tx *tx = calloc(1, sizeof(*tx));
	if (!tx)
		return ST_UNAVAILABLE;
	tx->db = db;
	tx->deadline_us = db_deadline(deadline_us);
	enum status status = db->loop && fiber_active() ? tx_take_lane(tx) : db_block_take(db, &tx->block);
	if (status == ST_OK && tx->block)
		status = db_block_control(tx->block, "BEGIN");
	if (status != ST_OK) {
		if (tx->block)
			db_block_give(db, &tx->block);
		free(tx);
		return status;
	}
	tx->begun = tx->block != NULL;
	*ret_tx = tx;
	return ST_OK;
}

/* ---- statements ---- */

/* Sends the request, with BEGIN before the first, and waits. On ST_OK *ret_result is set. */
static enum status tx_exchange(struct db_tx *tx, struct db_request *request, PGresult **ret_result)
{
	struct db *db = tx->db;
	struct db_lane *lane = tx->lane;
	wait_init(&request->wait, db->loop);
	bool sent = tx->begun || db_lane_control(lane, "BEGIN", NULL);
	tx->begun = true;
	if (sent)
		sent =
		    request->control ? db_lane_control(lane, request->control, request) : db_lane_send(lane, request);
	if (!sent) {
		db_request_free(db, request);
		return ST_UNAVAILABLE;
	}
	db_lane_sync(lane, request);
	if (!wait_for(&request->wait, tx->deadline_us) && request->state != DB_DONE) {
		request->abandoned = true;
		request->args = NULL;
		return request->control ? ST_LOST : ST_DEADLINE_EXCEEDED;
	}
	enum status status = request->status;
	*ret_result = request->result;
	request->result = NULL;
	db_request_free(db, request);
	return status;
}

static enum status tx_run_fiber(struct db_tx *tx, const struct db_stmt *stmt, const struct db_args *args,
                                PGresult **ret_result)
{
	struct db_request *request = tx->lane ? db_request_new(tx->db) : NULL;
	if (!request)
		return ST_UNAVAILABLE;
	request->stmt = stmt;
	request->args = args;
	return tx_exchange(tx, request, ret_result);
}

enum status db_tx_run(struct db_tx *tx, const struct db_stmt *stmt, const struct db_args *args, struct arena *arena,
                      struct db_rows *ret_rows)
{
	PGresult *result = NULL;
	enum status status = ST_INTERNAL;
	if (args && args->failed)
		log_event(LOG_ERROR, "parameters of a statement do not fit", "stmt", stmt->name, NULL);
	else if (tx->failed || tx->ended)
		status = ST_ABORTED;
	else if (tx->block)
		status = db_block_run(tx->block, stmt, args, tx->deadline_us, &result);
	else
		status = tx_run_fiber(tx, stmt, args, &result);
	if (status != ST_OK)
		tx->failed = true;
	/* Nothing of a transaction whose connection broke was executed. */
	return db_deliver(result, status == ST_LOST ? ST_UNAVAILABLE : status, arena, ret_rows);
}

static enum status tx_commit_fiber(struct db_tx *tx)
{
	struct db_request *request = tx->lane ? db_request_new(tx->db) : NULL;
	if (!request)
		return ST_UNAVAILABLE;
	request->control = "COMMIT";
	PGresult *result = NULL;
	enum status status = tx_exchange(tx, request, &result);
	if (status == ST_OK && strcmp(PQcmdStatus(result), "COMMIT") != 0)
		status = ST_ABORTED; /* the server rolled back */
	PQclear(result);
	return status;
}

enum status db_commit(struct db_tx *tx)
{
	enum status status = ST_OK;
	if (tx->failed || tx->ended)
		return ST_ABORTED;
	if (tx->begun)
		status = tx->block ? db_block_control(tx->block, "COMMIT") : tx_commit_fiber(tx);
	if (status == ST_OK)
		tx->ended = true;
	else
		tx->failed = true;
	return status;
}

void db_end(struct db_tx **tx_ref)
{
	struct db_tx *tx = *tx_ref;
	if (!tx)
		return;
	struct db *db = tx->db;
	bool open = tx->begun && !tx->ended;
	if (tx->block) {
		if (open)
			tx->failed =
			    db_block_control(tx->block, "ROLLBACK") != ST_OK; /* give looks at the connection */
		db_block_give(db, &tx->block);
	}
	struct db_lane *lane = tx->lane;
	if (lane && open && db_lane_control(lane, "ROLLBACK", NULL)) /* whoever comes next is behind it */
		db_lane_sync(lane, NULL);
	if (tx->lane) { /* still ours: the connection did not break just now */
		lane->owner = NULL;
		db_tx_lane_ready(lane);
	}
	free(tx);
	*tx_ref = NULL;
}
