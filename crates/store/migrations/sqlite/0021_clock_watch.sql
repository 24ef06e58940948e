-- Its clock is one server's, which watches it itself: there is nothing to keep of that here.
-- Who was given a namespace's secrets.
CREATE INDEX secret_accesses_of_namespace ON secret_accesses (namespace, id);
