//! What publishers add and, where they may, replace.

use http::StatusCode;
use mcp_connect_catalog::{
    Action, Claim, Depth, Entry, MAX_VERSIONS, PUBLISHER_META, Permission, ServerName, Severity,
    VersionStatus, excess_remotes, faults, issues, other_spelling, oversized_publisher_meta,
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
        return Err(Refusal::forbidden(not_permitted(
            &publisher.permissions,
            name,
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
        Written::Unchanged => Err(refused(FAILED, name, Obstacle::Duplicate)),
        Written::Refused(obstacle) => Err(refused(FAILED, name, obstacle)),
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
        Written::Refused(obstacle) => Err(refused(FAILED, name, obstacle)),
    }
}

fn not_found() -> Refusal {
    Refusal::not_found("Server not found")
}

/// Why somebody with these permissions may not publish under this name.
fn not_permitted(permissions: &[Permission], name: &str) -> String {
    let mine: Vec<&str> = permissions
        .iter()
        .filter(|permission| permission.action == Action::Publish)
        .map(|permission| permission.resource.as_str())
        .collect();
    let mine = if mine.is_empty() {
        "This token has no permission to publish in any namespace: log in again, as the owner of the name's namespace, \
         or ask the operator of this registry"
            .to_owned()
    } else {
        format!("You have permission to publish: {}", mine.join(", "))
    };
    format!(
        "You do not have permission to publish this server. {mine}. Attempting to publish: {name}"
    )
}

/// Who has a URL, and what `name` can do to have it.
fn taken(name: &str, url: &str, written: Option<&str>, by: &str, version: &str) -> String {
    let template = url.strip_prefix("template ");
    let (shown, spelling) = match (template, written) {
        (Some(_), Some(written)) => (written, String::new()),
        (None, Some(written)) if written != url => {
            (url, format!(" ({written} is another spelling of it)"))
        }
        (template, _) => (template.unwrap_or(url), String::new()),
    };
    // The namespace of a server, if the URL is from under that namespace's own domain.
    let of_domain = |server: &str| {
        let server: ServerName = server.parse().ok()?;
        let claim = Claim::of(&server, shown)?;
        claim.is_own.then(|| server.namespace().to_owned())
    };
    let way_out = match (of_domain(name), of_domain(by)) {
        (Some(mine), Some(theirs)) if theirs.len() > mine.len() => format!(
            "The URL lies under the domain of {theirs}, a namespace nearer to it than {mine}, and whoever holds it there \
             has proven to own that domain: publish in {theirs}, if it is yours"
        ),
        (_, Some(theirs)) => format!(
            "The URL lies under the domain of the namespace {theirs}, so a claim in another namespace does not come before it"
        ),
        (Some(mine), None) => format!(
            "The URL lies under the domain of your namespace, {mine}, but {by} was verified at it"
        ),
        (None, None) => "If the URL's domain is yours, publish in the namespace of the domain, which comes before others".to_owned(),
    };
    format!(
        "remote URL {shown} is already used by server {by}, in its version {version}{spelling}. {way_out}; if {by} \
         is yours, deprecate or delete that version, or publish a later one without the URL; else \
         ask the operator of this registry"
    )
}

/// What stood against a change of `name` that was sound in itself.
pub(super) fn refused(failed: &'static str, name: &str, obstacle: Obstacle) -> Refusal {
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
            taken(name, &url, written.as_deref(), &by, &version)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_publish_nowhere_is_told_so() {
        let may = |action, resource: &str| Permission {
            action,
            resource: resource.to_owned(),
        };
        let told = |permissions: &[Permission]| not_permitted(permissions, "com.example/a");
        for permissions in [vec![], vec![may(Action::Edit, "com.example/*")]] {
            let told = told(&permissions);
            assert!(
                told.contains("no permission to publish in any namespace"),
                "{told}"
            );
            assert!(!told.contains(": ."), "{told}");
        }
        let some = [
            may(Action::Publish, "org.a/*"),
            may(Action::Publish, "org.b/*"),
        ];
        assert!(
            told(&some).contains("You have permission to publish: org.a/*, org.b/*. Attempting")
        );
    }

    #[test]
    fn the_namespace_that_is_nearer_to_a_url_is_named() {
        const URL: &str = "https://mcp.api.example.com/mcp";
        let told = |name, by| taken(name, URL, Some(URL), by, "1.0.0");
        for (name, by, expected) in [
            (
                "com.example/aa",
                "com.example.api/bb",
                "under the domain of com.example.api, a namespace nearer to it than com.example,",
            ),
            (
                "com.example.api/aa",
                "com.example/bb",
                "under the domain of the namespace com.example, so a claim in another",
            ),
            (
                "org.other/aa",
                "com.example/bb",
                "under the domain of the namespace com.example,",
            ),
            (
                "com.example/aa",
                "org.other/bb",
                "under the domain of your namespace, com.example, but org.other/bb was verified at it",
            ),
            (
                "org.other/aa",
                "org.another/bb",
                "publish in the namespace of the domain",
            ),
        ] {
            let told = told(name, by);
            assert!(told.contains(expected), "{told}");
            assert!(
                told.contains(&format!(
                    "already used by server {by}, in its version 1.0.0. "
                )),
                "{told}"
            );
        }
        let template = taken(
            "com.example/aa",
            "template https://mcp.api.example.com/variable",
            Some("https://mcp.api.example.com/{id}"),
            "com.example.api/bb",
            "1.0.0",
        );
        assert!(
            template.starts_with("remote URL https://mcp.api.example.com/{id} is"),
            "{template}"
        );
        assert!(template.contains("nearer"), "{template}");
    }
}
