-- The job by whose token it came: what is not complete when that job is over never will be, and a job has so many at most.
-- None where an executor's secret was shown, nor in rows from before.
ALTER TABLE uploads ADD COLUMN by_job BIGINT;
CREATE INDEX uploads_by_job ON uploads (by_job) WHERE by_job IS NOT NULL;
