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

-- One row per sign-in: the session and its refresh family. A refresh updates the row in place (no indexed column changes
-- but purge_at_us, once a day), so rotation stays a heap-only update.
CREATE TABLE session (
    project_id uuid NOT NULL,
    session_id uuid NOT NULL,
    user_id uuid NOT NULL,
    epoch bigint NOT NULL,              -- of the user when signed in; older than the user's now = ended
    generation int NOT NULL,            -- 1, 2, 3 ... of the refresh token
    current_hash bytea NOT NULL,        -- SHA-256 of the secret that may be exchanged
    previous_hash bytea,                -- of its predecessor, answered again for 10 s
    salt bytea NOT NULL,                -- re-derives the current secret from the predecessor
    rotated_at_us bigint NOT NULL,
    created_at_us bigint NOT NULL,
    last_used_at_us bigint NOT NULL,
    expires_at_us bigint NOT NULL,      -- slides with use
    dies_at_us bigint NOT NULL,         -- never later than this
    purge_at_us bigint NOT NULL,        -- the row may be removed; whole days
    ended_at_us bigint,
    end_reason text,
    request_mac bytea NOT NULL,         -- keyed hash of the sign-in request: a retry of it finds its session
    method text NOT NULL,
    ip_address text,
    user_agent text,
    PRIMARY KEY (project_id, session_id)
) WITH (fillfactor = 70);
CREATE INDEX session_live ON session (project_id, user_id, created_at_us DESC, session_id DESC) WHERE ended_at_us IS NULL;
CREATE INDEX session_purge ON session (purge_at_us);

-- Failed sign-ins. key is a keyed hash of what is counted (throttle.h); nothing personal is readable here.
CREATE TABLE throttle (
    project_id uuid NOT NULL,
    key bytea NOT NULL,
    kind smallint NOT NULL,             -- 1 login id and network, 2 login id, 3 network
    failures bigint NOT NULL,
    since_us bigint NOT NULL,
    last_us bigint NOT NULL,
    purge_at_us bigint NOT NULL,        -- from then on the row counts for nothing
    PRIMARY KEY (project_id, key)
) WITH (fillfactor = 70);
CREATE INDEX throttle_purge ON throttle (purge_at_us);

-- Networks from which a login id has signed in: a stranger's failures elsewhere do not lock them out.
CREATE TABLE known_network (
    project_id uuid NOT NULL,
    login_key bytea NOT NULL,
    network_key bytea NOT NULL,
    seen_at_us bigint NOT NULL,         -- at most a day old while it is used
    PRIMARY KEY (project_id, login_key, network_key)
);
CREATE INDEX known_network_seen ON known_network (seen_at_us);

-- How far this service has applied the ledger.
CREATE TABLE follow_position (
    name text PRIMARY KEY,
    position bigint NOT NULL
);
INSERT INTO follow_position (name, position) VALUES ('users', 0);
