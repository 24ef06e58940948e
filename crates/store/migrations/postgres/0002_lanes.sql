-- Jobs wait in lanes: those of one owner in one queue that need the same. Within a lane the lowest rank is first.

CREATE TABLE lanes (
    id    BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    queue TEXT   NOT NULL,
    -- Empty where nobody is told from anybody else.
    owner TEXT   NOT NULL,
    -- JSON.
    needs TEXT   NOT NULL,
    UNIQUE (queue, owner, needs)
);

INSERT INTO lanes (queue, owner, needs) SELECT DISTINCT queue, '', '{}' FROM jobs;

ALTER TABLE jobs
    ADD COLUMN lane      BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN rank      BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN priority  BIGINT NOT NULL DEFAULT 0,
    -- What a queued job waits for before it can be claimed: that fewer jobs of its key run, or its time.
    ADD COLUMN held      TEXT   CHECK (held IN ('key', 'time')),
    -- Not before this time.
    ADD COLUMN due_at    BIGINT,
    -- Of the jobs with one key, which holds its owner, so many are given out at once.
    ADD COLUMN key       TEXT,
    ADD COLUMN key_limit BIGINT;

UPDATE jobs SET lane = (SELECT id FROM lanes WHERE lanes.queue = jobs.queue), rank = queued_at;

DROP INDEX jobs_queued;
DROP INDEX jobs_errored;
-- Each look of a claim finds the first job of a lane at the front of one of these two.
CREATE INDEX jobs_claimable ON jobs (lane, rank, id) WHERE state = 'queued' AND held IS NULL;
CREATE INDEX jobs_errored ON jobs (lane, rank, id, retry_at, executor) WHERE state = 'errored';
CREATE INDEX jobs_due ON jobs (due_at) WHERE held = 'time' AND state = 'queued';
CREATE INDEX jobs_keyed ON jobs (key, rank, id)
    WHERE key IS NOT NULL AND state IN ('queued', 'processing', 'errored');

-- What operators say of queues. A queue without a row has no rules.
CREATE TABLE queues (
    name        TEXT   NOT NULL PRIMARY KEY,
    -- Since when none of its jobs is given out.
    paused_at   BIGINT,
    -- So many of its jobs are given out at once.
    max_running BIGINT CHECK (max_running > 0)
);

ALTER TABLE executors
    -- Since when an executor is given no jobs.
    ADD COLUMN maintenance_at BIGINT,
    -- JSON: what it gives a job.
    ADD COLUMN capacity       TEXT NOT NULL DEFAULT '{}';

-- Submissions that may be made again, and what came of them.
CREATE TABLE submissions (
    owner  TEXT   NOT NULL,
    key    TEXT   NOT NULL,
    job    BIGINT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    -- SHA-256 of what was asked for.
    digest BYTEA  NOT NULL,
    PRIMARY KEY (owner, key)
);

CREATE INDEX submissions_job ON submissions (job);
