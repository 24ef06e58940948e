-- Ended jobs are removed some time after their end: the oldest end comes first.
CREATE INDEX jobs_ended ON jobs (finished_at) WHERE state IN ('completed', 'failed', 'canceled');

-- How many jobs each queue holds: a submission that asks for it must not count a million rows.
CREATE TABLE queue_lengths (
    queue  TEXT    NOT NULL PRIMARY KEY,
    queued INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO queue_lengths (queue, queued)
    SELECT queue, COUNT(*) FROM jobs WHERE state = 'queued' GROUP BY queue;

CREATE TRIGGER job_is_submitted AFTER INSERT ON jobs WHEN NEW.state = 'queued'
BEGIN
    INSERT INTO queue_lengths (queue, queued) VALUES (NEW.queue, 1)
        ON CONFLICT (queue) DO UPDATE SET queued = queued + 1;
END;

CREATE TRIGGER job_is_queued_again AFTER UPDATE OF state ON jobs
    WHEN NEW.state = 'queued' AND OLD.state <> 'queued'
BEGIN
    UPDATE queue_lengths SET queued = queued + 1 WHERE queue = NEW.queue;
END;

CREATE TRIGGER job_leaves_its_queue AFTER UPDATE OF state ON jobs
    WHEN OLD.state = 'queued' AND NEW.state <> 'queued'
BEGIN
    UPDATE queue_lengths SET queued = queued - 1 WHERE queue = OLD.queue;
END;

CREATE TRIGGER job_is_deleted_from_its_queue AFTER DELETE ON jobs WHEN OLD.state = 'queued'
BEGIN
    UPDATE queue_lengths SET queued = queued - 1 WHERE queue = OLD.queue;
END;
