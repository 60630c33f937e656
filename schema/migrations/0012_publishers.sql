-- Proofs of a domain that opened the registry to its publisher: each does so once. Kept for a minute,
-- twice as long as a proof is good. Milliseconds since the Unix epoch.
CREATE TABLE spent_proofs (
  proof    TEXT    PRIMARY KEY,
  spent_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX spent_proofs_by_date ON spent_proofs (spent_at);
