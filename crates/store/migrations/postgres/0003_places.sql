-- Whose is a place of a key, and who waits for one: apart, so that nobody walks over the one to find the other.
DROP INDEX jobs_keyed;
CREATE INDEX jobs_placed ON jobs (key)
    WHERE key IS NOT NULL AND held IS NULL AND state IN ('queued', 'processing', 'errored');
CREATE INDEX jobs_wait_for_place ON jobs (key, rank, id) WHERE held = 'key' AND state = 'queued';

-- What a queue holds of each state: to be counted, and listed from the newest on.
DROP INDEX jobs_state;
CREATE INDEX jobs_of_queue ON jobs (queue, state, id);
-- What waits and can't be claimed.
CREATE INDEX jobs_held ON jobs (lane) WHERE state = 'queued' AND held IS NOT NULL;

-- A server of the version before lanes may run for a while beside this one: its jobs are put where they are found.
CREATE FUNCTION put_into_lane() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lanes (queue, owner, needs) VALUES (NEW.queue, '', '{}') ON CONFLICT (queue, owner, needs) DO NOTHING;
    SELECT id INTO NEW.lane FROM lanes WHERE queue = NEW.queue AND owner = '' AND needs = '{}';
    NEW.rank := NEW.queued_at;
    RETURN NEW;
END
$$;
CREATE TRIGGER job_of_an_older_server BEFORE INSERT ON jobs
    FOR EACH ROW WHEN (NEW.lane = 0) EXECUTE FUNCTION put_into_lane();
-- So are those that came since there are lanes.
INSERT INTO lanes (queue, owner, needs) SELECT DISTINCT queue, '', '{}' FROM jobs WHERE lane = 0
    ON CONFLICT (queue, owner, needs) DO NOTHING;
UPDATE jobs SET lane = (SELECT id FROM lanes WHERE lanes.queue = jobs.queue AND owner = '' AND needs = '{}'), rank = queued_at
    WHERE lane = 0;

-- Both are written by one transaction, and go together: to look for the job of each specification took more time than to
-- write it.
ALTER TABLE job_specs DROP CONSTRAINT job_specs_job_fkey;
