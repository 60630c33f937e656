-- What followers of this registry have to hear, in the order of the commits, and what this registry
-- has heard of its own upstream.

-- Each version, and each server (version_id 0), once: a change moves it to the end. Numbers are never
-- used again, so whoever asks for what follows the last one it saw misses nothing.
CREATE TABLE changes (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  server_id  INTEGER NOT NULL,
  version_id INTEGER NOT NULL DEFAULT 0,
  UNIQUE (server_id, version_id)
) STRICT;

INSERT INTO changes (server_id, version_id)
SELECT server_id, id FROM versions UNION ALL SELECT id, 0 FROM servers ORDER BY 1, 2;

CREATE TRIGGER changes_new_server AFTER INSERT ON servers BEGIN
  INSERT INTO changes (server_id) VALUES (new.id);
END;

CREATE TRIGGER changes_new_version AFTER INSERT ON versions BEGIN
  INSERT INTO changes (server_id, version_id) VALUES (new.server_id, new.id);
END;

-- DELETE and INSERT, since INSERT OR REPLACE does what the statement says that fires the trigger.
CREATE TRIGGER changes_server
AFTER UPDATE OF default_version, upstream, verified_origin, origin_level, namespace_proven,
                moderation, moderation_reason, moderation_expires_at ON servers
WHEN (old.default_version, old.upstream, old.verified_origin, old.origin_level, old.namespace_proven,
      old.moderation, old.moderation_reason, old.moderation_expires_at)
  IS NOT (new.default_version, new.upstream, new.verified_origin, new.origin_level, new.namespace_proven,
      new.moderation, new.moderation_reason, new.moderation_expires_at)
BEGIN
  DELETE FROM changes WHERE server_id = new.id AND version_id = 0;
  INSERT INTO changes (server_id) VALUES (new.id);
END;

-- isLatest is said of versions, too: of the one that was, and of the one that is.
CREATE TRIGGER changes_latest AFTER UPDATE OF latest_version ON servers
WHEN old.latest_version IS NOT new.latest_version
BEGIN
  DELETE FROM changes
  WHERE server_id = new.id AND version_id IN (0, old.latest_version, new.latest_version);
  INSERT INTO changes (server_id, version_id)
  SELECT server_id, id FROM versions WHERE id IN (old.latest_version, new.latest_version);
  INSERT INTO changes (server_id) VALUES (new.id);
END;

CREATE TRIGGER changes_version
AFTER UPDATE OF edition, status, status_message, status_changed_at, updated_at, meta,
                moderation, moderation_reason, moderation_expires_at ON versions
WHEN (old.edition, old.status, old.status_message, old.status_changed_at, old.updated_at, old.meta,
      old.moderation, old.moderation_reason, old.moderation_expires_at)
  IS NOT (new.edition, new.status, new.status_message, new.status_changed_at, new.updated_at, new.meta,
      new.moderation, new.moderation_reason, new.moderation_expires_at)
BEGIN
  DELETE FROM changes WHERE server_id = new.server_id AND version_id = new.id;
  INSERT INTO changes (server_id, version_id) VALUES (new.server_id, new.id);
END;

-- The upstream registry that is followed. One row; times are milliseconds since the Unix epoch.
CREATE TABLE mirror (
  id          INTEGER PRIMARY KEY CHECK (id = 1),
  upstream    TEXT    NOT NULL DEFAULT '',
  -- Moves with each page, so that of two who follow at once only one takes a page in.
  turn        INTEGER NOT NULL DEFAULT 0,
  -- Everything that changed there before was heard of; by the upstream's clock.
  heard_until INTEGER,
  ran_at      INTEGER,
  -- Why the last run stopped short, if it did.
  problem     TEXT
) STRICT;

INSERT INTO mirror (id) VALUES (1);

-- 'changes': what changed since heard_until. 'sweep': everything that there is.
CREATE TABLE mirror_crawls (
  crawl        TEXT    PRIMARY KEY CHECK (crawl IN ('changes', 'sweep')),
  began_at     INTEGER,                               -- by the upstream's clock; NULL: none is under way
  cursor       TEXT,
  pages        INTEGER NOT NULL DEFAULT 0,            -- of the one under way, or of the last one
  entries      INTEGER NOT NULL DEFAULT 0,
  completed_at INTEGER                                -- when the last complete one had begun
) STRICT, WITHOUT ROWID;

INSERT INTO mirror_crawls (crawl) VALUES ('changes'), ('sweep');

-- The versions that the sweep under way has met.
CREATE TABLE mirror_met (version_id INTEGER PRIMARY KEY) STRICT;

-- Entries that could not be taken in, until they can or are gone.
CREATE TABLE mirror_poison (
  subject TEXT    PRIMARY KEY,                        -- name@version, as far as it can be read
  reason  TEXT    NOT NULL,
  since   INTEGER NOT NULL,
  seen_at INTEGER NOT NULL
) STRICT;
