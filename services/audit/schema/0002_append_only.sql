-- The ledger is written once: the service's role adds events and reads them. Only the database's owner could change one, and the
-- chain would show it. common/db/migrate.c gives rights by this comment.
COMMENT ON TABLE event IS 'append only';
DO $$ BEGIN EXECUTE format('REVOKE UPDATE, DELETE ON event FROM %I', current_schema()); END $$;
