-- Who may do what, and whose everything is. A namespace is empty where it is the global one.

-- Who may use the public API. Of a token only its SHA-256 is kept.
CREATE TABLE tokens (
    id           BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    digest       BYTEA  NOT NULL UNIQUE,
    name         TEXT   NOT NULL,
    role         TEXT   NOT NULL CHECK (role IN ('reader', 'submitter', 'operator', 'admin')),
    namespace    TEXT   NOT NULL,
    created_by   TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    -- NULL: never.
    expires_at   BIGINT,
    -- Up to some minutes before its latest use.
    last_used_at BIGINT,
    revoked_at   BIGINT
);

CREATE UNIQUE INDEX tokens_named ON tokens (namespace, name) WHERE revoked_at IS NULL;

-- What executors get an identity for.
CREATE TABLE registrations (
    id         BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    digest     BYTEA  NOT NULL UNIQUE,
    name       TEXT   NOT NULL,
    max_uses   BIGINT NOT NULL CHECK (max_uses > 0),
    uses       BIGINT NOT NULL DEFAULT 0 CHECK (uses <= max_uses),
    created_by TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);

-- Executors that are known by a token of their own.
CREATE TABLE identities (
    -- The executor's name.
    name         TEXT   NOT NULL PRIMARY KEY,
    digest       BYTEA  NOT NULL UNIQUE,
    -- Of what it came.
    registration TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    revoked_at   BIGINT
);

-- What people and their programs did that changed something.
CREATE TABLE audit (
    id        BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at        BIGINT NOT NULL,
    -- The name of whoever did it, and that one's namespace.
    actor     TEXT   NOT NULL,
    actor_of  TEXT   NOT NULL,
    -- Such as token.create.
    action    TEXT   NOT NULL,
    -- What it was done to, and whose that is.
    subject   TEXT   NOT NULL,
    namespace TEXT   NOT NULL,
    -- An address.
    origin    TEXT   NOT NULL,
    detail    TEXT   NOT NULL
);

CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_of_namespace ON audit (namespace, id) WHERE namespace <> '';

ALTER TABLE jobs ADD COLUMN namespace TEXT NOT NULL DEFAULT '';
CREATE INDEX jobs_of_namespace ON jobs (namespace, id) WHERE namespace <> '';

ALTER TABLE files ADD COLUMN namespace TEXT NOT NULL DEFAULT '';

-- Each namespace names its repositories as it likes.
ALTER TABLE repositories
    ADD COLUMN namespace TEXT NOT NULL DEFAULT '',
    DROP CONSTRAINT repositories_name_key,
    ADD CONSTRAINT repositories_named_once UNIQUE (namespace, name);

CREATE INDEX repositories_named ON repositories (name);
