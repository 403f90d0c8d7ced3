-- Sessions and their refresh families, the ledger's effect on them, failure counters (README.md, "Throttling").

-- name: session_get read (session_id uuid) -> session Session
SELECT {Session.columns} FROM session WHERE project_id = :project AND session_id = :session_id;

-- name: session_create write (session Session, known bytea, network bytea, day_us int8, pair bytea, user bytea, by_user bool)
-- No row: a session with this id exists, and none was made. The place of the sign-in is settled in either case: the network is known to the user now and
-- its failures are forgotten.
WITH w AS (INSERT INTO session (project_id, {Session.names}) VALUES (:project, {Session.values(session)})
  ON CONFLICT (project_id, session_id) DO NOTHING RETURNING 1),
k AS (INSERT INTO known_network AS known (project_id, login_key, network_key, seen_at_us)
  SELECT :project, :known, :network, :session.created_at_us FROM w
  ON CONFLICT (project_id, login_key, network_key) DO UPDATE SET seen_at_us = EXCLUDED.seen_at_us
  WHERE known.seen_at_us < EXCLUDED.seen_at_us - :day_us),
pair AS (DELETE FROM throttle WHERE project_id = :project AND key = :pair RETURNING 1),
{user_place_back(:by_user)},
{outbox}
SELECT 1 FROM w;

-- name: session_rotate write (session_id uuid, presented bytea, next bytea, salt bytea, now_us int8, expires_at_us int8, purge_at_us int8, epoch int8)
-- Only while `presented` is current, the session lives and has the epoch.
UPDATE session SET current_hash = :next, previous_hash = :presented, salt = :salt, generation = generation + 1,
  rotated_at_us = :now_us, last_used_at_us = :now_us, expires_at_us = :expires_at_us, purge_at_us = :purge_at_us
WHERE project_id = :project AND session_id = :session_id AND current_hash = :presented AND ended_at_us IS NULL
  AND expires_at_us > :now_us AND epoch = :epoch;

-- part: ended(condition)
w AS (UPDATE session SET ended_at_us = :now_us, end_reason = :reason, purge_at_us = :purge_at_us
  WHERE project_id = :project AND ended_at_us IS NULL AND $condition RETURNING 1)

-- name: session_end write (session_id uuid, reason text, now_us int8, purge_at_us int8)
-- By request: a live one.
WITH {ended(session_id = :session_id AND expires_at_us > :now_us)}, {effects} SELECT 1 FROM w;

-- name: session_close write (session_id uuid, reason text, now_us int8, purge_at_us int8)
-- Because its user may nothing any more.
WITH {ended(session_id = :session_id)}, {outbox} SELECT 1 FROM w;

-- name: session_end_reused write (session_id uuid, reason text, now_us int8, purge_at_us int8, presented bytea, replay_us int8)
-- Only while the presented hash is neither current nor the predecessor that was current after replay_us.
WITH {ended(session_id = :session_id AND current_hash <> :presented
    AND (previous_hash IS DISTINCT FROM :presented OR rotated_at_us < :replay_us))}, {outbox}
SELECT 1 FROM w;

-- name: session_end_all write (user_id uuid, epoch int8, reason text, now_us int8, purge_at_us int8)
-- Those of a user that are older than the epoch.
WITH {ended(user_id = :user_id AND epoch < :epoch)}, {effects} SELECT 1 FROM w;

-- name: session_older read (user_id uuid, epoch int8) -> some bool
-- Whether a session of the user that has not ended is older than the epoch.
SELECT EXISTS (SELECT FROM session WHERE project_id = :project AND user_id = :user_id AND ended_at_us IS NULL AND epoch < :epoch);

-- name: session_list read (user_id uuid, now_us int8, before_us int8, before uuid, limit int8) -> total int8, session Session
-- Live ones, newest first. The total and the page in one read: the total comes even when the page is empty.
SELECT t.total, {Session.columns(s)} FROM
  (SELECT count(*)::int8 AS total FROM session WHERE project_id = :project AND user_id = :user_id AND ended_at_us IS NULL
    AND expires_at_us > :now_us) t
LEFT JOIN LATERAL
  (SELECT * FROM session WHERE project_id = :project AND user_id = :user_id AND ended_at_us IS NULL
    AND expires_at_us > :now_us AND (created_at_us, session_id) < (:before_us, :before)
    ORDER BY created_at_us DESC, session_id DESC LIMIT :limit) s ON true
ORDER BY s.created_at_us DESC, s.session_id DESC;

-- name: follow_position read -> position int8
SELECT position FROM follow_position WHERE name = 'users';

-- name: follow_apply write (projects uuid[], users uuid[], epochs int8[], next int8, now_us int8, purge_at_us int8)
-- Ends the sessions older than each user's epoch and moves the position, never back. It is not compared with the one that was read: the effect may be repeated,
-- and whoever moves it to `next` has applied everything before.
WITH e AS (UPDATE session SET ended_at_us = :now_us, end_reason = 'revoked', purge_at_us = :purge_at_us
  FROM unnest(:projects, :users, :epochs) AS v (project_id, user_id, epoch)
  WHERE session.project_id = v.project_id AND session.user_id = v.user_id AND session.ended_at_us IS NULL AND session.epoch < v.epoch)
UPDATE follow_position SET position = :next WHERE name = 'users' AND position < :next;

-- name: purge_session write (limit int8)
-- At most so many rows that count for nothing; those another replica holds are skipped.
DELETE FROM session WHERE (project_id, session_id) IN (SELECT project_id, session_id FROM session
  WHERE purge_at_us <= {now_us} ORDER BY purge_at_us LIMIT :limit FOR UPDATE SKIP LOCKED);

-- name: purge_throttle write (limit int8)
DELETE FROM throttle WHERE (project_id, key) IN (SELECT project_id, key FROM throttle
  WHERE purge_at_us <= {now_us} ORDER BY purge_at_us LIMIT :limit FOR UPDATE SKIP LOCKED);

-- name: purge_known_network write (limit int8, known_us int8)
DELETE FROM known_network WHERE (project_id, login_key, network_key) IN (SELECT project_id, login_key, network_key FROM known_network
  WHERE seen_at_us <= {now_us} - :known_us ORDER BY seen_at_us LIMIT :limit FOR UPDATE SKIP LOCKED);

-- part: now_us
-- One clock for all replicas, the database's.
(extract(epoch FROM now()) * 1000000)::int8

-- part: hour_after(at_us)
-- Whole hours, so that the indexed column of a busy counter seldom changes.
($at_us) / 3600000000 * 3600000000 + 3600000000

-- part: counts(clock_us)
-- Whether the counter t counts for something as the new row sees it: its time is not over, and the clock that wrote it was not ahead. Else it begins again.
t.purge_at_us > EXCLUDED.last_us AND t.last_us <= EXCLUDED.last_us + $clock_us

-- part: one_more(clock_us)
failures = CASE WHEN {counts($clock_us)} THEN t.failures + 1 ELSE 1 END,
since_us = CASE WHEN {counts($clock_us)} THEN t.since_us ELSE EXCLUDED.since_us END,
last_us = CASE WHEN {counts($clock_us)} THEN GREATEST(t.last_us, EXCLUDED.last_us) ELSE EXCLUDED.last_us END

-- part: one_more_in_window(clock_us, limit, window_us)
-- A counter with a fixed window refuses until its end, once it reached the limit.
{one_more($clock_us)},
until_us = CASE WHEN {counts($clock_us)} AND t.failures + 1 >= $limit THEN t.since_us + $window_us ELSE 0 END,
purge_at_us = CASE WHEN {counts($clock_us)} THEN t.purge_at_us ELSE EXCLUDED.purge_at_us END

-- name: throttle_take write (pair bytea, user bytea, network bytea, known bytea, has_address bool, waits int8[], gentle_us int8, free int8,
-- short_us int8, long_us int8, window_us int8, clock_us int8, known_us int8, known_failures int8, limit int8) ->
-- now_us int8, until_us int8, known bool, by_pair bool, by_user bool
-- Counts one failure in advance where nothing refuses the attempt. met: a probe for each key; a plan without statistics would read the project. blocked:
-- what refuses the attempt at a first look, without a lock or a write. pair and by_user take the places; their conditions are decided under the lock of the
-- row, so that of two attempts only one gets the last place. The user's counter is only touched after the pair's, and every statement locks the two in this
-- order: no deadlock.
WITH clock AS (SELECT {now_us} AS us),
met AS (SELECT * FROM throttle WHERE project_id = :project AND key = :pair
  UNION ALL SELECT * FROM throttle WHERE project_id = :project AND key = :user
  UNION ALL SELECT * FROM throttle WHERE project_id = :project AND key = :network),
live AS (SELECT met.kind, met.failures, met.until_us FROM met, clock WHERE met.purge_at_us > clock.us AND met.last_us <= clock.us + :clock_us),
known AS (SELECT
  EXISTS (SELECT FROM known_network n, clock
    WHERE n.project_id = :project AND n.login_key = :known AND n.network_key = :network AND n.seen_at_us > clock.us - :known_us)
  AND NOT EXISTS (SELECT FROM live WHERE kind = 1 AND failures >= :known_failures) AS yes),
blocked AS (SELECT max(live.until_us) AS until_us FROM live, known, clock
  WHERE live.until_us > clock.us AND (live.kind = 1 OR NOT known.yes)),
pair AS (INSERT INTO throttle AS t (project_id, key, kind, failures, since_us, last_us, purge_at_us)
  SELECT :project, :pair, 1, 1, us, us, {hour_after(us + :short_us)} FROM clock, blocked WHERE blocked.until_us IS NULL
  ON CONFLICT (project_id, key) DO UPDATE SET {one_more(:clock_us)},
    until_us = CASE WHEN {counts(:clock_us)} AND t.failures + 1 >= :free THEN EXCLUDED.last_us + LEAST(
      (:waits)[LEAST(t.failures + 1, cardinality(:waits))],
      CASE WHEN (SELECT yes FROM known) OR NOT :has_address THEN :gentle_us END) ELSE 0 END,
    purge_at_us = CASE WHEN {counts(:clock_us)} AND t.failures + 1 >= :free
      THEN {hour_after(EXCLUDED.last_us + :long_us)} ELSE EXCLUDED.purge_at_us END
  WHERE NOT ({counts(:clock_us)}) OR t.until_us <= EXCLUDED.last_us RETURNING 1),
by_user AS (INSERT INTO throttle AS t (project_id, key, kind, failures, since_us, last_us, purge_at_us)
  SELECT :project, :user, 2, 1, us, us, us + :window_us FROM clock, known, pair WHERE NOT known.yes
  ON CONFLICT (project_id, key) DO UPDATE SET {one_more_in_window(:clock_us, :limit, :window_us)}
  WHERE NOT ({counts(:clock_us)}) OR t.until_us <= EXCLUDED.last_us RETURNING 1)
SELECT clock.us, blocked.until_us, known.yes, EXISTS (SELECT FROM pair), EXISTS (SELECT FROM by_user) FROM clock, blocked, known;

-- part: user_place_back(condition)
-- Takes the failure of a place off the user's counter: after the pair's row was locked, which is called pair.
u AS (UPDATE throttle SET failures = GREATEST(failures - 1, 0), until_us = 0
  WHERE project_id = :project AND key = :user AND $condition AND (SELECT count(*) FROM pair) >= 0)

-- name: throttle_give_back write (pair bytea, user bytea, by_user bool)
-- Takes one failure off again. The place was given because nothing refused the attempt; without it nothing refuses the next one.
WITH w AS (SELECT 1),
pair AS (UPDATE throttle SET failures = GREATEST(failures - 1, 0), until_us = 0 WHERE project_id = :project AND key = :pair RETURNING 1),
{user_place_back(:by_user)},
{outbox}
SELECT 1;

-- name: throttle_record_failure write (network bytea, has_address bool, window_us int8, limit int8, clock_us int8)
-- An attempt that has its place was a wrong guess. The network's counter is the one that many users share: its row is only touched by failures, and not at
-- all for those without an address, whom nothing limits together.
WITH w AS (SELECT 1),
n AS (INSERT INTO throttle AS t (project_id, key, kind, failures, since_us, last_us, purge_at_us)
  SELECT :project, :network, 3, 1, us, us, us + :window_us FROM (SELECT {now_us} AS us) clock WHERE :has_address
  ON CONFLICT (project_id, key) DO UPDATE SET {one_more_in_window(:clock_us, :limit, :window_us)}),
{outbox}
SELECT 1;
