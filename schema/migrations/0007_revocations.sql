-- What was withdrawn, and when: the revocation feed. A row is written in the transaction of the
-- change. Rows older than any live descriptor may go, except those of keys.

CREATE TABLE revocations (
  kind       TEXT    NOT NULL CHECK (kind IN ('server', 'version', 'tenant', 'client', 'key', 'jti')),
  subject    TEXT    NOT NULL,                        -- ns/name, ns/name@version, an id, a kid, a jti
  tenant_id  TEXT    NOT NULL DEFAULT '',             -- of a client, where it has one
  revoked_at INTEGER NOT NULL,
  actor      TEXT    NOT NULL,
  reason     TEXT    NOT NULL,
  PRIMARY KEY (kind, subject, tenant_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX revocations_recent ON revocations (revoked_at);
