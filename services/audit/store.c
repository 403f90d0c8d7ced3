/* SQL of the ledger. The only file of this service that holds statements. */
#include "store.h"

#include <string.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

enum load_kind { LOAD_POSITION, LOAD_HEAD, LOAD_DUPLICATE };

/* LIMIT 1 keeps the planner from joining by anything but one look-up in event_outbox_key per item. */
static const struct db_stmt load_heads = {
    "audit_load_heads",
    "SELECT 0::int2, NULL::uuid, position, NULL::bytea, true FROM stream WHERE shard = 0 "
    "UNION ALL SELECT 1::int2, project_id, seq, hash, true FROM head WHERE project_id = ANY ($1::uuid[]) "
    "UNION ALL SELECT 2::int2, u.project_id, u.outbox_id, NULL, sha256(e.event) = u.sum "
    "FROM unnest($2::uuid[], $3::int8[], $4::bytea[]) AS u (project_id, outbox_id, sum) CROSS JOIN LATERAL ("
    "SELECT event FROM event e WHERE e.project_id = u.project_id AND e.source = $5 AND e.outbox_id = u.outbox_id LIMIT "
    "1"
    ") e",
    DB_READ,
};

/* The compare-and-set of the position orders all appends, also those of other replicas: where it fails nothing is inserted. */
static const struct db_stmt append = {
    "audit_append",
    "WITH s AS (UPDATE stream SET position = $2 WHERE shard = 0 AND position = $1 RETURNING shard), "
    "h AS (INSERT INTO head (project_id, seq, hash) SELECT u.p, u.n, u.h FROM s, "
    "unnest($3::uuid[], $4::int8[], $5::bytea[]) AS u (p, n, h) "
    "ON CONFLICT (project_id) DO UPDATE SET seq = EXCLUDED.seq, hash = EXCLUDED.hash), "
    "e AS (INSERT INTO event (project_id, seq, position, source, outbox_id, type, subject, user_id, at_us, event, "
    "hash, revokes) "
    "SELECT u.p, u.n, u.pos, $16, u.o, u.t, u.s, u.usr, u.at, u.e, u.h, u.r FROM s, unnest($6::uuid[], $7::int8[], "
    "$8::int8[], $9::int8[], $10::int2[], $11::text[], $12::text[], $13::int8[], $14::bytea[], $15::bytea[], "
    "$17::bool[]) AS u (p, n, pos, o, t, s, usr, at, e, h, r)) "
    "SELECT shard FROM s",
    DB_WRITE,
};

/* The running sum cuts the page by bytes without fetching the events that are cut off. */
static const struct db_stmt read_project = {
    "audit_read_project",
    "SELECT coalesce(h.seq, 0), e.seq, e.position, e.source, e.outbox_id, e.type, e.subject, e.user_id, e.at_us, "
    "e.event, "
    "e.hash FROM (SELECT (SELECT seq FROM head WHERE project_id = $1) AS seq) h LEFT JOIN LATERAL ("
    "SELECT * FROM (SELECT r.*, sum(octet_length(event)) OVER (ORDER BY seq) - octet_length(event) AS before FROM ("
    "SELECT * FROM event WHERE project_id = $1 AND seq > $2 ORDER BY seq LIMIT $3) r) c WHERE before < $4) e ON true "
    "ORDER BY e.seq",
    DB_READ,
};

#define STREAM_SELECT(where)                                                                                           \
	"SELECT s.position, e.project_id, e.seq, e.position, e.event, e.hash FROM "                                    \
	"(SELECT position FROM stream WHERE shard = 0) s LEFT JOIN LATERAL ("                                          \
	"SELECT * FROM (SELECT r.*, sum(octet_length(event)) OVER (ORDER BY position) - octet_length(event) AS "       \
	"before "                                                                                                      \
	"FROM (SELECT project_id, seq, position, event, hash FROM event WHERE position > $1 " where                    \
	" ORDER BY position LIMIT $2) r) c WHERE before < $3) e ON true ORDER BY e.position"

static const struct db_stmt read_stream = {"audit_read_stream", STREAM_SELECT(""), DB_READ};
static const struct db_stmt read_stream_types = {
    "audit_read_stream_types",
    STREAM_SELECT("AND position <= $1 + " TEXT(STORE_SCAN_MAX) " AND type = ANY ($4::int2[])"),
    DB_READ,
};
static const struct db_stmt read_stream_revoking = {
    "audit_read_stream_revoking",
    STREAM_SELECT("AND revokes"),
    DB_READ,
};

/* "+ 0" keeps the planner from walking event_position_key from the oldest entry on. */
static const struct db_stmt find_since = {
    "audit_find_since",
    "SELECT coalesce((SELECT min(position + 0) - 1 FROM event WHERE at_us >= $1), "
    "(SELECT position FROM stream WHERE shard = 0))",
    DB_READ,
};

static const struct db_stmt find_since_revoking = {
    "audit_find_since_revoking",
    "SELECT coalesce((SELECT min(position + 0) - 1 FROM event WHERE at_us >= $1 AND revokes), "
    "(SELECT position FROM stream WHERE shard = 0))",
    DB_READ,
};

static const struct db_stmt get_head = {
    "audit_get_head",
    "SELECT (SELECT seq FROM head WHERE project_id = $1), (SELECT hash FROM head WHERE project_id = $1), "
    "coalesce((SELECT max(seq) FROM event WHERE project_id = $1), 0)",
    DB_READ,
};

/* ---- append ---- */

/* Copies a hash column; false when it has not the size of a hash. */
static bool take_hash(const struct db_rows *rows, int row, int column, uint8_t ret_hash[SHA256_SIZE])
{
	size_t len;
	const void *data = db_bytes(rows, row, column, &len);
	if (!data || len != SHA256_SIZE)
		return false;
	memcpy(ret_hash, data, SHA256_SIZE);
	return true;
}

static struct head *find_head(struct batch *batch, const struct id *project)
{
	for (size_t i = 0; i < batch->head_count; i++)
		if (id_equal(&batch->heads[i].project, project))
			return &batch->heads[i];
	return NULL;
}

static void mark_duplicate(struct batch *batch, const struct id *project, int64_t outbox_id)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct entry *entry = &batch->items[i].entry;
		if (entry->outbox_id == outbox_id && id_equal(&entry->project, project))
			batch->items[i].duplicate = true;
	}
}

MUST_USE static enum status take_loaded(const struct db_rows *rows, struct batch *batch)
{
	int64_t position = -1;
	for (int row = 0; row < rows->count; row++) {
		int64_t kind = db_int(rows, row, 0);
		struct id project = db_id(rows, row, 1);
		struct head *head = kind == LOAD_HEAD ? find_head(batch, &project) : NULL;
		if (kind == LOAD_POSITION) {
			position = db_int(rows, row, 2);
		} else if (kind == LOAD_DUPLICATE) {
			if (!db_bool(rows, row, 4))
				return ST_CONFLICT;
			mark_duplicate(batch, &project, db_int(rows, row, 2));
		} else if (head) {
			head->seq = db_int(rows, row, 2);
			if (!take_hash(rows, row, 3, head->hash))
				return ST_INTERNAL;
		}
	}
	if (position < 0)
		return ST_INTERNAL;
	batch->position = position;
	return ST_OK;
}

/* Columns of a batch, as arrays for unnest. */
struct columns {
	struct id *projects;
	int64_t *seqs, *positions, *outbox_ids, *ats;
	int16_t *types;
	bool *revokes;
	const char **subjects, **user_ids;
	struct db_blob *events, *hashes;
	size_t count;
};

MUST_USE static bool columns_new(struct columns *columns, struct arena *arena, size_t count)
{
	*columns = (struct columns){
	    .projects = arena_alloc(arena, count * sizeof *columns->projects),
	    .seqs = arena_alloc(arena, count * sizeof *columns->seqs),
	    .positions = arena_alloc(arena, count * sizeof *columns->positions),
	    .outbox_ids = arena_alloc(arena, count * sizeof *columns->outbox_ids),
	    .ats = arena_alloc(arena, count * sizeof *columns->ats),
	    .types = arena_alloc(arena, count * sizeof *columns->types),
	    .revokes = arena_alloc(arena, count * sizeof *columns->revokes),
	    .subjects = arena_alloc(arena, count * sizeof *columns->subjects),
	    .user_ids = arena_alloc(arena, count * sizeof *columns->user_ids),
	    .events = arena_alloc(arena, count * sizeof *columns->events),
	    .hashes = arena_alloc(arena, count * sizeof *columns->hashes),
	};
	return columns->projects && columns->seqs && columns->positions && columns->outbox_ids && columns->ats &&
	       columns->types && columns->revokes && columns->subjects && columns->user_ids && columns->events &&
	       columns->hashes;
}

static void columns_add(struct columns *columns, const struct entry *entry)
{
	size_t i = columns->count++;
	columns->projects[i] = entry->project;
	columns->seqs[i] = entry->seq;
	columns->positions[i] = entry->position;
	columns->outbox_ids[i] = entry->outbox_id;
	columns->ats[i] = entry->at_us;
	columns->types[i] = entry->type;
	columns->revokes[i] = entry->revokes;
	columns->subjects[i] = entry->subject;
	columns->user_ids[i] = entry->user_id;
	columns->events[i] = (struct db_blob){entry->event, entry->event_len};
	columns->hashes[i] = (struct db_blob){entry->hash, SHA256_SIZE};
}

enum status store_load_heads(const struct store_call *call, struct batch *batch)
{
	struct db_args args = {0};
	struct db_rows rows;
	size_t count = batch->count;
	struct id *heads = arena_alloc(call->arena, batch->head_count * sizeof *heads);
	struct id *projects = arena_alloc(call->arena, count * sizeof *projects);
	int64_t *outbox_ids = arena_alloc(call->arena, count * sizeof *outbox_ids);
	struct db_blob *sums = arena_alloc(call->arena, count * sizeof *sums);
	uint8_t *digests = arena_alloc(call->arena, count * SHA256_SIZE);
	if (!heads || !projects || !outbox_ids || !sums || !digests)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < batch->head_count; i++) {
		batch->heads[i] = (struct head){.project = batch->heads[i].project};
		heads[i] = batch->heads[i].project;
	}
	for (size_t i = 0; i < count; i++) {
		const struct entry *entry = &batch->items[i].entry;
		uint8_t *digest = digests + i * SHA256_SIZE;
		projects[i] = entry->project;
		outbox_ids[i] = entry->outbox_id;
		secret_sha256(entry->event, entry->event_len, digest);
		sums[i] = (struct db_blob){digest, SHA256_SIZE};
	}
	db_arg_ids(&args, call->arena, heads, batch->head_count);
	db_arg_ids(&args, call->arena, projects, count);
	db_arg_int8s(&args, call->arena, outbox_ids, count);
	db_arg_bytes_array(&args, call->arena, sums, count);
	db_arg_text(&args, batch->source);
	enum status status = db_run(call->db, &load_heads, &args, call->arena, call->deadline_us, &rows);
	return status == ST_OK ? take_loaded(&rows, batch) : status;
}

enum status store_append_batch(const struct store_call *call, const struct batch *batch, int64_t old_position,
                               bool *ret_won)
{
	struct arena *arena = call->arena;
	struct db_args args = {0};
	struct db_rows rows;
	struct columns heads, events;
	if (!columns_new(&heads, arena, batch->head_count) || !columns_new(&events, arena, batch->count))
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < batch->head_count; i++) {
		heads.projects[i] = batch->heads[i].project;
		heads.seqs[i] = batch->heads[i].seq;
		heads.hashes[i] = (struct db_blob){batch->heads[i].hash, SHA256_SIZE};
	}
	for (size_t i = 0; i < batch->count; i++)
		if (!batch->items[i].duplicate)
			columns_add(&events, &batch->items[i].entry);
	db_arg_int8(&args, old_position);
	db_arg_int8(&args, batch->position);
	db_arg_ids(&args, arena, heads.projects, batch->head_count);
	db_arg_int8s(&args, arena, heads.seqs, batch->head_count);
	db_arg_bytes_array(&args, arena, heads.hashes, batch->head_count);
	db_arg_ids(&args, arena, events.projects, events.count);
	db_arg_int8s(&args, arena, events.seqs, events.count);
	db_arg_int8s(&args, arena, events.positions, events.count);
	db_arg_int8s(&args, arena, events.outbox_ids, events.count);
	db_arg_int2s(&args, arena, events.types, events.count);
	db_arg_texts(&args, arena, events.subjects, events.count);
	db_arg_texts(&args, arena, events.user_ids, events.count);
	db_arg_int8s(&args, arena, events.ats, events.count);
	db_arg_bytes_array(&args, arena, events.events, events.count);
	db_arg_bytes_array(&args, arena, events.hashes, events.count);
	db_arg_text(&args, batch->source);
	db_arg_bools(&args, arena, events.revokes, events.count);
	enum status status = db_run(call->db, &append, &args, arena, call->deadline_us, &rows);
	if (status == ST_OK)
		*ret_won = rows.count == 1;
	return status;
}

/* ---- reads ---- */

MUST_USE static enum status page_new(struct page *page, struct arena *arena, const struct db_rows *rows)
{
	*page = (struct page){.entries = arena_alloc(arena, (size_t)(rows->count + 1) * sizeof *page->entries)};
	if (!page->entries)
		return ST_RESOURCE_EXHAUSTED;
	if (rows->count < 1)
		return ST_INTERNAL;
	page->head = db_int(rows, 0, 0);
	return ST_OK;
}

enum status store_read_entries(const struct store_call *call, const struct id *project, int64_t after, int limit,
                               struct page *ret_page)
{
	struct db_args args = {0};
	struct db_rows rows;
	struct page page = {0};
	db_arg_id(&args, project);
	db_arg_int8(&args, after);
	db_arg_int8(&args, limit);
	db_arg_int8(&args, AUDIT_READ_MAX_BYTES);
	enum status status = db_run(call->db, &read_project, &args, call->arena, call->deadline_us, &rows);
	if (status == ST_OK)
		status = page_new(&page, call->arena, &rows);
	if (status != ST_OK)
		return status;
	for (int row = 0; row < rows.count && !db_null(&rows, row, 1); row++) {
		struct entry *entry = &page.entries[page.count++];
		entry->project = *project;
		entry->seq = db_int(&rows, row, 1);
		entry->position = db_int(&rows, row, 2);
		entry->source = db_text(&rows, row, 3);
		entry->outbox_id = db_int(&rows, row, 4);
		entry->type = (int16_t)db_int(&rows, row, 5);
		entry->subject = db_text(&rows, row, 6);
		entry->user_id = db_text(&rows, row, 7);
		entry->at_us = db_int(&rows, row, 8);
		entry->event = db_bytes(&rows, row, 9, &entry->event_len);
		if (!take_hash(&rows, row, 10, entry->hash)) /* somebody cut it: shown as zeros, does not verify */
			memset(entry->hash, 0, SHA256_SIZE);
	}
	page.next = page.count ? page.entries[page.count - 1].seq : after;
	*ret_page = page;
	return ST_OK;
}

/* How far a read came: to its last entry when it was cut by count or bytes, else to the end of what it looked at. */
static int64_t stream_next(const struct stream_filter *filter, const struct page *page, size_t bytes)
{
	bool cut = page->count == (size_t)filter->limit || bytes >= AUDIT_READ_MAX_BYTES;
	int64_t end = page->head;
	if (cut)
		return page->entries[page->count - 1].position;
	if (filter->type_count && end - filter->after > STORE_SCAN_MAX)
		end = filter->after + STORE_SCAN_MAX;
	return end > filter->after ? end : filter->after;
}

enum status store_read_stream(const struct store_call *call, const struct stream_filter *filter, struct page *ret_page)
{
	struct db_args args = {0};
	struct db_rows rows;
	struct page page = {0};
	size_t bytes = 0;
	const struct db_stmt *stmt = filter->type_count ? &read_stream_types
	                             : filter->revoking ? &read_stream_revoking
	                                                : &read_stream;
	db_arg_int8(&args, filter->after);
	db_arg_int8(&args, filter->limit);
	db_arg_int8(&args, AUDIT_READ_MAX_BYTES);
	if (filter->type_count)
		db_arg_int2s(&args, call->arena, filter->types, filter->type_count);
	enum status status = db_run(call->db, stmt, &args, call->arena, call->deadline_us, &rows);
	if (status == ST_OK)
		status = page_new(&page, call->arena, &rows);
	if (status != ST_OK)
		return status;
	for (int row = 0; row < rows.count && !db_null(&rows, row, 3); row++) {
		struct entry *entry = &page.entries[page.count++];
		entry->project = db_id(&rows, row, 1);
		entry->seq = db_int(&rows, row, 2);
		entry->position = db_int(&rows, row, 3);
		entry->event = db_bytes(&rows, row, 4, &entry->event_len);
		if (!take_hash(&rows, row, 5, entry->hash))
			memset(entry->hash, 0, SHA256_SIZE);
		bytes += entry->event_len;
	}
	page.next = stream_next(filter, &page, bytes);
	*ret_page = page;
	return ST_OK;
}

enum status store_find_since(const struct store_call *call, const struct stream_filter *filter, int64_t since_us,
                             int64_t *ret_position)
{
	struct db_args args = {0};
	struct db_rows rows;
	const struct db_stmt *stmt = filter->revoking ? &find_since_revoking : &find_since;
	db_arg_int8(&args, since_us);
	enum status status = db_run(call->db, stmt, &args, call->arena, call->deadline_us, &rows);
	if (status != ST_OK)
		return status;
	if (rows.count != 1)
		return ST_INTERNAL;
	*ret_position = db_int(&rows, 0, 0);
	return ST_OK;
}

enum status store_get_head(const struct store_call *call, const struct id *project, struct head *ret_head,
                           int64_t *ret_newest)
{
	struct db_args args = {0};
	struct db_rows rows;
	struct head head = {.project = *project};
	db_arg_id(&args, project);
	enum status status = db_run(call->db, &get_head, &args, call->arena, call->deadline_us, &rows);
	if (status != ST_OK)
		return status;
	if (rows.count != 1)
		return ST_INTERNAL;
	head.seq = db_int(&rows, 0, 0);
	if (!db_null(&rows, 0, 1) && !take_hash(&rows, 0, 1, head.hash))
		memset(head.hash, 0, SHA256_SIZE);
	*ret_head = head;
	*ret_newest = db_int(&rows, 0, 2);
	return ST_OK;
}
