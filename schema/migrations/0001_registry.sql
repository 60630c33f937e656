-- Servers and their versions. Times are milliseconds since the Unix epoch, except published_at.

CREATE TABLE servers (
  id                INTEGER PRIMARY KEY,
  name              TEXT    NOT NULL UNIQUE,          -- namespace/name
  -- The version for callers who name none, with what is searched of it.
  default_version   INTEGER REFERENCES versions (id),
  title             TEXT,
  description       TEXT    NOT NULL DEFAULT '',
  verified          INTEGER NOT NULL DEFAULT 0 CHECK (verified IN (0, 1)),
  -- Whose endpoint was verified: a version that is reached elsewhere is not.
  verified_origin   TEXT,
  jwks_uri          TEXT,
  tls_pin_sha256    TEXT,
  moderation        TEXT    NOT NULL DEFAULT 'active' CHECK (moderation IN ('active', 'quarantined', 'revoked')),
  moderation_reason TEXT,
  created_at        INTEGER NOT NULL
) STRICT;

CREATE TABLE versions (
  id           INTEGER PRIMARY KEY,
  server_id    INTEGER NOT NULL REFERENCES servers (id),
  version      TEXT    NOT NULL,
  sort_key     TEXT    NOT NULL,                      -- byte order is version order
  stable       INTEGER NOT NULL CHECK (stable IN (0, 1)),
  status       TEXT    NOT NULL CHECK (status IN ('active', 'deprecated', 'deleted')),
  title        TEXT,
  description  TEXT    NOT NULL,
  endpoint     TEXT,                                  -- over streamable HTTP, if there is one
  origin       TEXT,                                  -- of the endpoint: scheme, host and port
  content_hash TEXT    NOT NULL,                      -- SHA-256 of the canonical server.json
  published_at INTEGER,                               -- microseconds since the Unix epoch
  created_at   INTEGER NOT NULL,
  server_json  TEXT    NOT NULL,                      -- last, since it may be long
  UNIQUE (server_id, version)
) STRICT;

CREATE INDEX versions_in_order ON versions (server_id, sort_key);

-- A version's metadata never changes: a descriptor that names it means one thing.
CREATE TRIGGER versions_are_immutable
BEFORE UPDATE OF server_id, version, sort_key, stable, title, description, endpoint, origin,
                 content_hash, published_at, created_at, server_json ON versions
BEGIN
  SELECT RAISE(ABORT, 'a version never changes');
END;

-- INSERT OR REPLACE deletes without firing the trigger for it.
CREATE TRIGGER versions_are_not_replaced BEFORE INSERT ON versions
WHEN EXISTS (SELECT 1 FROM versions WHERE id = new.id)
BEGIN
  SELECT RAISE(ABORT, 'a version never changes');
END;

CREATE TRIGGER versions_stay BEFORE DELETE ON versions
BEGIN
  SELECT RAISE(ABORT, 'a version never goes; its status may become deleted');
END;

CREATE VIRTUAL TABLE servers_fts USING fts5 (
  name, title, description,
  content = 'servers', content_rowid = 'id',
  tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);

CREATE TRIGGER servers_fts_insert AFTER INSERT ON servers BEGIN
  INSERT INTO servers_fts (rowid, name, title, description)
  VALUES (new.id, new.name, new.title, new.description);
END;

CREATE TRIGGER servers_fts_update AFTER UPDATE OF name, title, description ON servers
WHEN (old.name, old.title, old.description) IS NOT (new.name, new.title, new.description) BEGIN
  INSERT INTO servers_fts (servers_fts, rowid, name, title, description)
  VALUES ('delete', old.id, old.name, old.title, old.description);
  INSERT INTO servers_fts (rowid, name, title, description)
  VALUES (new.id, new.name, new.title, new.description);
END;

CREATE TRIGGER servers_fts_delete AFTER DELETE ON servers BEGIN
  INSERT INTO servers_fts (servers_fts, rowid, name, title, description)
  VALUES ('delete', old.id, old.name, old.title, old.description);
END;
