-- Calls that came for a try after its job had been taken back. They are known by the try's token, of which the SHA-256 is kept.
ALTER TABLE earlier_tries ADD COLUMN token_hash BLOB;
ALTER TABLE earlier_tries ADD COLUMN late_calls INTEGER NOT NULL DEFAULT 0;
CREATE INDEX earlier_tries_token ON earlier_tries (token_hash) WHERE token_hash IS NOT NULL;
