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
