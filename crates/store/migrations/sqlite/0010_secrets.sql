-- Sealed: nobody may read them who has the database alone. Each has a data key of its own, and that is sealed with one of
-- the operator's keys, `key_id`.

CREATE TABLE secrets (
    -- 32 hexadecimal digits, never used before. It is bound to both seals, with scope, namespace and key.
    id         TEXT    NOT NULL PRIMARY KEY,
    scope      TEXT    NOT NULL CHECK (scope IN ('batches', 'codeintel')),
    -- Empty: the global one.
    namespace  TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    key_id     TEXT    NOT NULL,
    data_key   BLOB    NOT NULL,
    value      BLOB    NOT NULL,
    creator    TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (namespace, scope, key),
    CHECK (scope <> 'codeintel' OR namespace = '')
) STRICT, WITHOUT ROWID;

CREATE INDEX secrets_key_id ON secrets (key_id);

-- Who was given which secret when. What it was called is kept here too: the secret may be gone by then.
CREATE TABLE secret_accesses (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    secret    TEXT    NOT NULL,
    scope     TEXT    NOT NULL,
    namespace TEXT    NOT NULL,
    key       TEXT    NOT NULL,
    job       INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    -- Whose the job is.
    owner     TEXT    NOT NULL,
    executor  TEXT    NOT NULL,
    at        INTEGER NOT NULL
) STRICT;

CREATE INDEX secret_accesses_secret ON secret_accesses (secret, id);
CREATE INDEX secret_accesses_at ON secret_accesses (at);

-- The operator's keys that are in use, each with something sealed that it can be told by.
CREATE TABLE sealing_keys (
    id       TEXT NOT NULL PRIMARY KEY,
    data_key BLOB NOT NULL,
    value    BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What earlier versions wrote is in `plain` until the next start has sealed it.
CREATE TABLE sealed_job_secrets (
    job      INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    plain    TEXT,
    key_id   TEXT,
    data_key BLOB,
    value    BLOB,
    CHECK ((plain IS NULL) = (key_id IS NOT NULL AND data_key IS NOT NULL AND value IS NOT NULL))
) STRICT;

INSERT INTO sealed_job_secrets (job, plain) SELECT job, secrets FROM job_secrets;
DROP TABLE job_secrets;
ALTER TABLE sealed_job_secrets RENAME TO job_secrets;
CREATE INDEX job_secrets_key_id ON job_secrets (key_id);
