-- What the clock that all servers share showed when one of them asked it last, and how often one saw that it was set back:
-- who did not see that itself hears of it here. It has one row.
CREATE TABLE clock_watch (
    id     BIGINT PRIMARY KEY CHECK (id = 1),
    latest BIGINT NOT NULL,
    steps  BIGINT NOT NULL
);
-- Who was given a namespace's secrets.
CREATE INDEX secret_accesses_of_namespace ON secret_accesses (namespace, id);
