-- What sources of repositories ask for, sealed as secrets are: each server on this database makes mirrors of its own.
CREATE TABLE repository_credentials (
    repository BIGINT PRIMARY KEY REFERENCES repositories (id) ON DELETE CASCADE,
    key_id     TEXT   NOT NULL,
    data_key   BYTEA  NOT NULL,
    value      BYTEA  NOT NULL
);
