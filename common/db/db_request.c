/* Requests: the queues in which they wait, how they end. */
#include "db/db_internal.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define SPARE_MAX 1024

/* ---- queues ---- */

void db_queue_push(struct db_queue *queue, struct db_request *request)
{
	request->next = NULL;
	if (queue->tail)
		queue->tail->next = request;
	else
		queue->head = request;
	queue->tail = request;
	queue->count++;
}

void db_queue_push_front(struct db_queue *queue, struct db_request *request)
{
	request->next = queue->head;
	queue->head = request;
	if (!queue->tail)
		queue->tail = request;
	queue->count++;
}

struct db_request *db_queue_pop(struct db_queue *queue)
{
	struct db_request *request = queue->head;
	if (!request)
		return NULL;
	queue->head = request->next;
	if (!queue->head)
		queue->tail = NULL;
	queue->count--;
	return request;
}

void db_queue_remove(struct db_queue *queue, struct db_request *request)
{
	struct db_request *before = NULL;
	for (struct db_request *at = queue->head; at; before = at, at = at->next) {
		if (at != request)
			continue;
		*(before ? &before->next : &queue->head) = at->next;
		if (queue->tail == at)
			queue->tail = before;
		queue->count--;
		return;
	}
}

/* ---- requests ---- */

struct db_request *db_request_new(struct db *db)
{
	struct db_request *request = db->spare;
	if (request) {
		db->spare = request->next;
		db->spare_count--;
		memset(request, 0, sizeof(*request));
	} else {
		request = calloc(1, sizeof(*request));
	}
	if (request)
		request->begun_us = clock_monotonic_us();
	return request;
}

void db_request_free(struct db *db, struct db_request *request)
{
	while (request->members) {
		struct db_request *member = request->members;
		request->members = member->next;
		db_request_free(db, member);
	}
	if (request->shared)
		db_shared_release(request->shared);
	PQclear(request->result);
	if (db->spare_count == SPARE_MAX) {
		free(request);
		return;
	}
	request->next = db->spare;
	db->spare = request;
	db->spare_count++;
}

void db_request_finish(struct db *db, struct db_request *request, enum status status, PGresult *result)
{
	if (request->group) {
		request->group->finish(db, request, status, result);
		return;
	}
	if (request->abandoned) {
		PQclear(result);
		db_request_free(db, request);
		return;
	}
	request->state = DB_DONE;
	request->status = status;
	request->result = result;
	if (!request->wait.timed_out) /* then its fiber is on its way already and looks at the state */
		wait_done(&request->wait);
}

void db_request_requeue(struct db *db, struct db_request *request)
{
	if (request->group) {
		request->group->requeue(db, request, request->alone);
		return;
	}
	if (request->abandoned || request->attempts >= DB_ATTEMPTS_MAX) {
		db_request_finish(db, request, request->status == ST_OK ? ST_UNAVAILABLE : request->status, NULL);
		return;
	}
	request->state = DB_QUEUED;
	db_queue_push_front(&db->queue[request->stmt->kind], request);
	db_pump_later(db);
}

void db_shared_release(void *object)
{
	struct db_shared *shared = object;
	if (atomic_fetch_sub(&shared->owners, 1) > 1)
		return;
	PQclear(shared->result);
	free(shared);
}

/* ---- waking who sends ---- */

void db_pump_later(struct db *db)
{
	if (db->pumping || db->closing)
		return;
	db->pumping = true;
	loop_post(db->loop, db->pump, db);
}

int64_t db_deadline(int64_t deadline_us)
{
	return deadline_us ? deadline_us : clock_monotonic_us() + DB_DEFAULT_BUDGET_US;
}
