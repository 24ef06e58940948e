-- What sources of repositories ask for, sealed as secrets are: a server that has no mirror yet makes one.
CREATE TABLE repository_credentials (
    repository INTEGER PRIMARY KEY REFERENCES repositories (id) ON DELETE CASCADE,
    key_id     TEXT    NOT NULL,
    data_key   BLOB    NOT NULL,
    value      BLOB    NOT NULL
) STRICT;
