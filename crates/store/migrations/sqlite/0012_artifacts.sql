-- Objects that no other row names: they are being made, or are to be removed.
CREATE TABLE loose_objects (
    key       TEXT    NOT NULL PRIMARY KEY,
    -- When nobody can be making it any more.
    remove_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX loose_objects_remove_at ON loose_objects (remove_at);

-- Tries whose texts are an object, and no files any more.
CREATE TABLE sealed_logs (
    job    INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch  INTEGER NOT NULL,
    object TEXT    NOT NULL,
    -- Bytes of all texts.
    bytes  INTEGER NOT NULL,
    -- JSON: where in the object which text is.
    pieces TEXT    NOT NULL,
    PRIMARY KEY (job, epoch)
) STRICT, WITHOUT ROWID;

-- Indexes that jobs upload, whole or in parts.
CREATE TABLE uploads (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Its repository's: empty is the global one.
    namespace         TEXT   NOT NULL,
    repository        TEXT   NOT NULL,
    commit_id         TEXT   NOT NULL,
    root              TEXT   NOT NULL,
    indexer_name      TEXT   NOT NULL,
    indexer_version   TEXT   NOT NULL,
    -- The job that it says it came of: a number, and no more than that.
    associated_index  INTEGER,
    content_type      TEXT   NOT NULL,
    uncompressed_size INTEGER,
    parts             INTEGER NOT NULL,
    -- Bytes of the parts that are there.
    size              INTEGER NOT NULL,
    started_at        INTEGER NOT NULL,
    -- NULL while parts may still come.
    finished_at       INTEGER
) STRICT;

CREATE INDEX uploads_finished ON uploads (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX uploads_started ON uploads (started_at) WHERE finished_at IS NULL;

CREATE TABLE upload_parts (
    upload INTEGER NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    part   INTEGER NOT NULL,
    object TEXT   NOT NULL,
    size   INTEGER NOT NULL,
    sha256 TEXT   NOT NULL,
    PRIMARY KEY (upload, part)
) STRICT, WITHOUT ROWID;

-- Files that tries of jobs left.
CREATE TABLE artifacts (
    job        INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch      INTEGER NOT NULL,
    -- Of which artifact of the job's specification.
    name       TEXT   NOT NULL,
    -- Where it was, below the workspace.
    path       TEXT   NOT NULL,
    object     TEXT   NOT NULL,
    size       INTEGER NOT NULL,
    sha256     TEXT   NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (job, epoch, name, path)
) STRICT, WITHOUT ROWID;
