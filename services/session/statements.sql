-- Throttling: docs in README.md. One clock for all replicas, the database's.

-- part: now_us
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
-- Counts one failure in advance where nothing refuses the attempt. blocked: what refuses it at a first look, without a lock or a write. pair and by_user
-- take the places; their conditions are decided under the lock of the row, so that of two attempts only one gets the last place. The user's counter is only
-- touched after the pair's, and every statement locks the two in this order: no deadlock.
WITH clock AS (SELECT {now_us} AS us),
live AS (SELECT t.kind, t.failures, t.until_us FROM throttle t, clock
  WHERE t.project_id = :project AND t.key IN (:pair, :user, :network) AND t.purge_at_us > clock.us AND t.last_us <= clock.us + :clock_us),
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

-- name: throttle_give_back write (pair bytea, user bytea, count_user bool)
-- Takes one failure off again. The place was given because nothing refused the attempt; without it nothing refuses the next one.
WITH w AS (SELECT 1),
pair AS (UPDATE throttle SET failures = GREATEST(failures - 1, 0), until_us = 0 WHERE project_id = :project AND key = :pair RETURNING 1),
u AS (UPDATE throttle SET failures = GREATEST(failures - 1, 0), until_us = 0
  WHERE project_id = :project AND key = :user AND :count_user AND (SELECT count(*) FROM pair) >= 0),
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
