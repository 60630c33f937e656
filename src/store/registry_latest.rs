//! Which version of a server is its latest, for registries, and which its default, for connects; and
//! when something changed.

use super::{Statement, corrections::prepare_words};

/// The moment of a change, in microseconds since the Unix epoch, by D1's own clock; later than that of
/// any change before, so that whoever asks for what came after one misses none.
pub(super) const MOMENT: &str = "max(CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER) * 1000,
  coalesce((SELECT max(changed_at) FROM versions), 0) + 1)";

/// The highest that is not deleted, prerelease or not; where all are, the highest. Of equal ones the
/// first that was published.
macro_rules! latest {
    () => {
        "coalesce(
           (SELECT id FROM versions WHERE server_id = s.id AND status <> 'deleted'
            ORDER BY sort_key DESC, coalesce(published_at, created_at * 1000), version LIMIT 1),
           (SELECT id FROM versions WHERE server_id = s.id
            ORDER BY sort_key DESC, coalesce(published_at, created_at * 1000), version LIMIT 1))"
    };
}

/// The highest that is neither deleted nor a prerelease.
macro_rules! latest_stable {
    () => {
        "(SELECT id FROM versions WHERE server_id = s.id AND status <> 'deleted' AND stable = 1
          ORDER BY sort_key DESC, coalesce(published_at, created_at * 1000), version LIMIT 1)"
    };
}

pub(super) use {latest, latest_stable};

/// A version that is the latest no more, and the one that is it now, changed with what was changed in
/// the same transaction. `updated_at` moves only with what is published here: of what comes from elsewhere,
/// it is what is said there.
const FLIP: &str = concat!(
    "UPDATE versions SET changed_at = m.moment, updated_at = iif(?2, m.moment, updated_at)
     FROM (SELECT s.latest_version AS old, ",
    latest!(),
    " AS new FROM servers s WHERE s.name IN (SELECT value FROM json_each(?1))) f,
       (SELECT max(changed_at) AS moment FROM versions) m
     WHERE f.old IS NOT f.new AND versions.id IN (f.old, f.new) AND versions.changed_at < m.moment"
);

const CHOOSE: &str = concat!(
    "UPDATE servers SET latest_version = c.latest, default_version = v.id, title = v.title,
       description = v.description
     FROM (SELECT s.id, ",
    latest!(),
    " AS latest, ",
    latest_stable!(),
    " AS stable
       FROM servers s WHERE s.name IN (SELECT value FROM json_each(?1))) c
     JOIN versions v ON v.id = coalesce(c.stable, c.latest)
     WHERE servers.id = c.id
       AND (servers.latest_version, servers.default_version, servers.title, servers.description)
         IS NOT (c.latest, v.id, v.title, v.description)"
);

/// Whether a version that becomes the latest, or stops being it, counts as updated now.
#[derive(Clone, Copy)]
pub(super) enum Flipped {
    /// A publisher's change moved it.
    Updated,
    /// It came from elsewhere with a date of its own.
    AsDated,
}

/// To stand after what changes versions of these servers, a JSON list of their names.
pub(super) fn choose(names: &str, flipped: Flipped) -> [Statement<'static>; 3] {
    let is_updated = matches!(flipped, Flipped::Updated);
    [
        (FLIP, vec![names.into(), u32::from(is_updated).into()]),
        (CHOOSE, vec![names.into()]),
        prepare_words(),
    ]
}
