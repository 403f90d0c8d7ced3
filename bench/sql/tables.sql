-- Copies of the tables that a user's creation touches, with their indexes: what is written here starts no relay.
CREATE SCHEMA bench;
CREATE TABLE bench.users (LIKE identity.users INCLUDING ALL);
CREATE TABLE bench.login_id (LIKE identity.login_id INCLUDING ALL);
CREATE TABLE bench.user_count (LIKE identity.user_count INCLUDING ALL);
CREATE TABLE bench.outbox (LIKE identity.outbox INCLUDING ALL);
CREATE TABLE bench.operation (LIKE identity.operation INCLUDING ALL);
CREATE TABLE bench.attribute_schema (LIKE identity.attribute_schema INCLUDING ALL);
-- LIKE leaves the storage parameters out.
SELECT format('ALTER TABLE bench.%I SET (%s)', relname, array_to_string(reloptions, ', ')) FROM pg_class
WHERE relnamespace = 'identity'::regnamespace AND relkind = 'r' AND reloptions IS NOT NULL
    AND relname IN (SELECT tablename FROM pg_tables WHERE schemaname = 'bench') \gexec
