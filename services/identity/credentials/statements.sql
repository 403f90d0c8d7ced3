-- Credentials of users.

-- name: user_bump_epoch write (before User)
WITH w AS (UPDATE users SET epoch = epoch + 1 WHERE project_id = :project AND user_id = :before.user_id AND epoch = :before.epoch RETURNING 1),
{effects}
SELECT 1 FROM w;

-- name: user_rehash write (user User, new_hash text)
-- One hash for another of the same password: no event, the user is the same.
UPDATE users SET password_hash = :new_hash WHERE project_id = :project AND user_id = :user.user_id AND password_hash = :user.password_hash;
