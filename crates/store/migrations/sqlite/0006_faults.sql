-- Why a job goes back and waits, and who stopped it.

ALTER TABLE jobs ADD COLUMN faults INTEGER NOT NULL DEFAULT 0 CHECK (faults BETWEEN 0 AND 4294967295);
-- JSON; NULL where nobody asked for it to stop, and where nobody noted who did.
ALTER TABLE jobs ADD COLUMN canceler TEXT;
-- From when on an errored job may be tried again.
ALTER TABLE jobs ADD COLUMN retry_at INTEGER;

UPDATE jobs SET retry_at = finished_at + 10000000 WHERE state = 'errored';

DROP INDEX jobs_errored;
-- In order of id, not of time: the jobs to step over are the few that wait for their pause to be over.
CREATE INDEX jobs_errored ON jobs (queue, id, retry_at, executor) WHERE state = 'errored';

-- How earlier tries ended. The latest one's end is the job's.
CREATE TABLE earlier_tries (
    job        INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch      INTEGER NOT NULL,
    executor   TEXT,
    started_at INTEGER,
    ended_at   INTEGER NOT NULL,
    -- JSON.
    end_detail TEXT    NOT NULL,
    message    TEXT,
    PRIMARY KEY (job, epoch)
) STRICT, WITHOUT ROWID;
