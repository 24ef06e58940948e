-- Times are microseconds since 1970 in UTC.

CREATE TABLE jobs (
    -- AUTOINCREMENT: the id of a deleted job is never given to another one.
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    queue             TEXT    NOT NULL,
    -- Empty without a repository.
    repository        TEXT    NOT NULL,
    commit_id         TEXT    NOT NULL,
    -- JSON, without the secrets.
    spec              TEXT    NOT NULL,
    state             TEXT    NOT NULL DEFAULT 'queued'
                      CHECK (state IN ('queued', 'processing', 'completed', 'errored', 'failed', 'canceled')),
    epoch             INTEGER NOT NULL DEFAULT 0 CHECK (epoch BETWEEN 0 AND 4294967295),
    executor          TEXT,
    resets            INTEGER NOT NULL DEFAULT 0 CHECK (resets BETWEEN 0 AND 4294967295),
    failures          INTEGER NOT NULL DEFAULT 0 CHECK (failures BETWEEN 0 AND 4294967295),
    cancel_requested  INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    -- JSON.
    end_detail        TEXT,
    message           TEXT,
    queued_at         INTEGER NOT NULL,
    started_at        INTEGER,
    finished_at       INTEGER,
    last_heartbeat_at INTEGER,
    -- SHA-256 of the job token while there is a valid one.
    token_hash        BLOB CHECK (token_hash IS NULL OR state = 'processing')
) STRICT;

-- Each look of a claim finds its job at the front of one of these two.
CREATE INDEX jobs_queued ON jobs (queue, id) WHERE state = 'queued';
-- In order of id, not of time: the jobs to step over are those that ended within the retry delay.
CREATE INDEX jobs_errored ON jobs (queue, id, finished_at) WHERE state = 'errored';
CREATE INDEX jobs_processing ON jobs (last_heartbeat_at) WHERE state = 'processing';
CREATE INDEX jobs_state ON jobs (state, id);
CREATE UNIQUE INDEX jobs_token ON jobs (token_hash) WHERE token_hash IS NOT NULL;

-- Apart from `jobs`, so that nothing but the beginning and the end of a job moves these bytes.
CREATE TABLE job_secrets (
    job     INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    -- JSON: variable name to value.
    secrets TEXT NOT NULL
) STRICT;

-- The texts are files: logs/<job>/<epoch>/<entry>.log beside the database.
CREATE TABLE log_entries (
    job         INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch       INTEGER NOT NULL,
    entry       INTEGER NOT NULL,
    key         TEXT    NOT NULL,
    -- JSON: the redacted argument vector.
    command     TEXT,
    start_time  INTEGER NOT NULL,
    exit_code   INTEGER,
    duration_ms INTEGER,
    PRIMARY KEY (job, epoch, entry)
) STRICT, WITHOUT ROWID;

CREATE TABLE executors (
    name          TEXT PRIMARY KEY,
    -- JSON: an array of names.
    queues        TEXT    NOT NULL,
    -- JSON.
    telemetry     TEXT    NOT NULL,
    first_seen_at INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX executors_last_seen ON executors (last_seen_at);

CREATE TABLE repositories (
    -- AUTOINCREMENT: the id names the mirror's directory, so it is never given again.
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    source     TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
