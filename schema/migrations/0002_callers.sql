-- Who may ask for descriptors.

CREATE TABLE clients (
  client_id  TEXT    PRIMARY KEY,
  tenant_id  TEXT,
  name       TEXT,
  status     TEXT    NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
  key_id      TEXT    PRIMARY KEY,
  client_id   TEXT    NOT NULL REFERENCES clients (client_id),
  secret_hash TEXT    NOT NULL,                       -- SHA-256 of the secret half, in base64url
  created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
