//! What publishers add and, where they may, replace.

use http::StatusCode;
use mcp_connect_catalog::{
    Action, Depth, Entry, MAX_VERSIONS, PUBLISHER_META, Severity, VersionStatus, excess_remotes,
    faults, issues, other_spelling, oversized_publisher_meta,
};
use serde_json::{Value, json, value::RawValue};

use super::{
    Refusal,
    body::{Checked, author, body, check_room, writer},
    refusal::fault,
    servers::server_response,
};
use crate::{
    api::{call::Call, copies, respond},
    authority::WINDOW_SECONDS,
    platform::{http::Response, now_millis},
    store::{Obstacle, Written},
};

const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;

/// `POST /publish`.
pub(in crate::api) async fn publish(call: &Call) -> Result<Response, Refusal> {
    const FAILED: &str = "Failed to publish server";
    let body = body(call, Checked::ForWriters, faults)?;
    let publisher = writer(call).await?;
    let name = text(&body, "name");
    if !publisher.may(Action::Publish, name) {
        let mine: Vec<&str> = publisher
            .permissions
            .iter()
            .filter(|permission| permission.action == Action::Publish)
            .map(|permission| permission.resource.as_str())
            .collect();
        return Err(Refusal::forbidden(format!(
            "You do not have permission to publish this server. You have permission to publish: \
             {}. Attempting to publish: {name}",
            mine.join(", ")
        )));
    }
    if let Some(message) = other_spelling(&body) {
        let found = fault("body.name", message, None);
        return Err(Refusal::invalid(vec![found]));
    }
    let entry = entry(call, &body, FAILED)?;
    if let Some(bytes) = oversized_publisher_meta(&body) {
        return Err(Refusal::bad_request(FAILED).because(format!(
            "_meta.{PUBLISHER_META} exceeds 4KB limit ({bytes} bytes)"
        )));
    }
    check_room(call)?;
    let (actor, owner) = (publisher.actor(), publisher.owner(name));
    let by = author(call, &actor, &owner)?;
    let publication = call.app.store.publish(&entry, by);
    match copies::renewed(&call.app, name, publication).await? {
        Written::Done(version) => Ok(server_response(&call.app, &version).await),
        Written::Unchanged => Err(refused(FAILED, Obstacle::Duplicate)),
        Written::Refused(obstacle) => Err(refused(FAILED, obstacle)),
    }
}

/// `POST /validate`.
pub(in crate::api) async fn validate(call: &Call) -> Result<Response, Refusal> {
    let body = body(call, Checked::ForAnyone, faults)?;
    let issues = issues(&body, Depth::Full, call.app.settings.endpoint_rules());
    let valid = issues.iter().all(|issue| issue.severity != Severity::Error);
    let answer = json!({ "valid": valid, "issues": issues });
    Ok(respond(StatusCode::OK, &answer)?)
}

/// `PUT /servers/{name}/versions/{version}`.
pub(in crate::api) async fn edit(call: &Call) -> Result<Response, Refusal> {
    const FAILED: &str = "Failed to edit server";
    let body = body(call, Checked::ForWriters, faults)?;
    let publisher = writer(call).await?;
    let (name, version) = (call.member("name"), call.member("version"));
    let store = &call.app.store;
    let known = store
        .registry_version(name, version, true)
        .await?
        .filter(|known| known.version == version && known.official.status != VersionStatus::Deleted)
        .ok_or_else(not_found)?;
    if !publisher.may(Action::Edit, name) {
        return Err(Refusal::forbidden(
            "You do not have edit permissions for this server",
        ));
    }
    if text(&body, "name") != name {
        return Err(Refusal::bad_request("Cannot rename server"));
    }
    if text(&body, "version") != version {
        return Err(Refusal::bad_request(
            "Version in request body must match URL path parameter",
        ));
    }
    let entry = entry(call, &body, FAILED)?;
    let endpoint = known.endpoint.as_deref();
    check_room(call)?;
    let (actor, owner) = (publisher.actor(), publisher.owner(name));
    let edition = store.edit(&entry, endpoint, author(call, &actor, &owner)?);
    match copies::renewed(&call.app, name, edition).await? {
        Written::Done(version) => Ok(server_response(&call.app, &version).await),
        Written::Unchanged => Ok(server_response(&call.app, &known).await),
        Written::Refused(Obstacle::NotFound) => Err(not_found()),
        Written::Refused(obstacle) => Err(refused(FAILED, obstacle)),
    }
}

fn not_found() -> Refusal {
    Refusal::not_found("Server not found")
}

/// What stood against a change that was sound in itself.
pub(super) fn refused(failed: &'static str, obstacle: Obstacle) -> Refusal {
    Refusal::bad_request(failed).because(match obstacle {
        Obstacle::FeedFull => return Refusal::too_many(
            failed,
            WINDOW_SECONDS,
            "so many servers of this publisher were deleted or moved within some minutes that the revocation feed \
             has no room for another; try again later. PATCH /v0.1/servers/{name}/status deletes all versions of a \
             server at once",
        ),
        Obstacle::QuotaSpent => return Refusal::too_many(
            failed,
            SECONDS_OF_A_DAY - now_millis() / 1000 % SECONDS_OF_A_DAY,
            "the quota of this publisher for today (UTC) is spent; ask the operator of this registry for more, or \
             go on tomorrow",
        ),
        Obstacle::Duplicate => "invalid version: cannot publish duplicate version".to_owned(),
        Obstacle::Meanwhile => "it was changed at the same time; try again".to_owned(),
        Obstacle::Mirrored(upstream) => {
            format!("this name is mirrored from {upstream}; change it there")
        }
        Obstacle::NotFound => "there is no such version".to_owned(),
        Obstacle::RemoteTaken { url, written, by, version } => {
            let template = url.strip_prefix("template ");
            let (url, spelling) = match (template, written) {
                (Some(_), Some(written)) => (written, String::new()),
                (None, Some(written)) if written != url => {
                    (url, format!(" ({written} is another spelling of it)"))
                }
                (template, _) => (template.unwrap_or(&url).to_owned(), String::new()),
            };
            format!(
                "remote URL {url} is already used by server {by}, in its version {version}{spelling}. If the URL's \
                 domain is yours, publish in the namespace of the domain, which comes before others; if {by} \
                 is yours, deprecate or delete that version, or publish a later one without the URL; else \
                 ask the operator of this registry"
            )
        }
        Obstacle::TooMany => format!(
            "maximum number of versions for this server reached ({MAX_VERSIONS}): use another name, \
             or versions that are there"
        ),
    })
}

/// What a body says, once its form and its meaning are sound.
fn entry(call: &Call, body: &Value, failed: &'static str) -> Result<Entry, Refusal> {
    let invalid = || {
        let detail = format!("{failed}, invalid schema: call /validate for details");
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    };
    let rules = call.app.settings.endpoint_rules();
    let refusal = issues(body, Depth::Publish, rules)
        .into_iter()
        .filter(|issue| issue.severity == Severity::Error)
        .fold(invalid(), |refusal, issue| {
            refusal.with(fault(format!("body.{}", issue.path), issue.message, None))
        });
    if refusal.has_faults() {
        return Err(refusal);
    }
    if let Some(problem) = excess_remotes(body) {
        return Err(Refusal::bad_request(failed).because(problem));
    }
    // As it came: whoever reads it finds what its publisher wrote.
    let text = String::from_utf8(call.body.clone()).map_err(|error| error.to_string());
    let json = text.and_then(|text| RawValue::from_string(text).map_err(|error| error.to_string()));
    json.and_then(|json| {
        Entry::published(json, call.app.settings.endpoint_rules())
            .map_err(|error| error.to_string())
    })
    .map_err(|problem| invalid().because(problem))
}

fn text<'a>(body: &'a Value, member: &str) -> &'a str {
    body.get(member).and_then(Value::as_str).unwrap_or_default()
}
