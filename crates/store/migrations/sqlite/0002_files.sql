-- Uploaded files. Their contents are files on disk, named by their ids.
CREATE TABLE files (
    id          TEXT    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    size        INTEGER NOT NULL CHECK (size >= 0),
    sha256      TEXT    NOT NULL,
    modified_at INTEGER NOT NULL,
    uploaded_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX files_uploaded ON files (uploaded_at);

-- Which jobs name which files: those alone may read them, and as long as they run the files stay.
CREATE TABLE job_files (
    job  INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    file TEXT    NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    PRIMARY KEY (file, job)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_files_job ON job_files (job);
