-- What anybody may do as often as they like is the first to be forgotten where there are too many acts.
CREATE INDEX audit_often ON audit (id) WHERE action IN ('executor.register', 'session.begin');
