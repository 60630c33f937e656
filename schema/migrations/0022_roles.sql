-- Two roles that change nothing: auditor and metrics. SQLite can't widen a CHECK, so the table is made anew; the
-- keys that refer to it are checked when all of this is done.
PRAGMA defer_foreign_keys = true;

CREATE TABLE administrators_before AS SELECT * FROM administrators;
DROP TABLE administrators;

CREATE TABLE administrators (
  name            TEXT    PRIMARY KEY,
  role            TEXT    NOT NULL CHECK (role IN ('operator', 'moderator', 'auditor', 'metrics')),
  status          TEXT    NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  access_identity TEXT    UNIQUE,                     -- e-mail or service token at Cloudflare Access
  created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO administrators (name, role, status, access_identity, created_at)
SELECT name, role, status, access_identity, created_at FROM administrators_before;
DROP TABLE administrators_before;
