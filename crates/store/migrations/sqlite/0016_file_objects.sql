-- The object that a file's content is; NULL where it is in the data directory.
ALTER TABLE files ADD COLUMN object TEXT;
