-- Roles.

-- name: role_get read (code text) -> role Role
SELECT {Role.columns} FROM role WHERE project_id = :project AND code = :code;

-- name: role_list read (after text, limit int8) -> total int8, role Role
WITH t AS (SELECT count(*)::int8 AS n FROM role WHERE project_id = :project),
r AS (SELECT * FROM role WHERE project_id = :project AND code > :after ORDER BY code LIMIT :limit)
SELECT t.n, {Role.columns(r)} FROM t LEFT JOIN r ON true ORDER BY r.code;

-- name: role_create write (role Role)
WITH w AS (INSERT INTO role (project_id, {Role.names}) VALUES (:project, {Role.values(role)}) RETURNING 1), {effects} SELECT 1 FROM w;

-- name: role_update write (role Role, before Role)
WITH w AS (UPDATE role SET {Role.set(role, -code, -created_at_us)} WHERE project_id = :project AND code = :before.code AND version = :before.version
  RETURNING 1), {effects} SELECT 1 FROM w;

-- name: role_delete write (before Role)
WITH w AS (DELETE FROM role WHERE project_id = :project AND code = :before.code AND version = :before.version RETURNING 1), {effects} SELECT 1 FROM w;

-- name: role_user read (code text) -> user_id uuid
-- One of the users who have the role.
SELECT user_id FROM users WHERE project_id = :project AND roles @> ARRAY[:code] AND roles <> '{}' LIMIT 1;

-- name: role_unknown read (codes text[]) -> code text
-- The first code that names no role.
SELECT c FROM unnest(:codes) WITH ORDINALITY u (c, n) WHERE NOT EXISTS (SELECT FROM role WHERE project_id = :project AND code = c) ORDER BY n LIMIT 1;
