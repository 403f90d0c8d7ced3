/* Groups of reads in one statement: requests of the same statement that wait at the same moment are asked together, and each gets
 * its row. Postgres then binds, starts and describes once for all of them. */
#include "db/db_internal.h"

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

static void group_finish(struct db *db, struct db_request *group, enum status status, PGresult *result);
static void group_requeue(struct db *db, struct db_request *group, bool alone);

static const struct db_group_ends group_ends = {group_finish, group_requeue};

static struct db_request *group_new(struct db *db)
{
	struct db_shared *shared = calloc(1, sizeof(*shared));
	struct db_request *group = shared ? db_request_new(db) : NULL;
	if (!group) {
		free(shared);
		return NULL;
	}
	atomic_init(&shared->owners, 1);
	group->shared = shared;
	group->group = &group_ends;
	return group;
}

struct db_request *db_group_gather(struct db *db, struct db_request *first)
{
	struct db_queue *queue = &db->queue[DB_READ];
	if (!first->stmt->together || first->alone || !group_takes(first, queue->head))
		return first;
	struct db_request *group = group_new(db);
	if (!group)
		return first;
	struct db_request **end = &group->members;
	group->stmt = first->stmt->together;
	*end = first;
	for (int count = 1; count < DB_TOGETHER && group_takes(first, queue->head); count++) {
		(*end)->state = DB_SENT;
		end = &(*end)->next;
		*end = db_queue_pop(queue);
	}
	(*end)->state = DB_SENT;
	(*end)->next = NULL;
	group_args(group, &db->group_args);
	group->args = &db->group_args; /* looked at until the statement is sent */
	return group;
}

/* A good result goes to the members; after an error, which may be the fault of one, they are asked one by one. */
static void group_finish(struct db *db, struct db_request *group, enum status status, PGresult *result)
{
	int rows[DB_TOGETHER], place = 0;
	struct db_shared *shared = group->shared;
	shared->result = result;
	if (status != ST_OK) {
		group_requeue(db, group, true);
		return;
	}
	for (int i = 0; i < DB_TOGETHER; i++)
		rows[i] = -1;
	for (int row = 0; row < PQntuples(result); row++) {
		uint32_t number;
		memcpy(&number, PQgetvalue(result, row, 0), sizeof(number));
		rows[be32toh(number) % DB_TOGETHER] = row;
	}
	while (group->members) {
		struct db_request *member = group->members;
		group->members = member->next;
		member->row = rows[place++];
		member->shared = shared;
		atomic_fetch_add(&shared->owners, 1);
		db_request_finish(db, member, ST_OK, NULL);
	}
	db_request_free(db, group);
}

/* Its members go back to the front of the queue; alone: to be sent each for itself. */
static void group_requeue(struct db *db, struct db_request *group, bool alone)
{
	struct db_request *reversed = NULL;
	while (group->members) {
		struct db_request *member = group->members;
		group->members = member->next;
		member->next = reversed;
		reversed = member;
	}
	/* The last one first, because each goes to the front of the queue. */
	while (reversed) {
		struct db_request *member = reversed;
		reversed = member->next;
		member->alone = member->alone || alone;
		member->attempts += group->attempts;
		member->lost += group->lost;
		db_request_requeue(db, member);
	}
	db_request_free(db, group);
}
