-- The relay: its lease, the rows that it moves to the ledger, and the operations of which nobody asks any more.

-- name: outbox_lease write ahead (holder uuid) -> epoch int8
-- Takes or renews the lease; no row: another one has it.
UPDATE relay_lease SET holder = :holder, epoch = epoch + CASE WHEN holder = :holder AND expires_at > now() THEN 0 ELSE 1 END,
  expires_at = now() + interval '750 milliseconds'
WHERE name = 'outbox' AND (holder = :holder OR holder IS NULL OR expires_at < now()) RETURNING epoch;

-- name: outbox_release write (holder uuid)
UPDATE relay_lease SET holder = NULL, expires_at = '-infinity' WHERE name = 'outbox' AND holder = :holder;

-- name: outbox_read read ahead (limit int8) -> id int8, project_id uuid, event bytea
SELECT id, project_id, event FROM outbox ORDER BY id LIMIT :limit;

-- name: outbox_waiting read (limit int8) -> id int8, project_id uuid, event bytea
-- What takes access away and waits, in whatever backlog.
SELECT id, project_id, event FROM outbox WHERE revokes ORDER BY id LIMIT :limit;

-- name: outbox_delete write ahead (ids int8[], holder uuid, epoch int8)
DELETE FROM outbox WHERE id = ANY (:ids)
AND EXISTS (SELECT FROM relay_lease WHERE name = 'outbox' AND holder = :holder AND epoch = :epoch);

-- name: outbox_depth read -> depth int8
SELECT coalesce(max(id) - min(id) + 1, 0) FROM outbox;

-- name: outbox_purge write (before_us int8)
DELETE FROM operation WHERE (project_id, operation_id) IN
  (SELECT project_id, operation_id FROM operation WHERE at_us < :before_us ORDER BY at_us LIMIT 500);
