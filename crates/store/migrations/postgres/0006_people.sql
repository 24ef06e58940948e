-- People who sign in to the pages, and their sessions. A namespace is empty where it is the global one.

CREATE TABLE people (
    id           BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name         TEXT   NOT NULL UNIQUE,
    -- An argon2id hash, as a PHC string.
    password     TEXT   NOT NULL,
    role         TEXT   NOT NULL CHECK (role IN ('reader', 'submitter', 'operator', 'admin')),
    namespace    TEXT   NOT NULL,
    created_by   TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    -- When the password was set.
    password_at  BIGINT NOT NULL,
    -- Up to some minutes before they were last here.
    last_used_at BIGINT
);

-- Of what a session's cookie holds only the SHA-256 is kept.
CREATE TABLE sessions (
    id           BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    digest       BYTEA  NOT NULL UNIQUE,
    -- Whose it is: a person's, that of whoever showed a token, or (the SHA-256 of it) the file api-token.
    person       BIGINT REFERENCES people (id) ON DELETE CASCADE,
    token        BIGINT REFERENCES tokens (id) ON DELETE CASCADE,
    root         BYTEA,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    CHECK (num_nonnulls(person, token, root) = 1)
);

CREATE INDEX sessions_of_person ON sessions (person) WHERE person IS NOT NULL;
CREATE INDEX sessions_of_token ON sessions (token) WHERE token IS NOT NULL;
CREATE INDEX sessions_created ON sessions (created_at);
