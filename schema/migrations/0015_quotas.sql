-- What one publisher may take of what all share: the revocation feed and the database.

-- Whose share of the feed a revocation takes: 'publisher:' and the owner of the namespace, or 'import' for what
-- was imported or mirrored. NULL: an administrator's, who has what the others leave.
ALTER TABLE revocations ADD COLUMN owner TEXT;

CREATE INDEX revocations_shared ON revocations (revoked_at) WHERE owner IS NOT NULL;

-- What an owner of namespaces published and changed on a day, in days since the Unix epoch (UTC).
CREATE TABLE published (
  owner    TEXT    NOT NULL,
  day      INTEGER NOT NULL,
  versions INTEGER NOT NULL,
  bytes    INTEGER NOT NULL,
  PRIMARY KEY (owner, day)
) STRICT, WITHOUT ROWID;

CREATE INDEX published_by_day ON published (day);

-- A version goes only while it is listed here, within the transaction that purges it.
CREATE TABLE purging (version_id INTEGER PRIMARY KEY) STRICT;

DROP TRIGGER versions_stay;
CREATE TRIGGER versions_stay BEFORE DELETE ON versions
WHEN NOT EXISTS (SELECT 1 FROM purging WHERE version_id = old.id)
BEGIN
  SELECT RAISE(ABORT, 'a version never goes; its status may become deleted');
END;

-- What was verified once could be connected to.
CREATE INDEX audit_verifications ON audit (subject) WHERE action IN ('server.verify', 'server.prove');

-- What refers to a version is looked up when one goes.
CREATE INDEX servers_by_default_version ON servers (default_version);
CREATE INDEX servers_by_latest_version ON servers (latest_version);
