-- Objects that no other row names: they are being made, or are to be removed.
CREATE TABLE loose_objects (
    key       TEXT   NOT NULL PRIMARY KEY,
    -- When nobody can be making it any more.
    remove_at BIGINT NOT NULL
);

CREATE INDEX loose_objects_remove_at ON loose_objects (remove_at);

-- Tries whose texts are an object, and no files any more.
CREATE TABLE sealed_logs (
    job    BIGINT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch  BIGINT NOT NULL,
    object TEXT   NOT NULL,
    -- Bytes of all texts.
    bytes  BIGINT NOT NULL,
    -- JSON: where in the object which text is.
    pieces TEXT   NOT NULL,
    PRIMARY KEY (job, epoch)
);

-- Indexes that jobs upload, whole or in parts.
CREATE TABLE uploads (
    id                BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    -- Its repository's: empty is the global one.
    namespace         TEXT   NOT NULL,
    repository        TEXT   NOT NULL,
    commit_id         TEXT   NOT NULL,
    root              TEXT   NOT NULL,
    indexer_name      TEXT   NOT NULL,
    indexer_version   TEXT   NOT NULL,
    -- The job that it says it came of: a number, and no more than that.
    associated_index  BIGINT,
    content_type      TEXT   NOT NULL,
    uncompressed_size BIGINT,
    parts             BIGINT NOT NULL,
    -- Bytes of the parts that are there.
    size              BIGINT NOT NULL,
    started_at        BIGINT NOT NULL,
    -- NULL while parts may still come.
    finished_at       BIGINT
);

CREATE INDEX uploads_finished ON uploads (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX uploads_started ON uploads (started_at) WHERE finished_at IS NULL;

CREATE TABLE upload_parts (
    upload BIGINT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    part   BIGINT NOT NULL,
    object TEXT   NOT NULL,
    size   BIGINT NOT NULL,
    sha256 TEXT   NOT NULL,
    PRIMARY KEY (upload, part)
);

-- Files that tries of jobs left.
CREATE TABLE artifacts (
    job        BIGINT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch      BIGINT NOT NULL,
    -- Of which artifact of the job's specification.
    name       TEXT   NOT NULL,
    -- Where it was, below the workspace.
    path       TEXT   NOT NULL,
    object     TEXT   NOT NULL,
    size       BIGINT NOT NULL,
    sha256     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (job, epoch, name, path)
);
