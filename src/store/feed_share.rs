//! Bounds what publishers, imports and the mirror take of the revocation feed. Each server that they cause
//! a revocation of has one entry in it, whatever the number of its versions; each owner has entries for a few
//! servers, and all of them together have a part of the feed. So nothing that they do fills it.

use super::revocations::NOW;
use crate::authority::{
    BULK_FEED_BYTES, IMPORTS_FEED_BYTES, OWNER_FEED_SERVERS, PUBLISHERS_FEED_BYTES, WINDOW_SECONDS,
};

/// The `owner` of what was imported or mirrored.
pub(super) const IMPORT: &str = "import";

/// The `owner` of what administrators changed in bulk.
pub(super) const BULK: &str = "bulk";

/// A version of more bytes, or with a character that JSON escapes, is told of as its server.
const LONGEST_VERSION: usize = 64;

/// The most bytes that an entry has in the feed beside its subject.
const ENTRY_BYTES: usize = 40;

/// The server of a row `r`.
const NAME: &str = "substr(r.subject, 1, instr(r.subject || '@', '@') - 1)";

/// What the feed tells of a version: its kind and subject.
pub(super) fn told(name: &str, version: &str) -> (&'static str, String) {
    if version.len() <= LONGEST_VERSION && !version.contains(['"', '\\']) {
        ("version", format!("{name}@{version}"))
    } else {
        ("server", name.to_owned())
    }
}

/// The rows `r` that are not an administrator's and still in the feed.
fn shared() -> String {
    format!(
        "revocations r WHERE r.owner IS NOT NULL AND r.revoked_at > {NOW} - {}",
        WINDOW_SECONDS * 1000
    )
}

fn bytes(subject: &str) -> String {
    format!("(length(CAST({subject} AS BLOB)) + {ENTRY_BYTES})")
}

/// Whether the feed has no entry of the server ?1 that could tell of another revocation, and no room for
/// one that the owner in the parameter `owner` causes.
pub(super) fn is_full(owner: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM (
           SELECT count(*) FILTER (WHERE r.owner = {owner}) AS servers, total({}) AS bytes,
             coalesce(max({NAME} = ?1), 0) AS is_told
           FROM {} AND r.owner NOT IN ('{IMPORT}', '{BULK}'))
         WHERE NOT is_told
           AND (servers >= {OWNER_FEED_SERVERS} OR bytes + length(?1) + {} > {PUBLISHERS_FEED_BYTES}))",
        bytes("r.subject"),
        shared(),
        LONGEST_VERSION + 1 + ENTRY_BYTES
    )
}

/// Whether the share of bulk changes has room for the subject ?2.
pub(super) fn bulk_has_room() -> String {
    format!(
        "{} <= {BULK_FEED_BYTES} - (SELECT total({}) FROM {} AND r.owner = '{BULK}')",
        bytes("?2"),
        bytes("r.subject"),
        shared()
    )
}

/// Revokes what `versions` selects: `name`, `version` (NULL for a whole server) and `reason`, in the name of
/// the actor in ?2. What does not fit into the share of imports is not told: its descriptors expire by
/// themselves, and no new ones are issued.
pub(super) fn revoke_imported(versions: &str) -> String {
    format!(
        "INSERT INTO revocations (kind, subject, revoked_at, actor, reason, owner)
         SELECT iif(is_whole, 'server', 'version'), subject, {NOW}, ?2, reason, '{IMPORT}' FROM (
           SELECT *, sum({}) OVER (ORDER BY subject) AS bytes FROM (
             SELECT is_whole, iif(is_whole, name, name || '@' || version) AS subject, reason FROM (
               SELECT name, version, reason,
                 count(*) > 1 OR version IS NULL OR length(CAST(version AS BLOB)) > {LONGEST_VERSION}
                   OR instr(version, '\"') > 0 OR instr(version, '\\') > 0 AS is_whole
               FROM ({versions}) GROUP BY name)))
         WHERE bytes <= {IMPORTS_FEED_BYTES} - (SELECT total({}) FROM {} AND r.owner = '{IMPORT}')
         ON CONFLICT (kind, subject, tenant_id) DO UPDATE SET revoked_at = excluded.revoked_at,
           actor = excluded.actor, reason = excluded.reason, owner = excluded.owner",
        bytes("subject"),
        bytes("r.subject"),
        shared()
    )
}

/// To stand after such revocations of the servers in ?1, a JSON list of their names: of several entries of
/// one server, one remains, for the whole server.
pub(super) fn merge() -> [String; 2] {
    let merged = format!(
        "INSERT INTO revocations (kind, subject, revoked_at, actor, reason, owner)
         SELECT 'server', name, max(revoked_at), actor, reason, owner
         FROM (SELECT {NAME} AS name, r.* FROM {}
           AND {NAME} IN (SELECT value FROM json_each(?1)) AND r.kind IN ('server', 'version'))
         GROUP BY name HAVING count(*) > 1
         ON CONFLICT (kind, subject, tenant_id) DO UPDATE SET revoked_at = excluded.revoked_at,
           actor = excluded.actor, reason = excluded.reason, owner = excluded.owner",
        shared()
    );
    let rest = format!(
        "DELETE FROM revocations WHERE kind = 'version' AND subject IN (
           SELECT r.subject FROM {} AND r.kind = 'version' AND {NAME} IN (SELECT value FROM json_each(?1))
             AND EXISTS (SELECT 1 FROM revocations s WHERE s.kind = 'server' AND s.subject = {NAME}
               AND s.tenant_id = '' AND s.revoked_at >= r.revoked_at))",
        shared()
    );
    [merged, rest]
}
