-- Times are microseconds since 1970 in UTC, as the executors' control plane has them in SQLite too; JSON is kept as the text
-- that was written.

CREATE TABLE jobs (
    id                BIGINT   PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    queue             TEXT     NOT NULL,
    -- Empty without a repository.
    repository        TEXT     NOT NULL,
    -- Empty: the repository's default branch.
    rev               TEXT     NOT NULL DEFAULT '',
    commit_id         TEXT     NOT NULL,
    state             TEXT     NOT NULL DEFAULT 'queued'
                      CHECK (state IN ('queued', 'processing', 'completed', 'errored', 'failed', 'canceled')),
    epoch             BIGINT   NOT NULL DEFAULT 0 CHECK (epoch BETWEEN 0 AND 4294967295),
    executor          TEXT,
    resets            BIGINT   NOT NULL DEFAULT 0 CHECK (resets BETWEEN 0 AND 4294967295),
    faults            BIGINT   NOT NULL DEFAULT 0 CHECK (faults BETWEEN 0 AND 4294967295),
    failures          BIGINT   NOT NULL DEFAULT 0 CHECK (failures BETWEEN 0 AND 4294967295),
    cancel_requested  BOOLEAN  NOT NULL DEFAULT FALSE,
    -- JSON; NULL where nobody asked for it to stop.
    canceler          TEXT,
    -- JSON.
    end_detail        TEXT,
    message           TEXT,
    queued_at         BIGINT   NOT NULL,
    started_at        BIGINT,
    finished_at       BIGINT,
    -- From when on an errored job may be tried again.
    retry_at          BIGINT,
    last_heartbeat_at BIGINT,
    -- For how long the latest claim lasts without a heartbeat.
    lease             BIGINT   NOT NULL DEFAULT 90000000 CHECK (lease > 0),
    -- SHA-256 of the job token while there is a valid one.
    token_hash        BYTEA    CHECK (token_hash IS NULL OR state = 'processing')
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

-- Each look of a claim finds its job at the front of one of these two.
CREATE INDEX jobs_queued ON jobs (queue, id) WHERE state = 'queued';
CREATE INDEX jobs_errored ON jobs (queue, id, retry_at, executor) WHERE state = 'errored';
CREATE INDEX jobs_lease_ends ON jobs ((last_heartbeat_at + lease)) WHERE state = 'processing';
CREATE INDEX jobs_state ON jobs (state, id);
CREATE UNIQUE INDEX jobs_token ON jobs (token_hash) WHERE token_hash IS NOT NULL;
CREATE INDEX jobs_ended ON jobs (finished_at) WHERE state IN ('completed', 'failed', 'canceled');

-- What was asked for, apart from `jobs`: it may be megabytes, and hardly any query needs it.
CREATE TABLE job_specs (
    job  BIGINT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    -- JSON, without the secrets.
    spec TEXT   NOT NULL
);

CREATE TABLE job_secrets (
    job     BIGINT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    -- JSON: variable name to value.
    secrets TEXT   NOT NULL
);

-- How earlier tries ended. The latest one's end is the job's.
CREATE TABLE earlier_tries (
    job        BIGINT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch      BIGINT NOT NULL,
    executor   TEXT,
    started_at BIGINT,
    ended_at   BIGINT NOT NULL,
    -- JSON.
    end_detail TEXT   NOT NULL,
    message    TEXT,
    PRIMARY KEY (job, epoch)
);

-- The texts are files: logs/<job>/<epoch>/<entry>.log in the server's data directory.
CREATE TABLE log_entries (
    job         BIGINT  NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch       BIGINT  NOT NULL,
    entry       BIGINT  NOT NULL,
    key         TEXT    NOT NULL,
    -- JSON: the redacted argument vector.
    command     TEXT,
    start_time  BIGINT  NOT NULL,
    exit_code   INTEGER,
    duration_ms BIGINT,
    PRIMARY KEY (job, epoch, entry)
);

-- Uploaded files. Their contents are files on disk, named by their ids.
CREATE TABLE files (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    size        BIGINT NOT NULL CHECK (size >= 0),
    sha256      TEXT   NOT NULL,
    modified_at BIGINT NOT NULL,
    uploaded_at BIGINT NOT NULL
);

CREATE INDEX files_uploaded ON files (uploaded_at);

-- Which jobs name which files: those alone may read them, and as long as they run the files stay.
CREATE TABLE job_files (
    job  BIGINT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    file TEXT   NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    PRIMARY KEY (file, job)
);

CREATE INDEX job_files_job ON job_files (job);

CREATE TABLE executors (
    name          TEXT   PRIMARY KEY,
    -- JSON: an array of names.
    queues        TEXT   NOT NULL,
    -- JSON.
    telemetry     TEXT   NOT NULL,
    first_seen_at BIGINT NOT NULL,
    last_seen_at  BIGINT NOT NULL
);

CREATE INDEX executors_last_seen ON executors (last_seen_at);

CREATE TABLE repositories (
    -- It names the mirror's directory, so it is never given again.
    id         BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name       TEXT   NOT NULL UNIQUE,
    source     TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);
