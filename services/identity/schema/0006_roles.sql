-- Roles, and which of them a user has. A code in users.roles that names no role (its deletion was overtaken) grants nothing.
CREATE TABLE role (
    project_id uuid NOT NULL,
    code text COLLATE "C" NOT NULL,
    name text,
    description text,
    version bigint NOT NULL,
    created_at_us bigint NOT NULL,
    updated_at_us bigint NOT NULL,
    PRIMARY KEY (project_id, code)
);
ALTER TABLE users ADD COLUMN roles text[] NOT NULL DEFAULT '{}';
CREATE INDEX users_roles ON users USING gin (roles) WHERE roles <> '{}';
