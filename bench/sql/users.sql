-- Makes :count users whose ids can be computed from a number, so that pgbench can ask for a random one; the same in the copies.
INSERT INTO identity.users (project_id, user_id, status, email, email_verified, phone_verified, name, login_ids, version,
    epoch, created_at_us, updated_at_us, email_key, search_text)
SELECT :'project', ('01900000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 2, 'read' || i || '@bench.example', false,
    false, 'Bench User ' || i, '{}', 1, 0, 1700000000000000 + i, 1700000000000000 + i, 'read' || i || '@bench.example',
    'read' || i || E'@bench.example\nbench user ' || i || E'\n'
FROM generate_series(1, :count) i;
INSERT INTO identity.login_id (project_id, value, user_id)
SELECT project_id, email, user_id FROM identity.users WHERE project_id = :'project' AND email LIKE 'read%';
INSERT INTO identity.user_count AS t (project_id, status, shard, n)
SELECT project_id, status, get_byte(uuid_send(user_id), 15) & 15, count(*) FROM identity.users
WHERE project_id = :'project' AND email LIKE 'read%' GROUP BY 1, 2, 3
ON CONFLICT (project_id, status, shard) DO UPDATE SET n = t.n + excluded.n;
INSERT INTO bench.users SELECT * FROM identity.users WHERE project_id = :'project' AND email LIKE 'read%';
INSERT INTO bench.login_id SELECT * FROM identity.login_id WHERE project_id = :'project' AND value LIKE 'read%';
INSERT INTO bench.user_count SELECT * FROM identity.user_count WHERE project_id = :'project';
