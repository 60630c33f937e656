-- What registries say to each other of a version, beside its server.json. Dates are microseconds since
-- the Unix epoch, as those of published_at.

-- As they are shown: of a mirrored version, its upstream's.
ALTER TABLE versions ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE versions ADD COLUMN status_changed_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE versions ADD COLUMN status_message TEXT;
-- The other members of _meta beside server.json, as a JSON object, if there are any.
ALTER TABLE versions ADD COLUMN meta TEXT;
-- When something of it changed here, whoever changed it: what updated_since asks for.
ALTER TABLE versions ADD COLUMN changed_at INTEGER NOT NULL DEFAULT 0;
-- How often its server.json was replaced by whoever may edit.
ALTER TABLE versions ADD COLUMN edition INTEGER NOT NULL DEFAULT 1;

UPDATE versions SET
  updated_at = coalesce(published_at, created_at * 1000),
  status_changed_at = coalesce(published_at, created_at * 1000),
  changed_at = created_at * 1000;

CREATE INDEX versions_by_change ON versions (changed_at, id);

-- The version that registries call latest: the highest that is not deleted, prerelease or not; where
-- all are, the highest. Of equal ones the first that was published.
ALTER TABLE servers ADD COLUMN latest_version INTEGER REFERENCES versions (id);
-- The registry that the name is mirrored from; NULL: it is published here.
ALTER TABLE servers ADD COLUMN upstream TEXT;

UPDATE servers SET latest_version = (
  SELECT id FROM versions v WHERE v.server_id = servers.id
  ORDER BY v.status = 'deleted', v.sort_key DESC, coalesce(v.published_at, v.created_at * 1000), v.version
  LIMIT 1);

-- What a version said before it was edited.
CREATE TABLE editions (
  version_id   INTEGER NOT NULL REFERENCES versions (id),
  edition      INTEGER NOT NULL,
  content_hash TEXT    NOT NULL,
  server_json  TEXT    NOT NULL,
  PRIMARY KEY (version_id, edition)
) STRICT, WITHOUT ROWID;

-- A version's metadata never changes, unless it is edited: then the earlier edition is kept.
DROP TRIGGER versions_are_immutable;
CREATE TRIGGER versions_are_immutable
BEFORE UPDATE OF server_id, version, sort_key, stable, title, description, endpoint, origin,
                 content_hash, published_at, created_at, server_json, edition ON versions
WHEN new.edition <> old.edition + 1
  OR (new.id, new.server_id, new.version, new.sort_key, new.stable, new.published_at, new.created_at)
     IS NOT (old.id, old.server_id, old.version, old.sort_key, old.stable, old.published_at, old.created_at)
BEGIN
  SELECT RAISE(ABORT, 'a version never changes');
END;

CREATE TRIGGER versions_keep_editions AFTER UPDATE OF edition ON versions
BEGIN
  INSERT INTO editions (version_id, edition, content_hash, server_json)
  VALUES (old.id, old.edition, old.content_hash, old.server_json);
END;

-- Every URL that a version says it is at, as it is written there: no two names may share one.
CREATE TABLE remotes (
  version_id INTEGER NOT NULL REFERENCES versions (id),
  url        TEXT    NOT NULL,
  PRIMARY KEY (version_id, url)
) STRICT, WITHOUT ROWID;

CREATE INDEX remotes_by_url ON remotes (url);

INSERT INTO remotes (version_id, url)
SELECT DISTINCT v.id, r.value ->> 'url'
FROM versions v, json_each(v.server_json, '$.remotes') r WHERE r.type = 'object' AND r.value ->> 'url' IS NOT NULL;

CREATE TRIGGER remotes_of_new_versions AFTER INSERT ON versions BEGIN
  INSERT INTO remotes (version_id, url)
  SELECT DISTINCT new.id, r.value ->> 'url'
  FROM json_each(new.server_json, '$.remotes') r WHERE r.type = 'object' AND r.value ->> 'url' IS NOT NULL;
END;

CREATE TRIGGER remotes_of_edited_versions AFTER UPDATE OF server_json ON versions BEGIN
  DELETE FROM remotes WHERE version_id = new.id;
  INSERT INTO remotes (version_id, url)
  SELECT DISTINCT new.id, r.value ->> 'url'
  FROM json_each(new.server_json, '$.remotes') r WHERE r.type = 'object' AND r.value ->> 'url' IS NOT NULL;
END;
