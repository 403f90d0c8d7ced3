-- Projects. These statements are the only ones that look beyond the caller's project.

-- name: project_get read -> project Project
SELECT {Project.columns} FROM project WHERE project_id = :project;

-- name: project_platform read -> project_id uuid
SELECT project_id FROM project WHERE platform;

-- name: project_list read (after uuid, limit int8) -> total int8, project Project
-- Oldest first.
WITH t AS (SELECT count(*)::int8 AS n FROM project),
p AS (SELECT * FROM project WHERE project_id > :after ORDER BY project_id LIMIT :limit)
SELECT t.n, {Project.columns(p)} FROM t LEFT JOIN p ON true ORDER BY p.project_id;

-- name: project_create write (created Project, key Key, secret_hash bytea)
-- A project and its first key; the events stand in the new project's ledger, the operation under the caller's project.
WITH w AS (INSERT INTO project ({Project.names}) VALUES ({Project.values(created)}) RETURNING 1),
k AS (INSERT INTO api_key (project_id, {Key.names}) SELECT :created.project_id, {Key.values(key)} FROM w),
s AS (INSERT INTO key_secret (secret_hash, project_id, key_id, expires_at_us)
  SELECT :secret_hash, :created.project_id, :key.key_id, :key.expires_at_us FROM w),
{outbox_of(:created.project_id)}, {operation}
SELECT 1 FROM w;
