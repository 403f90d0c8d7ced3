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

-- The ledger. Numbers are given by C code under the compare-and-set of stream.position (ledger.c).
CREATE TABLE stream (
    shard smallint PRIMARY KEY,
    position bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO stream (shard, position) VALUES (0, 0);
CREATE TABLE head (
    project_id uuid PRIMARY KEY,
    seq bigint NOT NULL,
    hash bytea NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE event (
    project_id uuid NOT NULL,
    seq bigint NOT NULL,
    position bigint NOT NULL,
    source text COLLATE "C" NOT NULL,
    outbox_id bigint NOT NULL,
    type smallint NOT NULL,
    subject text COLLATE "C" NOT NULL,
    user_id text COLLATE "C",
    at_us bigint NOT NULL,
    event bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT event_pkey PRIMARY KEY (project_id, seq),
    CONSTRAINT event_position_key UNIQUE (position),
    CONSTRAINT event_outbox_key UNIQUE (project_id, source, outbox_id)
);
-- Where a reader that asks for "not older than" begins; rows lie almost in order of time, so block ranges are enough.
CREATE INDEX event_at ON event USING brin (at_us) WITH (pages_per_range = 32, autosummarize = on);
-- Events that take access away (rules_is_revocation): gateways walk these alone. The list is repeated in store.c.
CREATE INDEX event_revocation ON event (position) WHERE type IN (3, 4, 12, 14, 15, 16, 21, 31, 32);
CREATE INDEX event_revocation_at ON event (at_us, position) WHERE type IN (3, 4, 12, 14, 15, 16, 21, 31, 32);
