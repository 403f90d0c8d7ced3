-- outside a transaction
-- Followers of revocations walk these entries alone, by position; where to begin they ask by time. Appends go on while the indexes are made.
-- The indexes by list of types leave: the version before finds its events by position and by time.
DROP INDEX CONCURRENTLY IF EXISTS event_revoking;
CREATE INDEX CONCURRENTLY event_revoking ON event (position) WHERE revokes;
DROP INDEX CONCURRENTLY IF EXISTS event_revoking_at;
CREATE INDEX CONCURRENTLY event_revoking_at ON event (at_us, position) WHERE revokes;
DROP INDEX CONCURRENTLY IF EXISTS event_revocation;
DROP INDEX CONCURRENTLY IF EXISTS event_revocation_at;
