use mcp_connect_catalog::query_date;

use super::list_answer;
use crate::{
    api::{
        call::{Call, Moderator},
        document,
        problem::Problem,
    },
    platform::http::Response,
    store::{AuditFilter, StoreError},
};

const MAX_FILTER_CHARS: usize = 600;
/// What one call of the export gives at most.
const MAX_EXPORT_ENTRIES: u32 = 1000;
const MAX_EXPORT_BYTES: usize = 512 * 1024;

pub(crate) async fn list(call: &Call, _: &Moderator) -> Result<Response, Problem> {
    let limit = call.page_size()?;
    let after = seq(call, "cursor")?;
    let [actor, action, subject] = ["actor", "action", "subject"].map(|name| filtered(call, name));
    let (actor, action, subject) = (actor?, action?, subject?);
    let filter = AuditFilter {
        actor: actor.as_deref(),
        action: action.as_deref(),
        subject: subject.as_deref(),
        since: time(call, "since")?,
        until: time(call, "until")?,
        oldest_first: match call.query("order")?.as_deref() {
            None | Some("newest") => false,
            Some("oldest") => true,
            Some(_) => {
                return Err(Problem::request_invalid(
                    "order: must be \"newest\" or \"oldest\", whichever comes first",
                ));
            }
        },
    };
    let page = call.app.store.list_audit(&filter, after, limit).await?;
    list_answer("entries", page, |entry| entry.seq.to_string())
}

/// The trail as JSON lines, oldest first; the next call goes on after the last entry of this one.
pub(crate) async fn export(call: &Call, _: &Moderator) -> Result<Response, Problem> {
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

fn time(call: &Call, parameter: &str) -> Result<Option<u64>, Problem> {
    let Some(text) = call.query(parameter)? else {
        return Ok(None);
    };
    let micros = query_date(&text)
        .map_err(|error| Problem::request_invalid(format!("{parameter}: {error}")))?;
    Ok(Some(micros / 1000))
}
