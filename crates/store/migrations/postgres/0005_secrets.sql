-- Sealed: nobody may read them who has the database alone. Each has a data key of its own, and that is sealed with one of
-- the operator's keys, `key_id`.

CREATE TABLE secrets (
    -- 32 hexadecimal digits, never used before. It is bound to both seals, with scope, namespace and key.
    id         TEXT   NOT NULL PRIMARY KEY,
    scope      TEXT   NOT NULL CHECK (scope IN ('batches', 'codeintel')),
    -- Empty: the global one.
    namespace  TEXT   NOT NULL,
    key        TEXT   NOT NULL,
    key_id     TEXT   NOT NULL,
    data_key   BYTEA  NOT NULL,
    value      BYTEA  NOT NULL,
    creator    TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (namespace, scope, key),
    CHECK (scope <> 'codeintel' OR namespace = '')
);

CREATE INDEX secrets_key_id ON secrets (key_id);

-- Who was given which secret when. What it was called is kept here too: the secret may be gone by then.
CREATE TABLE secret_accesses (
    id        BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    secret    TEXT   NOT NULL,
    scope     TEXT   NOT NULL,
    namespace TEXT   NOT NULL,
    key       TEXT   NOT NULL,
    job       BIGINT NOT NULL,
    attempt   BIGINT NOT NULL,
    -- Whose the job is.
    owner     TEXT   NOT NULL,
    executor  TEXT   NOT NULL,
    at        BIGINT NOT NULL
);

CREATE INDEX secret_accesses_secret ON secret_accesses (secret, id);
CREATE INDEX secret_accesses_at ON secret_accesses (at);

-- The operator's keys that are in use, each with something sealed that it can be told by.
CREATE TABLE sealing_keys (
    id       TEXT  NOT NULL PRIMARY KEY,
    data_key BYTEA NOT NULL,
    value    BYTEA NOT NULL
);

-- What earlier versions wrote is in `plain` until the next start has sealed it.
ALTER TABLE job_secrets RENAME COLUMN secrets TO plain;
ALTER TABLE job_secrets
    ALTER COLUMN plain DROP NOT NULL,
    ADD COLUMN key_id   TEXT,
    ADD COLUMN data_key BYTEA,
    ADD COLUMN value    BYTEA,
    ADD CHECK ((plain IS NULL) = (key_id IS NOT NULL AND data_key IS NOT NULL AND value IS NOT NULL));
CREATE INDEX job_secrets_key_id ON job_secrets (key_id);
