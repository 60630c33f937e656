-- Who may use /v1/admin, by name.

CREATE TABLE administrators (
  name            TEXT    PRIMARY KEY,
  role            TEXT    NOT NULL CHECK (role IN ('operator', 'moderator')),
  status          TEXT    NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  access_identity TEXT    UNIQUE,                     -- e-mail or service token at Cloudflare Access
  created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE administrator_keys (
  key_id      TEXT    PRIMARY KEY,
  name        TEXT    NOT NULL REFERENCES administrators (name),
  secret_hash TEXT    NOT NULL,                       -- SHA-256 of the secret half, in base64url
  label       TEXT,
  created_at  INTEGER NOT NULL,
  expires_at  INTEGER,
  revoked_at  INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX administrator_keys_of_name ON administrator_keys (name);

-- The hash chain over the audit trail: seals[n] = SHA-256(seals[n - 1], row n). Kept apart, since
-- a row is written by the statement that makes the change, and SQL has no hash function.
CREATE TABLE audit_seals (
  seq  INTEGER PRIMARY KEY REFERENCES audit (seq),
  hash TEXT    NOT NULL
) STRICT;

CREATE TRIGGER audit_seals_are_append_only_insert BEFORE INSERT ON audit_seals
WHEN EXISTS (SELECT 1 FROM audit_seals WHERE seq = new.seq AND hash <> new.hash)
BEGIN
  SELECT RAISE(ABORT, 'the audit trail is append-only');
END;

CREATE TRIGGER audit_seals_are_append_only_update BEFORE UPDATE ON audit_seals
BEGIN
  SELECT RAISE(ABORT, 'the audit trail is append-only');
END;

CREATE TRIGGER audit_seals_are_append_only_delete BEFORE DELETE ON audit_seals
BEGIN
  SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
