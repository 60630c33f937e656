-- The words by which searches are corrected, prepared for all: reading one row costs the same in every catalogue,
-- where counting the words costs as much as there are. src/store/corrections.rs prepares them anew.
CREATE TABLE search_vocabulary (
  id          INTEGER PRIMARY KEY CHECK (id = 1),
  -- In milliseconds since the Unix epoch, with the number of the last change that they have. 0: not yet.
  prepared_at INTEGER NOT NULL DEFAULT 0,
  head        INTEGER NOT NULL DEFAULT 0,
  -- A line each: the word, a blank, and in how many servers it is found.
  words       TEXT    NOT NULL DEFAULT ''
) STRICT;
INSERT INTO search_vocabulary (id) VALUES (1);
