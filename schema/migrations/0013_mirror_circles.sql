-- An earlier cursor of a crawl: one that comes back to it leads in a circle.
ALTER TABLE mirror_crawls ADD COLUMN checkpoint TEXT;
