-- Custom claims, what a token needs, signing keys, and the position in the ledger.

-- name: claims_get read (user_id uuid) -> claims UserClaims
SELECT {UserClaims.columns} FROM user_claims WHERE project_id = :project AND user_id = :user_id AND NOT deleted;

-- name: claims_write write (claims UserClaims)
-- The successor of the version before; nothing when that is no longer the current one, or the user was deleted.
WITH w AS (INSERT INTO user_claims AS u (project_id, {UserClaims.names}) VALUES (:project, {UserClaims.values(claims)})
  ON CONFLICT (project_id, user_id) DO UPDATE
  SET document = excluded.document, version = excluded.version, updated_at_us = excluded.updated_at_us
  WHERE u.version = excluded.version - 1 AND NOT u.deleted RETURNING 1),
{effects}
SELECT 1 FROM w;

-- name: mint_read read (user_id uuid) -> kid text, x bytea, y bytea, sealed_private bytea, document text
-- All that a token needs, in one read: the key that signs and the user's claims, if there are any.
SELECT k.kid, k.x, k.y, k.sealed_private, u.document FROM signing_key k
LEFT JOIN user_claims u ON u.project_id = k.project_id AND u.user_id = :user_id AND NOT u.deleted
WHERE k.project_id = :project AND k.state = 'active';

-- name: signing_key_list read (now_us int8) -> key SigningKey
-- The published keys: the one that signs, the next one, then those that still verify, newest first.
SELECT {SigningKey.columns} FROM signing_key WHERE project_id = :project AND (state <> 'retiring' OR retires_at_us > :now_us)
ORDER BY state = 'active' DESC, state = 'next' DESC, created_at_us DESC, kid;

-- name: signing_keys_create write (active SigningKey, next SigningKey)
-- One statement: of replicas that come at once, one makes both.
INSERT INTO signing_key (project_id, {SigningKey.names})
VALUES (:project, {SigningKey.values(active)}), (:project, {SigningKey.values(next)}) ON CONFLICT DO NOTHING;

-- name: signing_key_replace write (active_kid text, next_kid text, retires_at_us int8, key SigningKey)
-- The next key signs from now on and `key` becomes the next one; the active one verifies until retires_at_us and loses its private part.
-- Writers of a project's keys queue up at its next key, which all of them take first (`up`): whoever comes second finds it gone or active, and
-- does nothing. Each part reads from the one before, so a key has left its unique index before another enters it.
WITH up AS (SELECT project_id FROM signing_key WHERE project_id = :project AND kid = :next_kid AND state = 'next' FOR UPDATE),
old AS (UPDATE signing_key k SET state = 'retiring', sealed_private = NULL, retires_at_us = :retires_at_us FROM up
  WHERE k.project_id = up.project_id AND k.kid = :active_kid AND k.state = 'active' RETURNING k.project_id),
risen AS (UPDATE signing_key k SET state = 'active' FROM old
  WHERE k.project_id = old.project_id AND k.kid = :next_kid RETURNING k.project_id),
w AS (INSERT INTO signing_key (project_id, {SigningKey.names})
  SELECT project_id, {SigningKey.values(key)} FROM risen RETURNING project_id),
gone AS (DELETE FROM signing_key k USING w
  WHERE k.project_id = w.project_id AND k.state = 'retiring' AND k.retires_at_us <= :key.created_at_us),
{effects}
SELECT 1 FROM w;

-- name: signing_key_drop write (kid text, key SigningKey)
-- A key that does not sign is gone; where it was the next one, `key` is it now.
WITH w AS (DELETE FROM signing_key WHERE project_id = :project AND kid = :kid AND state <> 'active' RETURNING project_id, state),
n AS (INSERT INTO signing_key (project_id, {SigningKey.names})
  SELECT project_id, {SigningKey.values(key)} FROM w WHERE state = 'next'),
{effects}
SELECT 1 FROM w;

-- name: signing_key_sealed read (after_project uuid, after_kid text, limit int8) -> project_id uuid, kid text, sealed_private bytea
-- The private parts of all projects, for rekey.
SELECT project_id, kid, sealed_private FROM signing_key
WHERE (project_id, kid) > (:after_project, :after_kid) AND sealed_private IS NOT NULL ORDER BY project_id, kid LIMIT :limit;

-- name: signing_key_reseal write (projects uuid[], kids text[], old bytea[], new bytea[])
-- The same private parts under another key, where they are still what was read.
UPDATE signing_key k SET sealed_private = n.new FROM unnest(:projects, :kids, :old, :new) AS n (project_id, kid, old, new)
WHERE k.project_id = n.project_id AND k.kid = n.kid AND k.sealed_private = n.old;

-- name: claims_position read -> position int8
SELECT position FROM follow_position WHERE name = 'ledger';

-- name: claims_drop write (position int8, projects uuid[], users uuid[], at_us int8)
-- Drops the claims of deleted users, of any project, and moves the position with it; nothing when another replica was there already.
WITH moved AS (UPDATE follow_position SET position = :position WHERE name = 'ledger' AND position < :position RETURNING 1)
INSERT INTO user_claims (project_id, user_id, document, version, updated_at_us, deleted)
SELECT DISTINCT d.project_id, d.user_id, '{}', 1, :at_us, true
FROM moved, unnest(:projects, :users) AS d (project_id, user_id)
ON CONFLICT (project_id, user_id) DO UPDATE SET document = '{}', updated_at_us = excluded.updated_at_us, deleted = true;

-- name: claims_purge write (before_us int8)
-- Forgets that users were deleted.
DELETE FROM user_claims WHERE deleted AND updated_at_us < :before_us;
