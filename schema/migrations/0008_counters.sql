-- Sums of what isolates counted, added now and then, never on the way of a request.

CREATE TABLE counters (
  name   TEXT    NOT NULL,
  labels TEXT    NOT NULL DEFAULT '',                 -- as Prometheus writes them: code="ok"
  value  REAL    NOT NULL,
  PRIMARY KEY (name, labels)
) STRICT, WITHOUT ROWID;
