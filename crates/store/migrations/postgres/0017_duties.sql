-- What one server at a time does for all: who, and until when nobody else may begin to.
CREATE TABLE duties (
    name    TEXT   NOT NULL PRIMARY KEY,
    holder  TEXT   NOT NULL,
    ends_at BIGINT NOT NULL
);

-- What each executor runs.
CREATE INDEX jobs_running_of ON jobs (executor, id) WHERE state = 'processing';
-- Which pauses before another try end next.
CREATE INDEX jobs_paused ON jobs (queue, retry_at) WHERE state = 'errored';
-- Which indexes say that they came of a job.
CREATE INDEX uploads_of_job ON uploads (associated_index, id) WHERE associated_index IS NOT NULL;
