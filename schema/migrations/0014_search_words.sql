-- Corrections come from the words of search_fts itself, search_terms, which an isolate holds.
DROP TABLE words_fts;
DROP TABLE search_words;

-- As before, without collecting words.
DROP TRIGGER servers_searched;
CREATE TRIGGER servers_searched
AFTER UPDATE OF default_version, namespace_proven, origin_level, verified_origin, moderation ON servers
BEGIN
  DELETE FROM search_fts WHERE rowid = old.place;
  UPDATE servers SET place = (
    SELECT new.id + (1 << 40) * CASE
      WHEN new.moderation <> 'active' OR v.moderation <> 'active' THEN 3
      WHEN v.status <> 'active' THEN 2
      ELSE 2 - (v.endpoint IS NOT NULL)
             - (new.namespace_proven OR (new.origin_level <> 'none' AND new.verified_origin IS v.origin)) END
    FROM versions v WHERE v.id = new.default_version AND v.status <> 'deleted')
  WHERE id = new.id;
  UPDATE search_size SET servers = servers
    + coalesce((SELECT place < 3 << 40 FROM servers WHERE id = new.id), 0) - coalesce(old.place < 3 << 40, 0);
  INSERT INTO search_fts (rowid, project, namespace, title, description, tags)
  SELECT s.place, substr(s.name, instr(s.name, '/') + 1), substr(s.name, 1, instr(s.name, '/') - 1),
         v.title, v.description,
         -- At most thirty, wherever in its part of _meta a publisher lists them.
         (SELECT group_concat(tag, ' . ') FROM (
            SELECT substr(t.atom, 1, 50) AS tag
            FROM json_tree(v.server_json, '$._meta."io.modelcontextprotocol.registry/publisher-provided"') t
            WHERE t.type = 'text'
              AND (t.path LIKE '%.tags' OR t.path LIKE '%.keywords' OR t.path LIKE '%.topics' OR t.path LIKE '%.categories')
            LIMIT 30))
  FROM servers s JOIN versions v ON v.id = s.default_version
  WHERE s.id = new.id AND s.place IS NOT NULL;
END;
