-- When a rotation put another key in the place of this one. The next rotation takes label and life from the keys that
-- were not replaced.
ALTER TABLE api_keys ADD COLUMN replaced_at INTEGER;
ALTER TABLE administrator_keys ADD COLUMN replaced_at INTEGER;
