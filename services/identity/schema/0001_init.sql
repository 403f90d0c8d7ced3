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

-- Projects and their keys. Exactly one project is the platform: its keys may administer projects.
CREATE TABLE project (
    project_id uuid PRIMARY KEY,
    name text NOT NULL,
    platform boolean NOT NULL,
    created_at_us bigint NOT NULL
);
CREATE UNIQUE INDEX project_platform ON project (platform) WHERE platform;

CREATE TABLE api_key (
    project_id uuid NOT NULL,
    key_id uuid NOT NULL,
    kind smallint NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    prefix text NOT NULL,
    version bigint NOT NULL,
    created_at_us bigint NOT NULL,
    expires_at_us bigint,
    revoked_at_us bigint,
    PRIMARY KEY (project_id, key_id)
);

-- Directory: finds the key behind a presented secret without knowing the project.
CREATE TABLE key_secret (
    secret_hash bytea PRIMARY KEY,
    project_id uuid NOT NULL,
    key_id uuid NOT NULL,
    expires_at_us bigint
);
CREATE INDEX key_secret_key ON key_secret (project_id, key_id);

-- Users. email is in canonical form (services/identity/README.md); email_key is its sort key, '' when there is none.
CREATE TABLE users (
    project_id uuid NOT NULL,
    user_id uuid NOT NULL,
    status smallint NOT NULL,
    email text COLLATE "C",
    email_verified boolean NOT NULL,
    phone text,
    phone_verified boolean NOT NULL,
    name text,
    given_name text,
    family_name text,
    picture text,
    external_id text COLLATE "C",
    login_ids text[] NOT NULL,
    attributes jsonb,
    password_hash text,
    version bigint NOT NULL,
    epoch bigint NOT NULL,
    created_at_us bigint NOT NULL,
    updated_at_us bigint NOT NULL,
    email_key text COLLATE "C" NOT NULL,
    search_text text COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, user_id)
) WITH (fillfactor = 90);
CREATE UNIQUE INDEX users_external_id ON users (project_id, external_id) WHERE external_id IS NOT NULL;
-- Status stands before the sort key so that a filtered list is as flat as a whole one: the latter merges three scans.
CREATE INDEX users_created ON users (project_id, status, created_at_us, user_id);
CREATE INDEX users_email ON users (project_id, status, email_key, user_id);
CREATE INDEX users_search ON users USING gin (search_text gin_trgm_ops);

-- Every value a user signs in with, normalised; unique within the project.
CREATE TABLE login_id (
    project_id uuid NOT NULL,
    value text COLLATE "C" NOT NULL,
    user_id uuid NOT NULL,
    PRIMARY KEY (project_id, value)
);

-- Exact totals: the sum over the shards. A user's shard is the last four bits of its id.
CREATE TABLE user_count (
    project_id uuid NOT NULL,
    status smallint NOT NULL,
    shard smallint NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (project_id, status, shard)
) WITH (fillfactor = 40);

CREATE TABLE attribute_schema (
    project_id uuid PRIMARY KEY,
    version bigint NOT NULL,
    definitions jsonb NOT NULL
);
