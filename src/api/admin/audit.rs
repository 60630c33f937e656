use http::StatusCode;
use mcp_connect_audit::{ACTIONS, AuditEntry};
use serde::Serialize;

use super::{Day, List, moment};
use crate::{
    api::{
        call::{Auditor, Call},
        document,
        problem::Problem,
        respond,
    },
    platform::http::Response,
    store::{AuditFilter, AuditPage, StoreError},
};

const MAX_FILTER_CHARS: usize = 600;
/// What one call of the export gives at most.
const MAX_EXPORT_ENTRIES: u32 = 1000;
const MAX_EXPORT_BYTES: usize = 512 * 1024;

/// The parameters of the list.
pub(crate) const FILTERS: [&str; 9] = [
    "actor", "action", "subject", "since", "until", "order", "imports", "cursor", "limit",
];

pub(crate) async fn list(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let limit = call.page_size()?;
    let after = seq(call, "cursor")?;
    let [actor, action, subject] = ["actor", "action", "subject"].map(|name| filtered(call, name));
    let (actor, action, subject) = (actor?, action?, subject?);
    if let Some(action) = &action {
        check_action(action)?;
    }
    let (since, until) = (
        time(call, "since", Day::Begins)?,
        time(call, "until", Day::Ends)?,
    );
    if since
        .zip(until)
        .is_some_and(|(since, until)| until <= since)
    {
        return Err(Problem::request_invalid(
            "until: is not after since, so nothing lies between them",
        ));
    }
    let filter = AuditFilter {
        actor: actor.as_deref(),
        action: action.as_deref(),
        subject: subject.as_deref(),
        since,
        until,
        oldest_first: match call.query("order")?.as_deref() {
            None | Some("newest") => false,
            Some("oldest") => true,
            Some(_) => {
                return Err(Problem::request_invalid(
                    "order: must be \"newest\" or \"oldest\", whichever comes first",
                ));
            }
        },
        without_imports: match call.query("imports")?.as_deref() {
            None | Some("include") => false,
            Some("exclude") => true,
            Some(_) => {
                return Err(Problem::request_invalid(
                    "imports: must be \"include\" or \"exclude\"",
                ));
            }
        },
    };
    let AuditPage { entries, left_out } = call.app.store.list_audit(&filter, after, limit).await?;
    let list = Entries {
        list: List {
            name: "entries",
            next_cursor: entries.next_after().map(|entry| entry.seq.to_string()),
            rows: entries.rows,
        },
        left_out,
    };
    respond(StatusCode::OK, &list)
}

#[derive(Serialize)]
struct Entries {
    #[serde(flatten)]
    list: List<AuditEntry>,
    /// How many imports would stand among these entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
}

/// The trail as JSON lines, oldest first; the next call goes on after the last entry of this one.
pub(crate) async fn export(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let after = seq(call, "after")?;
    let entries = call
        .app
        .store
        .export_audit(after.unwrap_or(0), MAX_EXPORT_ENTRIES)
        .await?;
    let mut lines = String::new();
    for entry in &entries {
        let line = serde_json::to_string(entry)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        if !lines.is_empty() && lines.len() + line.len() > MAX_EXPORT_BYTES {
            break;
        }
        lines.push_str(&line);
        lines.push('\n');
    }
    Ok(document("application/x-ndjson", lines.into_bytes()))
}

/// The number of an entry.
fn seq(call: &Call, parameter: &str) -> Result<Option<u64>, Problem> {
    let Some(text) = call.query(parameter)? else {
        return Ok(None);
    };
    match text.parse() {
        Ok(seq) if seq < 1 << 53 => Ok(Some(seq)),
        _ => Err(Problem::request_invalid(format!(
            "{parameter}: is not the number of an entry"
        ))),
    }
}

fn filtered(call: &Call, parameter: &str) -> Result<Option<String>, Problem> {
    let text = call.query(parameter)?;
    match &text {
        Some(text) if text.is_empty() || text.len() > MAX_FILTER_CHARS => {
            Err(Problem::request_invalid(format!(
                "{parameter}: must have 1 to {MAX_FILTER_CHARS} characters"
            )))
        }
        _ => Ok(text),
    }
}

fn time(call: &Call, parameter: &str, day: Day) -> Result<Option<u64>, Problem> {
    call.query(parameter)?
        .map(|text| moment(parameter, &text, day))
        .transpose()
}

/// An action that nobody could have taken is a typo, not an empty list.
fn check_action(action: &str) -> Result<(), Problem> {
    if ACTIONS.contains(&action) {
        return Ok(());
    }
    Err(Problem::request_invalid(format!(
        "action: there is none of this name; there are {}",
        ACTIONS.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// The names of actions in the sources of the store: `"kind.verb"`, in double or single quotes.
    fn written(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            for quoted in text.split(['"', '\'']) {
                let mut parts = quoted.split('.');
                let kind = parts.next().unwrap();
                let is_action = KINDS.contains(&kind)
                    && parts.clone().count() > 0
                    && parts.all(|part| {
                        !part.is_empty()
                            && part
                                .bytes()
                                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                    });
                if is_action {
                    found.insert(quoted.to_owned());
                }
            }
        }
    }

    /// Of what the store itself writes; `mirror` and `cache` come from the handlers.
    const KINDS: [&str; 9] = [
        "administrator",
        "client",
        "jti",
        "key",
        "policy",
        "provider",
        "server",
        "tenant",
        "version",
    ];

    #[test]
    fn every_action_that_is_written_can_be_asked_for() {
        let mut found = BTreeSet::new();
        written(
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store")),
            &mut found,
        );
        assert!(found.len() > 20, "{found:?}");
        for action in &found {
            assert!(ACTIONS.contains(&action.as_str()), "{action}");
        }
        let sorted: Vec<&str> = ACTIONS
            .iter()
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        assert_eq!(sorted, ACTIONS);
    }
}
