-- Tenants, their policy, and who may speak for their callers.

CREATE TABLE tenants (
  tenant_id     TEXT    NOT NULL PRIMARY KEY,
  name          TEXT,
  status        TEXT    NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  created_at    INTEGER NOT NULL,
  -- The policy in force: SHA-256 of the document, then the document, last since it may be long.
  policy_digest TEXT,
  pins          TEXT,                                 -- {"namespace/name": "version"}, if any
  policy        TEXT,
  CHECK ((policy IS NULL) = (policy_digest IS NULL))
) STRICT;                                             -- with rows so long, a rowid finds faster

INSERT INTO tenants (tenant_id, created_at)
SELECT tenant_id, min(created_at) FROM clients WHERE tenant_id IS NOT NULL GROUP BY tenant_id;

CREATE TRIGGER clients_have_tenants BEFORE INSERT ON clients
WHEN NOT EXISTS (SELECT 1 FROM tenants WHERE tenant_id = new.tenant_id) AND new.tenant_id IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'no such tenant');
END;

-- One row: the policy for all.
CREATE TABLE authority (
  id            INTEGER PRIMARY KEY CHECK (id = 1),
  policy_digest TEXT,
  pins          TEXT,
  policy        TEXT,
  CHECK ((policy IS NULL) = (policy_digest IS NULL))
) STRICT;

INSERT INTO authority (id) VALUES (1);

-- Every policy that ever held.
CREATE TABLE policies (
  scope    TEXT    NOT NULL,                          -- a tenant_id, or '' for all
  version  INTEGER NOT NULL,                          -- 1, 2, 3 … per scope
  digest   TEXT    NOT NULL,
  actor    TEXT    NOT NULL,
  reason   TEXT    NOT NULL,
  at       INTEGER NOT NULL,
  document TEXT    NOT NULL,
  PRIMARY KEY (scope, version)
) STRICT;

-- Whose access tokens are taken, and for which tenant.
CREATE TABLE identity_providers (
  issuer        TEXT    NOT NULL,
  audience      TEXT    NOT NULL,
  tenant_id     TEXT    NOT NULL REFERENCES tenants (tenant_id),
  jwks_uri      TEXT,                                 -- NULL: found by discovery
  client_claims TEXT    NOT NULL,                     -- JSON list: the first that a token has names the client
  created_at    INTEGER NOT NULL,
  PRIMARY KEY (issuer, audience)
) STRICT, WITHOUT ROWID;

CREATE INDEX identity_providers_of_tenant ON identity_providers (tenant_id);

-- A client may have several keys at once, so that one can replace another.
ALTER TABLE api_keys ADD COLUMN label TEXT;
ALTER TABLE api_keys ADD COLUMN expires_at INTEGER;
ALTER TABLE api_keys ADD COLUMN revoked_at INTEGER;
ALTER TABLE api_keys ADD COLUMN last_used_at INTEGER; -- to the hour
CREATE INDEX api_keys_of_client ON api_keys (client_id);
