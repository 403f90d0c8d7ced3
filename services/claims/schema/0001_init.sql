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

-- Custom claims. `document` is the compact JSON text exactly as it goes into tokens. A deleted user leaves an empty row
-- (`deleted`) for an hour, so that a write that was under way cannot bring the claims back.
CREATE TABLE user_claims (
    project_id uuid NOT NULL,
    user_id uuid NOT NULL,
    document text COLLATE "C" NOT NULL CHECK (octet_length(document) <= 4096),
    version bigint NOT NULL CHECK (version > 0),
    updated_at_us bigint NOT NULL,
    deleted boolean NOT NULL DEFAULT false,
    PRIMARY KEY (project_id, user_id)
);
CREATE INDEX user_claims_deleted ON user_claims (updated_at_us) WHERE deleted;

-- ES256 keys. `sealed_private` is AES-256-GCM under DENIZEN_KEK, bound to (project, kid); a key that no longer signs loses it.
CREATE TABLE signing_key (
    project_id uuid NOT NULL,
    kid text COLLATE "C" NOT NULL,
    algorithm text NOT NULL CHECK (algorithm = 'ES256'),
    sealed_private bytea,
    x bytea NOT NULL CHECK (octet_length(x) = 32),
    y bytea NOT NULL CHECK (octet_length(y) = 32),
    state text NOT NULL,
    created_at_us bigint NOT NULL,
    retires_at_us bigint,
    PRIMARY KEY (project_id, kid),
    CONSTRAINT signing_key_state CHECK (
        (state = 'active' AND sealed_private IS NOT NULL AND retires_at_us IS NULL)
        OR (state = 'retiring' AND sealed_private IS NULL AND retires_at_us IS NOT NULL))
);
CREATE UNIQUE INDEX signing_key_active ON signing_key (project_id) WHERE state = 'active';

-- How far the ledger's stream was applied; moves in the same statement as the effect.
CREATE TABLE follow_position (
    name text PRIMARY KEY,
    position bigint NOT NULL
);
INSERT INTO follow_position (name, position) VALUES ('ledger', 0);
