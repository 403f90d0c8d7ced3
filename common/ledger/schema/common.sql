-- What every service schema needs for the outbox, the relay and operation ids (common/ledger/outbox.h, common/process/process.h).
-- Each service's first migration begins with these statements; tests/checks compares them.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id uuid NOT NULL,
    event bytea NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE TABLE relay_lease (
    name text PRIMARY KEY,
    holder uuid,
    epoch bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO relay_lease (name) VALUES ('outbox');
CREATE TABLE operation (
    project_id uuid NOT NULL,
    operation_id uuid NOT NULL,
    method int NOT NULL,
    request_hash bytea NOT NULL,
    reply bytea NOT NULL,
    at_us bigint NOT NULL,
    PRIMARY KEY (project_id, operation_id)
);
CREATE INDEX operation_at ON operation (at_us);
