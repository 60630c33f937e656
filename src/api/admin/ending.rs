//! What ends soon unless somebody does something about it: as an administrator reads it, and for Prometheus.

use std::fmt::{self, Write};

use mcp_connect_descriptor::KeyStatus;
use serde_json::{Value, json};

use crate::{
    api::{App, problem::Problem},
    platform::{iso_date, now_millis},
    store::{ENDING_DAYS, Ending, Endings, Row},
};

/// Every kind, in the order in which it is shown.
const KINDS: [&str; 6] = [
    "administrator_key",
    "client_key",
    "quarantine",
    "proof",
    "signing_key_retired",
    "signing_key_next",
];

pub(super) async fn gather(app: &App) -> Result<Endings, Problem> {
    let mut endings = app.store.endings(now_millis()).await?;
    // A fault of the keys is told by /healthz.
    if let Ok(keys) = app.settings.signing_keys() {
        let revoked = app.store.revoked_keys(keys).await?;
        for entry in keys.iter() {
            let (kid, since) = (entry.key.id(), entry.since);
            if revoked.iter().all(|revoked| revoked.id != kid) {
                endings
                    .entries
                    .extend(overlapping(entry.status, kid, since));
            }
        }
    }
    Ok(endings)
}

/// A key that is published beside the one that signs. What ends is the wait for the next step of the rotation.
fn overlapping(status: KeyStatus, kid: &str, since: Option<u64>) -> Option<Ending> {
    let name = match status {
        KeyStatus::Retired => "signing_key_retired",
        KeyStatus::Next => "signing_key_next",
        _ => return None,
    };
    let ends_at = since.zip(status.settles_after());
    let ends_at = ends_at.map(|(since, wait)| since.saturating_add(wait).saturating_mul(1000));
    let mut shown = Row::default().with("subject", kid);
    if let Some(since) = since {
        shown = shown.with("since", since);
    }
    Some(Ending {
        kind: name,
        ends_at,
        is_replaced: false,
        shown,
    })
}

pub(super) fn answer(endings: Endings) -> Value {
    let entries: Vec<Row> = endings
        .entries
        .into_iter()
        .map(|ending| {
            let mut shown = ending.shown.with("kind", ending.kind);
            if let Some(at) = ending.ends_at {
                shown = shown.with("ends_at", iso_date(at));
            }
            if ending.is_replaced {
                shown = shown.with("replaced", true);
            }
            shown
        })
        .collect();
    json!({ "within_days": ENDING_DAYS, "complete": endings.is_complete, "entries": entries })
}

/// The earliest end of each kind. A key that was replaced was meant to end, so it is left out.
pub(super) fn prometheus(text: &mut String, endings: &Endings) -> fmt::Result {
    let metric = "connect_authority_earliest_end_timestamp_seconds";
    writeln!(
        text,
        "# HELP {metric} When the first of what ends within {ENDING_DAYS} days does, by its kind.\n# TYPE {metric} gauge"
    )?;
    for kind in KINDS {
        let earliest = endings
            .entries
            .iter()
            .filter(|ending| ending.kind == kind && !ending.is_replaced)
            .filter_map(|ending| ending.ends_at)
            .min();
        if let Some(at) = earliest {
            writeln!(text, "{metric}{{kind=\"{kind}\"}} {}", at / 1000)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(kind: &'static str, ends_at: Option<u64>, is_replaced: bool) -> Ending {
        Ending {
            kind,
            ends_at,
            is_replaced,
            shown: Row::default(),
        }
    }

    #[test]
    fn the_earliest_end_of_each_kind_is_told() {
        let endings = Endings {
            entries: vec![
                ending("client_key", Some(9_000), false),
                ending("client_key", Some(7_999), false),
                ending("client_key", Some(1_000), true),
                ending("signing_key_next", None, false),
                ending("proof", Some(5_000), false),
            ],
            is_complete: true,
        };
        let mut text = String::new();
        prometheus(&mut text, &endings).unwrap();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "connect_authority_earliest_end_timestamp_seconds{kind=\"client_key\"} 7",
                "connect_authority_earliest_end_timestamp_seconds{kind=\"proof\"} 5",
            ]
        );
    }

    #[test]
    fn keys_beside_the_one_that_signs_say_when_the_next_step_is_safe() {
        let ends_at =
            |status, since| overlapping(status, "kid", since).map(|ending| ending.ends_at);
        assert_eq!(ends_at(KeyStatus::Active, Some(1)), None);
        assert_eq!(ends_at(KeyStatus::Retired, Some(1)), Some(Some(156_000)));
        assert_eq!(ends_at(KeyStatus::Next, Some(1)), Some(Some(661_000)));
        assert_eq!(ends_at(KeyStatus::Retired, None), Some(None));
    }
}
