-- Searching. The indexes below follow servers and versions by triggers alone; they hold no text.

-- Where a server stands among those that are found alike: tier * 2^40 + id, lowest first. NULL: it is
-- not found, since its default version was deleted, or there is none. An index in this order gives the
-- best first and may be left after as many as are wanted.
--   0  verified, and can be reached      1  one of both
--   2  neither, or left by its publisher     3  held back: registries don't show it
ALTER TABLE servers ADD COLUMN place INTEGER;

-- How many servers registries show.
CREATE TABLE search_size (servers INTEGER NOT NULL) STRICT;
INSERT INTO search_size (servers) VALUES (0);

CREATE INDEX servers_by_name_nocase ON servers (name COLLATE NOCASE);
-- By what follows the "/" of their names.
CREATE INDEX servers_by_project ON servers (lower(substr(name, instr(name, '/') + 1)), place);

DROP TRIGGER servers_fts_insert;
DROP TRIGGER servers_fts_update;
DROP TRIGGER servers_fts_delete;
DROP TABLE servers_fts;

-- Words of a server's default version, by its place.
CREATE VIRTUAL TABLE search_fts USING fts5 (
  project, namespace, title, description, tags,
  content = '', contentless_delete = 1,
  tokenize = 'unicode61 remove_diacritics 2', prefix = '1 2 3'
);

-- How many servers each word is found in.
CREATE VIRTUAL TABLE search_terms USING fts5vocab (search_fts, row);

-- Parts of names, by id. Two blanks follow a name, so that each two characters of it begin a trigram.
CREATE VIRTUAL TABLE names_fts USING fts5 (
  name, content = '', contentless_delete = 1, tokenize = 'trigram'
);

-- What is searched for in vain is compared with these. A blank stands before and behind each, so that
-- how it begins and ends counts, too. They stay when nothing has them any more.
CREATE TABLE search_words (
  id   INTEGER PRIMARY KEY,
  word TEXT NOT NULL UNIQUE
) STRICT;
CREATE VIRTUAL TABLE words_fts USING fts5 (
  word, content = 'search_words', content_rowid = 'id', tokenize = 'trigram', detail = none
);
CREATE TRIGGER search_words_insert AFTER INSERT ON search_words BEGIN
  INSERT INTO words_fts (rowid, word) VALUES (new.id, new.word);
END;

CREATE TRIGGER servers_named AFTER INSERT ON servers BEGIN
  INSERT INTO names_fts (rowid, name) VALUES (new.id, new.name || '  ');
END;

CREATE TRIGGER servers_unnamed AFTER DELETE ON servers BEGIN
  DELETE FROM names_fts WHERE rowid = old.id;
  DELETE FROM search_fts WHERE rowid = old.place;
END;

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
  INSERT OR IGNORE INTO search_words (word)
  SELECT ' ' || w.value || ' '
  FROM servers s JOIN versions v ON v.id = s.default_version,
    json_each('[' || replace(json_quote(
      replace(replace(replace(replace(replace(replace(replace(replace(replace(
        lower(substr(s.name, instr(s.name, '/') + 1) || ' ' || coalesce(v.title, '') || ' ' || v.description),
        '-', ' '), '_', ' '), '.', ' '), '/', ' '), ',', ' '), ':', ' '), ';', ' '), '(', ' '), ')', ' ')
    ), ' ', '","') || ']') w
  WHERE s.id = new.id AND s.place IS NOT NULL AND length(w.value) BETWEEN 4 AND 30;
END;

CREATE TRIGGER versions_searched AFTER UPDATE OF status, moderation, edition ON versions
BEGIN
  UPDATE servers SET default_version = default_version
  WHERE id = new.server_id AND default_version = new.id;
END;

INSERT INTO names_fts (rowid, name) SELECT id, name || '  ' FROM servers;
UPDATE servers SET default_version = default_version WHERE default_version IS NOT NULL;
