-- Lists of users. A page is chosen over an index alone (project, status, sort key, id), one scan per status merged in order, and then joined to the rows.
-- Totals come from the kept counters, or with a search term from the same pass that finds the matches.

-- part: keys_of(status, key, direction, condition, most)
-- One status' share of the keys. The test of :query.status is made once: it decides whether the scan runs at all.
(SELECT $key AS k, user_id FROM users WHERE project_id = :project AND status = $status AND :query.status IN (0, $status) AND $condition
  ORDER BY $key $direction, user_id $direction LIMIT $most)

-- part: keys(key, direction, condition, most)
{keys_of(1, $key, $direction, $condition, $most)} UNION ALL {keys_of(2, $key, $direction, $condition, $most)}
UNION ALL {keys_of(3, $key, $direction, $condition, $most)}

-- part: chosen(direction)
SELECT t.n, {user_shown.columns(u)} FROM t LEFT JOIN (s JOIN users u ON u.project_id = :project AND u.user_id = s.user_id) ON true
ORDER BY s.k $direction, s.user_id $direction

-- part: page(key, direction, condition, most, offset)
WITH t AS (SELECT coalesce(sum(n), 0)::int8 AS n FROM user_count WHERE project_id = :project AND :query.status IN (0, status)),
s AS MATERIALIZED (SELECT k, user_id FROM ({keys($key, $direction, $condition, $most)}) keys
  ORDER BY k $direction, user_id $direction LIMIT :query.limit OFFSET $offset)
{chosen($direction)}

-- part: matches(key, direction, comparison, after, text)
-- The bare column as text lets the trigram index find the matches; an expression makes the planner read the project's rows.
WITH m AS MATERIALIZED (SELECT $key AS k, user_id FROM users WHERE project_id = :project AND :query.status IN (0, status) AND $text LIKE :query.pattern),
t AS (SELECT count(*)::int8 AS n FROM m),
s AS MATERIALIZED (SELECT k, user_id FROM m WHERE NOT :query.by_key OR (k, user_id) $comparison ($after, :query.after_id)
  ORDER BY k $direction, user_id $direction LIMIT :query.limit OFFSET :query.offset)
{chosen($direction)}

-- name: list_created_desc_after read (query UserQuery) -> total int8, user user_shown
{page(created_at_us, DESC, (created_at_us, user_id) < (:query.after_us, :query.after_id), :query.limit, 0)};

-- name: list_created_desc_offset read (query UserQuery) -> total int8, user user_shown
{page(created_at_us, DESC, true, :query.limit + :query.offset, :query.offset)};

-- name: list_created_desc_search read (query UserQuery) -> total int8, user user_shown
{matches(created_at_us, DESC, <, :query.after_us, search_text)};

-- name: list_created_desc_walk read (query UserQuery) -> total int8, user user_shown
{matches(created_at_us, DESC, <, :query.after_us, (search_text || ''))};

-- name: list_created_asc_after read (query UserQuery) -> total int8, user user_shown
{page(created_at_us, ASC, (created_at_us, user_id) > (:query.after_us, :query.after_id), :query.limit, 0)};

-- name: list_created_asc_offset read (query UserQuery) -> total int8, user user_shown
{page(created_at_us, ASC, true, :query.limit + :query.offset, :query.offset)};

-- name: list_created_asc_search read (query UserQuery) -> total int8, user user_shown
{matches(created_at_us, ASC, >, :query.after_us, search_text)};

-- name: list_created_asc_walk read (query UserQuery) -> total int8, user user_shown
{matches(created_at_us, ASC, >, :query.after_us, (search_text || ''))};

-- name: list_email_desc_after read (query UserQuery) -> total int8, user user_shown
{page(email_key, DESC, (email_key, user_id) < (:query.after_email, :query.after_id), :query.limit, 0)};

-- name: list_email_desc_offset read (query UserQuery) -> total int8, user user_shown
{page(email_key, DESC, true, :query.limit + :query.offset, :query.offset)};

-- name: list_email_desc_search read (query UserQuery) -> total int8, user user_shown
{matches(email_key, DESC, <, :query.after_email, search_text)};

-- name: list_email_desc_walk read (query UserQuery) -> total int8, user user_shown
{matches(email_key, DESC, <, :query.after_email, (search_text || ''))};

-- name: list_email_asc_after read (query UserQuery) -> total int8, user user_shown
{page(email_key, ASC, (email_key, user_id) > (:query.after_email, :query.after_id), :query.limit, 0)};

-- name: list_email_asc_offset read (query UserQuery) -> total int8, user user_shown
{page(email_key, ASC, true, :query.limit + :query.offset, :query.offset)};

-- name: list_email_asc_search read (query UserQuery) -> total int8, user user_shown
{matches(email_key, ASC, >, :query.after_email, search_text)};

-- name: list_email_asc_walk read (query UserQuery) -> total int8, user user_shown
{matches(email_key, ASC, >, :query.after_email, (search_text || ''))};
