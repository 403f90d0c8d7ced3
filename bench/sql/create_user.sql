-- The one statement behind POST /v1/users (user_create in services/identity/users/statements.sql), on the copies of its tables.
\set n :n + 1
\set high (:base + :n) * 16 + :client_id
\set low random(0, 9000000000000000000)
\set shard :low & 15
WITH v AS (SELECT :project::uuid AS project_id, encode(int8send(:high) || int8send(:low), 'hex')::uuid AS user_id,
        'create' || :high::text || '@bench.example' AS email, 'Bench User ' || :high::text AS name, :high::int8 AS at_us),
    w AS (INSERT INTO bench.users (project_id, user_id, status, email, email_verified, phone, phone_verified, name, given_name,
        family_name, picture, external_id, login_ids, attributes, password_hash, version, epoch, created_at_us, updated_at_us,
        roles, locale, email_key, search_text)
        SELECT project_id, user_id, 2, email, false, NULL, false, name, NULL, NULL, NULL, NULL, '{}', NULL, NULL, 1, 0, at_us,
            at_us, '{}', NULL, email, email || E'\n' || lower(name) || E'\n' FROM v
        WHERE coalesce((SELECT version FROM bench.attribute_schema WHERE project_id = :project::uuid), 0) = 0 RETURNING 1),
    c AS (INSERT INTO bench.user_count AS t (project_id, status, shard, n) SELECT project_id, 2, :shard::int2, 1 FROM v, w
        ON CONFLICT (project_id, status, shard) DO UPDATE SET n = t.n + 1),
    o AS (INSERT INTO bench.outbox (project_id, event, revokes) SELECT project_id, :event::bytea, false FROM v, w),
    p AS (INSERT INTO bench.operation (project_id, operation_id, method, request_hash, reply, at_us)
        SELECT project_id, user_id, 1020, :hash::bytea, :reply::bytea, at_us FROM v, w),
    l AS (INSERT INTO bench.login_id (project_id, value, user_id) SELECT project_id, email, user_id FROM v, w)
SELECT 1 FROM w;
