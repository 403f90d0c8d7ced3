-- The ledger. It spans all projects: the statements name theirs.

-- view: streamed Entry except source, outbox_id, type, subject, user_id, at_us

-- name: load_heads read (heads uuid[], projects uuid[], outbox_ids int8[], sums bytea[], source text) ->
--   kind int2, project_id uuid, number int8, hash bytea, same bool
-- In one snapshot: kind 0 the stream's position; 1 a project's head; 2 an item that is there already, and whether it is the same event. LIMIT 1 keeps the planner
-- from joining by anything but one look-up in event_outbox_key per item.
SELECT 0::int2, NULL::uuid, position, NULL::bytea, true FROM stream WHERE shard = 0
UNION ALL SELECT 1::int2, project_id, seq, hash, true FROM head WHERE project_id = ANY (:heads)
UNION ALL SELECT 2::int2, u.project_id, u.outbox_id, NULL, sha256(e.event) = u.sum
  FROM unnest(:projects, :outbox_ids, :sums) AS u (project_id, outbox_id, sum) CROSS JOIN LATERAL
  (SELECT event FROM event e WHERE e.project_id = u.project_id AND e.source = :source AND e.outbox_id = u.outbox_id LIMIT 1) e;

-- name: append write (old_position int8, position int8, heads Head[], entries Entry[])
-- The compare-and-set of the position orders all appends, also those of other replicas: where it fails nothing is inserted.
WITH s AS (UPDATE stream SET position = :position WHERE shard = 0 AND position = :old_position RETURNING shard),
h AS (INSERT INTO head ({Head.names}) SELECT {Head.from(u)} FROM s, unnest({Head.values(heads)}) AS u ({Head.names})
  ON CONFLICT (project_id) DO UPDATE SET seq = EXCLUDED.seq, hash = EXCLUDED.hash),
e AS (INSERT INTO event ({Entry.names}) SELECT {Entry.from(u)} FROM s, unnest({Entry.values(entries)}) AS u ({Entry.names}))
SELECT shard FROM s;

-- name: read_project read (project_id uuid, after int8, limit int8, bytes int8) -> head int8, entry Entry
-- The running sum cuts the page by bytes without fetching the events that are cut off.
SELECT coalesce(h.seq, 0), {Entry.columns(e)} FROM (SELECT (SELECT seq FROM head WHERE project_id = :project_id) AS seq) h
LEFT JOIN LATERAL (SELECT * FROM (SELECT r.*, sum(octet_length(event)) OVER (ORDER BY seq) - octet_length(event) AS before FROM
  (SELECT * FROM event WHERE project_id = :project_id AND seq > :after ORDER BY seq LIMIT :limit) r) c WHERE before < :bytes) e
  ON true ORDER BY e.seq;

-- part: stream(condition)
SELECT s.position, {streamed.columns(e)} FROM (SELECT position FROM stream WHERE shard = 0) s
LEFT JOIN LATERAL (SELECT * FROM (SELECT r.*, sum(octet_length(event)) OVER (ORDER BY position) - octet_length(event) AS before FROM
  (SELECT {streamed.columns} FROM event WHERE position > :after AND $condition ORDER BY position LIMIT :limit) r) c WHERE before < :bytes) e
  ON true ORDER BY e.position

-- name: read_stream read (after int8, limit int8, bytes int8) -> head int8, entry streamed
{stream(true)};

-- name: read_stream_revoking read (after int8, limit int8, bytes int8) -> head int8, entry streamed
{stream(revokes)};

-- name: read_stream_types read (after int8, limit int8, bytes int8, types int2[], until int8) -> head int8, entry streamed
{stream(position <= :until AND type = ANY (:types))};

-- part: since(condition)
-- "+ 0" keeps the planner from walking event_position_key from the oldest entry on.
SELECT coalesce((SELECT min(position + 0) - 1 FROM event WHERE $condition), (SELECT position FROM stream WHERE shard = 0))

-- name: find_since read (since_us int8) -> position int8
{since(at_us >= :since_us)};

-- name: find_since_revoking read (since_us int8) -> position int8
{since(at_us >= :since_us AND revokes)};

-- name: get_head read (project_id uuid) -> seq int8, hash bytea, newest int8
-- The head row and, in the same snapshot, the newest number that table event holds.
SELECT (SELECT seq FROM head WHERE project_id = :project_id), (SELECT hash FROM head WHERE project_id = :project_id),
  coalesce((SELECT max(seq) FROM event WHERE project_id = :project_id), 0);
