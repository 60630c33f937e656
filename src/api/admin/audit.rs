use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use mcp_connect_catalog::date_micros;
use serde::Deserialize;

use super::list_answer;
use crate::{
    api::{
        App,
        extract::{Moderator, UrlQuery, page_size},
        no_store,
        problem::Problem,
    },
    store::{AuditFilter, StoreError},
};

const MAX_FILTER_CHARS: usize = 600;
/// What one call of the export gives at most.
const MAX_EXPORT_ENTRIES: u32 = 1000;
const MAX_EXPORT_BYTES: usize = 512 * 1024;

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    actor: Option<String>,
    action: Option<String>,
    subject: Option<String>,
    since: Option<String>,
    until: Option<String>,
    order: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct ExportQuery {
    after: Option<String>,
}

pub(crate) async fn list(
    app: App,
    _: Moderator,
    UrlQuery(query): UrlQuery<ListQuery>,
) -> Result<impl IntoResponse, Problem> {
    let limit = page_size(query.limit.as_deref())?;
    let after = query
        .cursor
        .as_deref()
        .map(|cursor| parse_seq("cursor", cursor))
        .transpose()?;
    let filter = AuditFilter {
        actor: filtered("actor", query.actor.as_deref())?,
        action: filtered("action", query.action.as_deref())?,
        subject: filtered("subject", query.subject.as_deref())?,
        since: time("since", query.since.as_deref())?,
        until: time("until", query.until.as_deref())?,
        oldest_first: match query.order.as_deref() {
            None | Some("newest") => false,
            Some("oldest") => true,
            Some(_) => {
                return Err(Problem::request_invalid(
                    "order: must be \"newest\" or \"oldest\", whichever comes first",
                ));
            }
        },
    };
    let page = app.store.list_audit(&filter, after, limit).await?;
    Ok(list_answer("entries", page, |entry| entry.seq.to_string()))
}

/// The trail as JSON lines, oldest first; the next call goes on after the last entry of this one.
pub(crate) async fn export(
    app: App,
    _: Moderator,
    UrlQuery(query): UrlQuery<ExportQuery>,
) -> Result<impl IntoResponse, Problem> {
    let after = query
        .after
        .as_deref()
        .map(|after| parse_seq("after", after))
        .transpose()?;
    let entries = app
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
    Ok((
        [no_store()],
        [(CONTENT_TYPE, "application/x-ndjson")],
        lines,
    ))
}

fn parse_seq(member: &str, text: &str) -> Result<u64, Problem> {
    text.parse()
        .ok()
        .filter(|seq: &u64| *seq < 1 << 53)
        .ok_or_else(|| Problem::request_invalid(format!("{member}: is not the number of an entry")))
}

fn filtered<'a>(member: &str, text: Option<&'a str>) -> Result<Option<&'a str>, Problem> {
    match text {
        Some(text) if text.is_empty() || text.len() > MAX_FILTER_CHARS => {
            Err(Problem::request_invalid(format!(
                "{member}: must have 1 to {MAX_FILTER_CHARS} characters"
            )))
        }
        other => Ok(other),
    }
}

fn time(member: &str, text: Option<&str>) -> Result<Option<u64>, Problem> {
    text.map(|text| {
        date_micros(text)
            .map(|micros| micros / 1000)
            .ok_or_else(|| Problem::request_invalid(format!("{member}: is not an RFC 3339 date")))
    })
    .transpose()
}
