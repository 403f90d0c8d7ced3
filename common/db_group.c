/* Groups of reads in one statement: requests of the same statement that wait at the same moment are asked together, and each gets
 * its row. Postgres then binds, starts and describes once for all of them. */
#include "db_internal.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

static bool group_takes(const struct db_request *first, const struct db_request *other)
{
	return other && other->stmt == first->stmt && !other->alone;
}

/* The parameters of all members one behind the other; those of absent members are NULL. */
static void group_args(const struct db_request *group, struct db_args *args)
{
	const struct db_request *member = group->members;
	int each = member->args->count;
	const uint32_t *types = member->args->types;
	args->count = each * DB_TOGETHER;
	for (int i = 0; i < args->count; i++) {
		args->types[i] = types[i % each];
		args->values[i] = member ? member->args->values[i % each] : NULL;
		args->lengths[i] = member ? member->args->lengths[i % each] : 0;
		if (i % each == each - 1 && member)
			member = member->next;
	}
}

struct db_request *db_group_gather(struct db *db, struct db_request *first)
{
	struct db_queue *queue = &db->queue[DB_READ];
	if (!first->stmt->together || first->alone || !group_takes(first, queue->head))
		return first;
	struct db_request *group = db_request_new(db);
	if (!group)
		return first;
	struct db_request *last = first;
	group->stmt = first->stmt->together;
	group->members = first;
	first->state = DB_SENT;
	for (int count = 1; count < DB_TOGETHER && group_takes(first, queue->head); count++) {
		last->next = db_queue_pop(queue);
		last = last->next;
		last->state = DB_SENT;
	}
	last->next = NULL;
	group_args(group, &db->group_args);
	group->args = &db->group_args; /* looked at until the statement is sent */
	return group;
}

/* ---- results ---- */

void db_shared_release(void *object)
{
	struct db_shared *shared = object;
	if (atomic_fetch_sub(&shared->owners, 1) > 1)
		return;
	PQclear(shared->result);
	free(shared);
}

/* Gives each member the row with its number, or none. */
void db_group_finish(struct db *db, struct db_request *group, PGresult *result)
{
	int rows[DB_TOGETHER], place = 0;
	struct db_shared *shared = result ? malloc(sizeof(*shared)) : NULL;
	memset(rows, 0xff, sizeof(rows)); /* -1: no row */
	for (int row = 0; row < PQntuples(result); row++) {
		uint32_t number;
		memcpy(&number, PQgetvalue(result, row, 0), sizeof(number));
		rows[be32toh(number) % DB_TOGETHER] = row;
	}
	if (!shared) {
		PQclear(result);
	} else {
		shared->result = result;
		atomic_init(&shared->owners, 1);
	}
	struct db_request *next;
	for (struct db_request *member = group->members; member; member = next) {
		next = member->next;
		member->row = rows[place++];
		if (shared && !member->abandoned) {
			member->shared = shared;
			atomic_fetch_add(&shared->owners, 1);
		}
		db_request_finish(db, member, shared ? ST_OK : ST_UNAVAILABLE, NULL);
	}
	if (shared)
		db_shared_release(shared);
	group->members = NULL;
	db_request_free(db, group);
}

void db_group_again(struct db *db, struct db_lane *lane, struct db_request *group, bool alone)
{
	struct db_request *reversed = NULL, *next;
	for (struct db_request *member = group->members; member; member = next) {
		next = member->next;
		member->next = reversed;
		reversed = member;
	}
	/* The last one first, because each goes to the front of the queue. */
	for (struct db_request *member = reversed; member; member = next) {
		next = member->next;
		member->alone = member->alone || alone;
		member->attempts += group->attempts;
		member->lost += group->lost;
		db_request_again(db, lane, member);
	}
	group->members = NULL;
	db_request_free(db, group);
}
