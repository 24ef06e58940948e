-- People who sign in to the pages, and their sessions. A namespace is empty where it is the global one.

CREATE TABLE people (
    -- AUTOINCREMENT: a session must not become somebody else's.
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT    NOT NULL UNIQUE,
    -- An argon2id hash, as a PHC string.
    password     TEXT    NOT NULL,
    role         TEXT    NOT NULL CHECK (role IN ('reader', 'submitter', 'operator', 'admin')),
    namespace    TEXT    NOT NULL,
    created_by   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    -- When the password was set.
    password_at  INTEGER NOT NULL,
    -- Up to some minutes before they were last here.
    last_used_at INTEGER
) STRICT;

-- Of what a session's cookie holds only the SHA-256 is kept.
CREATE TABLE sessions (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    digest       BLOB    NOT NULL UNIQUE,
    -- Whose it is: a person's, that of whoever showed a token, or (the SHA-256 of it) the file api-token.
    person       INTEGER REFERENCES people (id) ON DELETE CASCADE,
    token        INTEGER REFERENCES tokens (id) ON DELETE CASCADE,
    root         BLOB,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    CHECK ((person IS NOT NULL) + (token IS NOT NULL) + (root IS NOT NULL) = 1)
) STRICT;

CREATE INDEX sessions_of_person ON sessions (person) WHERE person IS NOT NULL;
CREATE INDEX sessions_of_token ON sessions (token) WHERE token IS NOT NULL;
CREATE INDEX sessions_created ON sessions (created_at);
