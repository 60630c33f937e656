-- When the pins of the policy in force were made: {"namespace/name": milliseconds since the Unix
-- epoch}. A version that was edited since is another than the one that was pinned. Those that are
-- there count as made when the policy in force was written.
ALTER TABLE authority ADD COLUMN pinned_at TEXT;
ALTER TABLE tenants ADD COLUMN pinned_at TEXT;

UPDATE authority SET pinned_at = (
  SELECT json_group_object(p.key, (SELECT at FROM policies WHERE scope = '' ORDER BY version DESC LIMIT 1))
  FROM json_each(authority.pins) p)
WHERE pins IS NOT NULL;

UPDATE tenants SET pinned_at = (
  SELECT json_group_object(p.key,
    (SELECT at FROM policies WHERE scope = tenants.tenant_id ORDER BY version DESC LIMIT 1))
  FROM json_each(tenants.pins) p)
WHERE pins IS NOT NULL;

-- When a version's server.json was last replaced, in milliseconds since the Unix epoch; NULL: never.
ALTER TABLE versions ADD COLUMN edited_at INTEGER;

UPDATE versions SET edited_at = coalesce(
  (SELECT max(at) FROM audit WHERE action = 'version.edit'
   AND subject = (SELECT name FROM servers WHERE id = versions.server_id) || '@' || versions.version),
  changed_at / 1000)
WHERE edition > 1;

DROP TRIGGER versions_keep_editions;
CREATE TRIGGER versions_keep_editions AFTER UPDATE OF edition ON versions
BEGIN
  INSERT INTO editions (version_id, edition, content_hash, server_json)
  VALUES (old.id, old.edition, old.content_hash, old.server_json);
  UPDATE versions SET edited_at = CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER) WHERE id = old.id;
END;

-- Which URLs a version claims, each in its normal form: [{"url", "is_own"}]. NULL: it was stored before,
-- and a cron has yet to write them down; until then the rows of `remotes` stay as they were, with the
-- endpoint, which is nearly in that form.
ALTER TABLE versions ADD COLUMN claims TEXT;
CREATE INDEX versions_without_claims ON versions (id) WHERE claims IS NULL;

-- Whether the URL's host is the domain of the server's namespace, or below it: such a claim wins.
ALTER TABLE remotes ADD COLUMN is_own INTEGER NOT NULL DEFAULT 0;

INSERT OR IGNORE INTO remotes (version_id, url)
SELECT id, endpoint FROM versions WHERE endpoint IS NOT NULL;

DROP TRIGGER remotes_of_new_versions;
DROP TRIGGER remotes_of_edited_versions;

CREATE TRIGGER remotes_of_new_versions AFTER INSERT ON versions BEGIN
  INSERT INTO remotes (version_id, url, is_own)
  SELECT new.id, c.value ->> 'url', c.value ->> 'is_own' FROM json_each(new.claims) c;
END;

CREATE TRIGGER remotes_of_changed_claims AFTER UPDATE OF claims ON versions BEGIN
  DELETE FROM remotes WHERE version_id = new.id;
  INSERT INTO remotes (version_id, url, is_own)
  SELECT new.id, c.value ->> 'url', c.value ->> 'is_own' FROM json_each(new.claims) c;
END;
