-- The object that a file's content is; NULL where it is in the directory of the server that took it.
ALTER TABLE files ADD COLUMN object TEXT;
