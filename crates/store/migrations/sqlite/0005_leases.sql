-- For how long the latest claim lasts without a heartbeat, in microseconds. Who held a job when this was added may have
-- been told any term, most likely one that was shorter.
ALTER TABLE jobs ADD COLUMN lease INTEGER NOT NULL DEFAULT 90000000 CHECK (lease > 0);

DROP INDEX jobs_processing;
CREATE INDEX jobs_lease_ends ON jobs (last_heartbeat_at + lease) WHERE state = 'processing';
