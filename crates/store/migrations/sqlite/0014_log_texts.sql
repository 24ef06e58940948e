-- Texts of tries that came from another database, until they are files. Each is in pieces that follow one another.
CREATE TABLE log_texts (
    job      INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch    INTEGER NOT NULL,
    entry    INTEGER NOT NULL,
    -- Which byte of the text the piece begins with.
    start_at INTEGER NOT NULL CHECK (start_at >= 0),
    bytes    BLOB    NOT NULL CHECK (length(bytes) > 0),
    PRIMARY KEY (job, epoch, entry, start_at)
) STRICT;
