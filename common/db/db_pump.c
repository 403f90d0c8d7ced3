/* The pump: hands what waits to the lanes, once per turn of the loop. */
#include "db/db_internal.h"

/* A lane takes a group of up to READ_GROUP requests behind one Sync, and a second group while the first is in work. */
#define READ_GROUP 64
#define READ_GROUPS 2
/* A write is a group of its own: its commit is one flush of the log. A second one waits in the server, not here. */
#define WRITE_DEPTH 2

static struct db_lane *db_pick_lane(struct db *db, enum db_kind kind)
{
	struct db_lane *best = NULL;
	for (unsigned i = 0; i < db->lane_count[kind]; i++) {
		struct db_lane *lane = &db->lanes[kind][i];
		if (!db_lane_usable(lane))
			continue;
		bool busy = kind == DB_READ ? lane->syncs >= READ_GROUPS && !db->queue[DB_READ].head->alone
		                            : lane->in_flight >= WRITE_DEPTH;
		if (busy)
			continue;
		if (!best || lane->in_flight < best->in_flight)
			best = lane;
	}
	return best;
}

/* One group of reads: all that wait, behind one Sync. A request that was aborted by a neighbour goes alone. */
static void db_send_reads(struct db *db, struct db_lane *lane)
{
	struct db_queue *queue = &db->queue[DB_READ];
	for (unsigned sent = 0; sent < READ_GROUP && queue->head; sent++) {
		bool alone = queue->head->alone;
		if (alone && sent > 0)
			break;
		struct db_request *request = db_group_gather(db, db_queue_pop(queue));
		if (!db_lane_send(lane, request)) {
			db_request_requeue(db, request);
			return;
		}
		if (alone)
			break;
	}
	db_lane_sync(lane, NULL);
}

static void db_send_write(struct db *db, struct db_lane *lane)
{
	struct db_request *request = db_queue_pop(&db->queue[DB_WRITE]);
	if (db_lane_send(lane, request))
		db_lane_sync(lane, request);
	else
		db_request_requeue(db, request);
}

void db_pump(void *arg)
{
	struct db *db = arg;
	struct db_lane *lane;
	db->pumping = false;
	if (db->closing)
		return;
	while (db->queue[DB_READ].head && (lane = db_pick_lane(db, DB_READ)))
		db_send_reads(db, lane);
	while (db->queue[DB_WRITE].head && (lane = db_pick_lane(db, DB_WRITE)))
		db_send_write(db, lane);
}
