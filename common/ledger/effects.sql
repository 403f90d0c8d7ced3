-- What is committed together with a change: its events and the record that answers a repeated request. Every write of every service uses these parts.
-- In the statement the change itself is called w and has a row when it was made.

-- part: outbox_of(project)
o AS (INSERT INTO outbox (project_id, event, revokes)
  SELECT $project, e.event, :revokes FROM unnest(:events) WITH ORDINALITY e (event, n) WHERE EXISTS (SELECT FROM w) ORDER BY e.n)

-- part: outbox
{outbox_of(:project)}

-- part: operation
p AS (INSERT INTO operation (project_id, operation_id, method, request_hash, reply, at_us)
  SELECT :project, :operation, :method, :request_hash, :reply, :operation_at_us WHERE :operation IS NOT NULL AND EXISTS (SELECT FROM w))

-- part: effects
{outbox}, {operation}
