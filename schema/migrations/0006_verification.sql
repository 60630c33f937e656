-- How a server was verified, and what holds it back: on the server, or on one version.

-- One row per proof that holds.
CREATE TABLE proofs (
  server_id  INTEGER NOT NULL REFERENCES servers (id),
  level      TEXT    NOT NULL CHECK (level IN ('namespace', 'endpoint', 'operator')),
  subject    TEXT    NOT NULL,                        -- the domain, or the origin, that it is about
  method     TEXT    NOT NULL CHECK (method IN ('challenge', 'domain', 'decision')),
  actor      TEXT    NOT NULL,
  reason     TEXT,
  proven_at  INTEGER NOT NULL,
  confirmed_at INTEGER NOT NULL,                      -- when it was last found to hold
  checked_at INTEGER NOT NULL,                        -- when it was last looked at, whatever came of it
  failures   INTEGER NOT NULL DEFAULT 0,              -- checks in a row that found it gone
  PRIMARY KEY (server_id, level)
) STRICT, WITHOUT ROWID;

-- Those that a cron looks at, the longest unseen first.
CREATE INDEX proofs_to_check ON proofs (checked_at) WHERE method = 'challenge';

INSERT INTO proofs (server_id, level, subject, method, actor, proven_at, confirmed_at, checked_at)
SELECT id, 'operator', coalesce(verified_origin, ''), 'decision', 'operator', created_at, created_at, created_at
FROM servers WHERE verified = 1;

-- What connect reads of the proofs. 'endpoint' and 'operator' are about verified_origin; a version
-- that is reached elsewhere has the namespace's proof at most.
ALTER TABLE servers ADD COLUMN origin_level TEXT NOT NULL DEFAULT 'none'
  CHECK (origin_level IN ('none', 'endpoint', 'operator'));
ALTER TABLE servers ADD COLUMN namespace_proven INTEGER NOT NULL DEFAULT 0
  CHECK (namespace_proven IN (0, 1));
UPDATE servers SET origin_level = 'operator' WHERE verified = 1;
ALTER TABLE servers DROP COLUMN verified;

-- Moderation: until when (NULL: until somebody ends it), by whom, since when.
ALTER TABLE servers ADD COLUMN moderation_expires_at INTEGER;
ALTER TABLE servers ADD COLUMN moderation_actor TEXT;
ALTER TABLE servers ADD COLUMN moderated_at INTEGER;

ALTER TABLE versions ADD COLUMN moderation TEXT NOT NULL DEFAULT 'active'
  CHECK (moderation IN ('active', 'quarantined', 'revoked'));
ALTER TABLE versions ADD COLUMN moderation_reason TEXT;
ALTER TABLE versions ADD COLUMN moderation_expires_at INTEGER;
ALTER TABLE versions ADD COLUMN moderation_actor TEXT;
ALTER TABLE versions ADD COLUMN moderated_at INTEGER;

CREATE INDEX servers_moderated ON servers (moderation, name) WHERE moderation <> 'active';
CREATE INDEX versions_moderated ON versions (moderation, server_id) WHERE moderation <> 'active';
