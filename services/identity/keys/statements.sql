-- Management, API and client keys, and the directory that finds them by their secret.

-- name: key_get read (key_id uuid) -> key Key
SELECT {Key.columns} FROM api_key WHERE project_id = :project AND key_id = :key_id AND revoked_at_us IS NULL;

-- name: key_list read (before uuid, limit int8) -> total int8, key Key
-- Newest first.
WITH t AS (SELECT count(*)::int8 AS n FROM api_key WHERE project_id = :project AND revoked_at_us IS NULL),
k AS (SELECT * FROM api_key WHERE project_id = :project AND revoked_at_us IS NULL AND key_id < :before ORDER BY key_id DESC LIMIT :limit)
SELECT t.n, {Key.columns(k)} FROM t LEFT JOIN k ON true ORDER BY k.key_id DESC;

-- name: key_create write (key Key, secret_hash bytea)
WITH w AS (INSERT INTO api_key (project_id, {Key.names}) VALUES (:project, {Key.values(key)}) RETURNING 1),
s AS (INSERT INTO key_secret (secret_hash, project_id, key_id, expires_at_us)
  SELECT :secret_hash, :project, :key.key_id, :key.expires_at_us FROM w),
{effects}
SELECT 1 FROM w;

-- name: key_revoke write (key_id uuid, version int8, at_us int8)
WITH w AS (UPDATE api_key SET revoked_at_us = :at_us, version = version + 1
  WHERE project_id = :project AND key_id = :key_id AND version = :version AND revoked_at_us IS NULL RETURNING 1),
s AS (DELETE FROM key_secret USING w WHERE project_id = :project AND key_id = :key_id),
{effects}
SELECT 1 FROM w;

-- name: key_rotate write (key Key, secret_hash bytea, old_until_us int8)
-- Another secret for the key as it was read; the present ones end at old_until_us.
WITH w AS (UPDATE api_key SET prefix = :key.prefix, version = :key.version + 1
  WHERE project_id = :project AND key_id = :key.key_id AND version = :key.version AND revoked_at_us IS NULL RETURNING 1),
d AS (UPDATE key_secret SET expires_at_us = least(coalesce(expires_at_us, :old_until_us), :old_until_us) FROM w
  WHERE project_id = :project AND key_id = :key.key_id),
s AS (INSERT INTO key_secret (secret_hash, project_id, key_id, expires_at_us)
  SELECT :secret_hash, :project, :key.key_id, :key.expires_at_us FROM w),
{effects}
SELECT 1 FROM w;

-- name: key_resolve read (secret_hash bytea, now_us int8) -> project_id uuid, key_id uuid, scopes text[], expires_at_us int8, platform bool
-- The live key behind a secret, of any project.
SELECT s.project_id, s.key_id, k.scopes, s.expires_at_us, p.platform FROM key_secret s
JOIN api_key k ON k.project_id = s.project_id AND k.key_id = s.key_id
JOIN project p ON p.project_id = s.project_id
WHERE s.secret_hash = :secret_hash AND k.revoked_at_us IS NULL AND coalesce(s.expires_at_us > :now_us, true);
