-- How often a job is tried again after it failed by its own fault.
ALTER TABLE jobs ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
