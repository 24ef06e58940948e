-- Texts of tries that are not an object yet, for every server on this database. Each is in pieces that follow one another.
CREATE TABLE log_texts (
    job      BIGINT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch    BIGINT NOT NULL,
    entry    BIGINT NOT NULL,
    -- Which byte of the text the piece begins with.
    start_at BIGINT NOT NULL CHECK (start_at >= 0),
    bytes    BYTEA  NOT NULL CHECK (length(bytes) > 0),
    PRIMARY KEY (job, epoch, entry, start_at)
) WITH (autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_scale_factor = 0.02);
