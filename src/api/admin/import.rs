use http::StatusCode;
use mcp_connect_catalog::Entry;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{
    api::{
        call::{Call, Operator},
        problem::Problem,
        respond,
    },
    platform::http::Response,
    store::{ImportOutcome, ImportResult},
};

const MAX_ENTRIES: usize = 100;

#[derive(Deserialize)]
pub(crate) struct Body {
    servers: Vec<Box<RawValue>>,
}

/// Takes what can be represented and names what can't, entry by entry.
pub(crate) async fn import(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let body: Body = call.json()?;
    if body.servers.is_empty() || body.servers.len() > MAX_ENTRIES {
        return Err(Problem::request_invalid(
            "servers: send 1 to 100 entries a call",
        ));
    }
    let rules = call.app.settings.endpoint_rules();
    let parsed: Vec<Result<Entry, ImportResult>> = body
        .servers
        .iter()
        .map(|json| Entry::parse(json, rules).map_err(|error| refused(json, error.to_string())))
        .collect();
    let entries: Vec<&Entry> = parsed.iter().flatten().collect();
    let store = &call.app.store;
    let imported = store.import(&entries, operator.actor()).await?;
    let mut changed: Vec<String> = imported.iter().filter_map(changed_name).collect();
    changed.dedup();
    // After the answer, since they may be a hundred.
    let copies = store.clone();
    call.app
        .context
        .wait_until(async move { copies.renew_copies(&changed).await });
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

fn changed_name(result: &ImportResult) -> Option<String> {
    let is_change = matches!(
        result.outcome,
        ImportOutcome::Imported | ImportOutcome::Updated
    );
    result.name.clone().filter(|_| is_change)
}

/// Names the entry as well as it can be named.
fn refused(json: &RawValue, reason: String) -> ImportResult {
    let entry: Value = serde_json::from_slice(json.get().as_bytes()).unwrap_or_default();
    let member = |name| {
        entry
            .get("server")
            .and_then(|server| server.get(name))
            .and_then(Value::as_str)
            .map(|text| text.chars().take(300).collect())
    };
    ImportResult {
        name: member("name"),
        version: member("version"),
        outcome: ImportOutcome::Refused,
        reason: Some(reason),
    }
}
