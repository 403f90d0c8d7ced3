-- The statement behind GET /v1/users/{id} (user_show in services/identity/users/statements.sql), for a random user of sql/users.sql.
\set i random(1, :count)
SELECT u.user_id, u.status, u.email, u.email_verified, u.phone, u.phone_verified, u.name, u.given_name, u.family_name,
    u.picture, u.external_id, u.login_ids, u.attributes, u.version, u.epoch, u.created_at_us, u.updated_at_us,
    u.roles, u.locale, u.password_hash IS NOT NULL
FROM identity.users u
WHERE u.project_id = :project::uuid AND u.user_id = ('01900000-0000-7000-8000-' || lpad(to_hex(:i::int), 12, '0'))::uuid;
