-- Who may do what, and whose everything is. A namespace is empty where it is the global one.

-- Who may use the public API. Of a token only its SHA-256 is kept.
CREATE TABLE tokens (
    -- AUTOINCREMENT: the audit log names them by it.
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    digest       BLOB    NOT NULL UNIQUE,
    name         TEXT    NOT NULL,
    role         TEXT    NOT NULL CHECK (role IN ('reader', 'submitter', 'operator', 'admin')),
    namespace    TEXT    NOT NULL,
    created_by   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    -- NULL: never.
    expires_at   INTEGER,
    -- Up to some minutes before its latest use.
    last_used_at INTEGER,
    revoked_at   INTEGER
) STRICT;

CREATE UNIQUE INDEX tokens_named ON tokens (namespace, name) WHERE revoked_at IS NULL;

-- What executors get an identity for.
CREATE TABLE registrations (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    digest     BLOB    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    max_uses   INTEGER NOT NULL CHECK (max_uses > 0),
    uses       INTEGER NOT NULL DEFAULT 0 CHECK (uses <= max_uses),
    created_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;

-- Executors that are known by a token of their own.
CREATE TABLE identities (
    -- The executor's name.
    name         TEXT    NOT NULL PRIMARY KEY,
    digest       BLOB    NOT NULL UNIQUE,
    -- Of what it came.
    registration TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    revoked_at   INTEGER
) STRICT, WITHOUT ROWID;

-- What people and their programs did that changed something.
CREATE TABLE audit (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    -- The name of whoever did it, and that one's namespace.
    actor     TEXT    NOT NULL,
    actor_of  TEXT    NOT NULL,
    -- Such as token.create.
    action    TEXT    NOT NULL,
    -- What it was done to, and whose that is.
    subject   TEXT    NOT NULL,
    namespace TEXT    NOT NULL,
    -- An address.
    origin    TEXT    NOT NULL,
    detail    TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_of_namespace ON audit (namespace, id) WHERE namespace <> '';

ALTER TABLE jobs ADD COLUMN namespace TEXT NOT NULL DEFAULT '';
CREATE INDEX jobs_of_namespace ON jobs (namespace, id) WHERE namespace <> '';

ALTER TABLE files ADD COLUMN namespace TEXT NOT NULL DEFAULT '';

-- Each namespace names its repositories as it likes.
CREATE TABLE namespaced_repositories (
    -- AUTOINCREMENT: the id names the mirror's directory, so it is never given again.
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace  TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    source     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (namespace, name)
) STRICT;

INSERT INTO namespaced_repositories (id, namespace, name, source, created_at)
    SELECT id, '', name, source, created_at FROM repositories;
DELETE FROM sqlite_sequence WHERE name = 'namespaced_repositories';
UPDATE sqlite_sequence SET name = 'namespaced_repositories' WHERE name = 'repositories';
DROP TABLE repositories;
ALTER TABLE namespaced_repositories RENAME TO repositories;

CREATE INDEX repositories_named ON repositories (name);
