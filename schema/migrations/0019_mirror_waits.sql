-- Until when an upstream asked not to be asked, in milliseconds since the Unix epoch.
ALTER TABLE mirror ADD COLUMN waits_until INTEGER;
