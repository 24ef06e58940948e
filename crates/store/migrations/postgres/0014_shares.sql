-- Where there are too many, the oldest of whoever has most are the first to be forgotten.
CREATE INDEX audit_of_actor ON audit (actor_of, id);
CREATE INDEX audit_often_of_actor ON audit (actor_of, id) WHERE action IN ('executor.register', 'session.begin');
CREATE INDEX secret_accesses_of_owner ON secret_accesses (owner, id);
