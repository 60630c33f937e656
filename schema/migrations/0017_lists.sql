-- Indexes that lists walk, so that versions that nobody is shown cost no page anything.

-- Versions that lists without deleted ones may show. A hold that ends by itself may have ended.
CREATE INDEX versions_listed ON versions (server_id, version)
WHERE status <> 'deleted' AND (moderation = 'active' OR moderation_expires_at IS NOT NULL);

-- Servers that have such versions, and those that discovery lists.
CREATE UNIQUE INDEX servers_listed ON servers (name)
WHERE place IS NOT NULL AND (moderation = 'active' OR moderation_expires_at IS NOT NULL);
CREATE UNIQUE INDEX servers_placed ON servers (name) WHERE place IS NOT NULL;

-- Versions of a server by date, the newest last.
CREATE INDEX versions_by_date ON versions (server_id, coalesce(published_at, created_at * 1000));
