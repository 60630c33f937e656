// Catalogues of 100,000 versions that are the worst for lists, written by SQL: by what is stored alone.

export const VERSIONS = 100_000;
const PER_SERVER = 4;

const PADDING = 40;
const insertVersions = (versions) => `
  INSERT INTO versions (server_id, version, sort_key, stable, status, description, endpoint, server_json, content_hash, created_at, changed_at)
  SELECT s.id, i || '.0.0', printf('%08d', i), 1, 'active', 'Sails with ' || iif(s.id % 9, 'wind', 'steam'),
    iif(s.id % 2, NULL, 'https://mcp.example.com/' || s.id),
    json_object('name', s.name, 'version', i || '.0.0', 'description', printf('%.*c', ${PADDING}, 'x')), '', 0, 1
  FROM servers s CROSS JOIN (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${versions}) SELECT i FROM n)
  WHERE s.name LIKE 'org.bulk%'`;
const insertServers = (count, name) => `
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
  INSERT INTO servers (name, created_at) SELECT ${name}, 0 FROM n`;
const CHOOSE = `
  UPDATE servers SET latest_version = v.id, default_version = v.id
  FROM (SELECT server_id, max(id) AS id FROM versions GROUP BY server_id) v WHERE v.server_id = servers.id`;

const MANY = [
  insertServers(VERSIONS / PER_SERVER, "printf('org.bulk%d/fleet-%d', i % 70, i)"),
  insertVersions(PER_SERVER),
  CHOOSE,
];

/// Each is made of nothing, by statements, and then changed into the other ones of its list.
export const CATALOGUES = [
  [
    ["of many servers", MANY],
    // A third deleted by publishers; of the others servers or versions held back, some for a time.
    ["of many servers, all of them hidden", [
      "UPDATE versions SET status = 'deleted' WHERE server_id % 3 = 0",
      "UPDATE servers SET moderation = iif(id % 2, 'revoked', 'quarantined'), moderation_expires_at = iif(id % 5, NULL, 1e15) WHERE id % 3 = 1",
      "UPDATE versions SET moderation = 'quarantined', moderation_expires_at = iif(id % 5, NULL, 1e15) WHERE server_id % 3 = 2",
      CHOOSE,
    ]],
  ],
  [
    ["of one server", [insertServers(1, "'org.bulk1/fleet-1'"), insertVersions(VERSIONS), CHOOSE]],
    ["of one server that was deleted", ["UPDATE versions SET status = 'deleted'", CHOOSE]],
  ],
];

export async function fill(database, statements) {
  await database.batch(statements.map((sql) => database.prepare(sql)));
}
