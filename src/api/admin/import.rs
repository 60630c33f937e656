use http::StatusCode;
use mcp_connect_catalog::Entry;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::check_reason_given;
use crate::{
    api::{
        call::{Call, Operator},
        copies,
        problem::Problem,
        respond,
    },
    platform::http::Response,
    store::{ImportResult, Source},
};

const MAX_ENTRIES: usize = 100;

#[derive(Deserialize)]
pub(crate) struct Body {
    servers: Vec<Box<RawValue>>,
    reason: Option<String>,
}

/// Takes what can be represented and names what can't, entry by entry.
pub(crate) async fn import(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let body: Body = call.json()?;
    if body.servers.is_empty() || body.servers.len() > MAX_ENTRIES {
        return Err(Problem::request_invalid(
            "servers: send 1 to 100 entries a call",
        ));
    }
    let reason = check_reason_given(body.reason.as_deref())?;
    let rules = call.app.settings.endpoint_rules();
    let parsed: Vec<Result<Entry, ImportResult>> = body
        .servers
        .iter()
        .map(|json| {
            Entry::parse(json, rules)
                .map_err(|error| ImportResult::unreadable(json, error.to_string()))
        })
        .collect();
    let entries: Vec<&Entry> = parsed.iter().flatten().collect();
    let store = &call.app.store;
    let imported = store
        .import(&entries, operator.actor(), Source::Here(reason))
        .await?;
    let changed = ImportResult::changed_names(&imported);
    copies::renew_several(&call.app, changed).await;
    let mut imported = imported.into_iter();
    let results: Vec<ImportResult> = parsed
        .into_iter()
        .filter_map(|parsed| match parsed {
            Ok(_) => imported.next(),
            Err(refusal) => Some(refusal),
        })
        .collect();
    respond(StatusCode::OK, &json!({ "results": results }))
}
