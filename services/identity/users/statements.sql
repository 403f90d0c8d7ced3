-- Users. Every write is one statement: row, login ids, counter, events, operation.
--
-- Postgres runs the parts that nothing reads from the last to the first: the login ids come last in the text so that the wait for a unique value is over
-- before the counter's row is locked, and that lock is held shortly.

-- view: user_shown User except password_hash

-- part: schema_is(version)
coalesce((SELECT version FROM attribute_schema WHERE project_id = :project), 0) = $version

-- part: login_owner(value)
-- Who has a value: one index probe for each. LIMIT keeps the planner from reading the whole project instead, which it does while the statistics are those of a
-- small table.
LATERAL (SELECT user_id FROM login_id WHERE project_id = :project AND login_id.value = $value LIMIT 1) m

-- part: external_owner(value)
LATERAL (SELECT user_id FROM users WHERE project_id = :project AND external_id = $value LIMIT 1) m

-- name: user_show read (user_id uuid) -> user user_shown
SELECT {user_shown.columns(u)} FROM users u WHERE u.project_id = :project AND u.user_id = :user_id;

-- together: user_show
SELECT k.n, {user_shown.columns(u)} FROM {together} k (project_id, user_id, n)
JOIN users u ON u.project_id = k.project_id AND u.user_id = k.user_id;

-- name: user_get read (user_id uuid) -> user User
-- With the password's hash, as the others below.
SELECT {User.columns(u)} FROM users u WHERE u.project_id = :project AND u.user_id = :user_id;

-- name: user_by_login read (login text) -> user User
SELECT {User.columns(u)} FROM login_id l JOIN users u ON u.project_id = l.project_id AND u.user_id = l.user_id
WHERE l.project_id = :project AND l.value = :login;

-- name: user_by_external_id read (external_id text) -> user User
SELECT {User.columns(u)} FROM users u WHERE u.project_id = :project AND u.external_id = :external_id;

-- name: user_create write (user User, shard int2, logins text[], schema_version int8)
-- No row: the attribute schema is another by now.
WITH w AS (INSERT INTO users (project_id, {User.names}) SELECT :project, {User.values(user)} WHERE {schema_is(:schema_version)} RETURNING 1),
c AS (INSERT INTO user_count AS t (project_id, status, shard, n) SELECT :project, :user.status, :shard, 1 FROM w
  ON CONFLICT (project_id, status, shard) DO UPDATE SET n = t.n + 1),
{effects},
l AS (INSERT INTO login_id (project_id, value, user_id) SELECT :project, v, :user.user_id FROM w, unnest(:logins) v)
SELECT 1 FROM w;

-- name: user_update write (user User, before User, shard int2, added text[], removed text[], schema_version int8)
-- No row: the user or the attribute schema is another by now.
WITH w AS (UPDATE users SET {User.set(user, -user_id, -created_at_us)}
  WHERE project_id = :project AND user_id = :user.user_id AND version = :before.version AND epoch = :before.epoch
  AND password_hash IS NOT DISTINCT FROM :before.password_hash AND {schema_is(:schema_version)} RETURNING 1),
c AS (INSERT INTO user_count AS t (project_id, status, shard, n)
  SELECT :project, s.status, :shard, s.n FROM w, (VALUES (:user.status, 1), (:before.status, -1)) s (status, n) WHERE :user.status <> :before.status
  ORDER BY s.status ON CONFLICT (project_id, status, shard) DO UPDATE SET n = t.n + excluded.n),
{effects},
d AS (DELETE FROM login_id USING w WHERE cardinality(:removed) > 0 AND project_id = :project AND value = ANY (:removed) AND user_id = :user.user_id),
l AS (INSERT INTO login_id (project_id, value, user_id) SELECT :project, v, :user.user_id FROM w, unnest(:added) v)
SELECT 1 FROM w;

-- name: user_delete write (before User, shard int2)
-- The row as it was read, and all that hangs on it.
WITH w AS (DELETE FROM users WHERE project_id = :project AND user_id = :before.user_id AND version = :before.version AND epoch = :before.epoch RETURNING 1),
c AS (INSERT INTO user_count AS t (project_id, status, shard, n) SELECT :project, :before.status, :shard, -1 FROM w
  ON CONFLICT (project_id, status, shard) DO UPDATE SET n = t.n - 1),
{effects},
{User.satellites(:before.user_id)}
SELECT 1 FROM w;

-- name: user_count read (status int2) -> total int8
-- The kept total; status 0 = all.
SELECT coalesce(sum(n), 0)::int8 FROM user_count WHERE project_id = :project AND :status IN (0, status);

-- name: user_lookup read (ids uuid[], logins text[], external_ids text[]) -> user user_shown
-- Every user that one of the values names, each once.
WITH f AS MATERIALIZED (SELECT user_id FROM unnest(:ids) user_id
  UNION SELECT m.user_id FROM unnest(:logins) v, {login_owner(v)}
  UNION SELECT m.user_id FROM unnest(:external_ids) e, {external_owner(e)})
SELECT {user_shown.columns(u)} FROM f, LATERAL (SELECT * FROM users WHERE project_id = :project AND user_id = f.user_id LIMIT 1) u;

-- name: import_find read (logins text[], external_ids text[], operation_id uuid) -> kind int2, value text, user_id uuid
-- Which values belong to a user already: kind 0 a login id, 1 an external id; 2: the operation is on record, the batch was written before.
SELECT 0::int2, v, m.user_id FROM unnest(:logins) v, {login_owner(v)}
UNION ALL SELECT 1::int2, e, m.user_id FROM unnest(:external_ids) e, {external_owner(e)}
UNION ALL SELECT 2::int2, '', operation_id FROM operation WHERE project_id = :project AND operation_id = :operation_id;

-- name: import_insert write (users User[], logins text[], login_users uuid[], schema_version int8)
-- All rows or none. logins: all users' login values, login_users: whose they are.
WITH w AS (INSERT INTO users (project_id, {User.names})
  SELECT :project, {User.from(r)} FROM unnest({User.values(users)}) AS r ({User.names}) WHERE {schema_is(:schema_version)} RETURNING user_id, status),
{outbox},
c AS (INSERT INTO user_count AS t (project_id, status, shard, n)
  SELECT :project, status, (get_byte(uuid_send(user_id), 15) & 15)::int2, count(*) FROM w GROUP BY 2, 3 ORDER BY 2, 3
  ON CONFLICT (project_id, status, shard) DO UPDATE SET n = t.n + excluded.n),
{operation},
l AS (INSERT INTO login_id (project_id, value, user_id) SELECT :project, v.value, v.user_id FROM unnest(:logins, :login_users) v (value, user_id)
  WHERE EXISTS (SELECT 1 FROM w))
SELECT 1 FROM w LIMIT 1;
