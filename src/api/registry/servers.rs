//! What registries read from each other, and clients from them.

use mcp_connect_catalog::{ListCursor, ListFilter, Position, date_micros};
use serde_json::{Value, json};

use super::{Refusal, entry::shown, flag, invalid_parameter, parameter};
use crate::{
    api::{App, call::Call, document},
    authority::{Gating, Health, Level},
    platform::{http::Response, now_millis},
    store::RegistryVersion,
};

const DEFAULT_LIMIT: u32 = 30;

/// `GET /servers`.
pub(in crate::api) async fn list(call: &Call) -> Result<Response, Refusal> {
    let limit = limit(call)?;
    let (filter, after) = wanted(call)?;
    let page = call.app.store.registry_list(&filter, &after, limit).await?;
    let next_cursor = page.next_after().map(|last| {
        let after = match after {
            Position::Name { .. } => Position::Name {
                name: last.name.clone(),
                version: Some(last.version.clone()),
            },
            Position::Change { .. } => Position::Change {
                changed_at: last.changed_at,
                id: last.id,
            },
        };
        let filter = Some(filter);
        ListCursor { filter, after }.encode()
    });
    let required = required_level(&call.app)?;
    let servers: Vec<String> = page
        .rows
        .iter()
        .map(|version| shown(version, required, None))
        .collect();
    Ok(server_list(&servers, next_cursor))
}

/// `GET /servers/{name}/versions`.
pub(in crate::api) async fn versions(call: &Call) -> Result<Response, Refusal> {
    let include_deleted = flag(call, "include_deleted")?.unwrap_or(false);
    let required = required_level(&call.app)?;
    let mut servers = Vec::new();
    let store = &call.app.store;
    store
        .registry_versions(call.member("name"), include_deleted, |version| {
            servers.push(shown(version, required, None));
        })
        .await?;
    if servers.is_empty() {
        return Err(Refusal::not_found("Server not found"));
    }
    Ok(server_list(&servers, None))
}

/// `GET /servers/{name}/versions/{version}`, where `latest` stands for one.
pub(in crate::api) async fn version(call: &Call) -> Result<Response, Refusal> {
    let include_deleted = flag(call, "include_deleted")?.unwrap_or(false);
    let (name, version) = (call.member("name"), call.member("version"));
    let found = call
        .app
        .store
        .registry_version(name, version, include_deleted)
        .await?
        .ok_or_else(|| Refusal::not_found("Server not found"))?;
    server_response(&call.app, &found).await
}

/// The answer where it is about one version.
pub(super) async fn server_response(
    app: &App,
    version: &RegistryVersion,
) -> Result<Response, Refusal> {
    let health = health(app, version).await?;
    let body = shown(version, required_level(app)?, health);
    Ok(document("application/json", body.into_bytes()))
}

fn server_list(servers: &[String], next_cursor: Option<String>) -> Response {
    let mut metadata = json!({ "count": servers.len() });
    if let (Some(cursor), Some(members)) = (next_cursor, metadata.as_object_mut()) {
        members.insert("nextCursor".to_owned(), Value::String(cursor));
    }
    let servers = servers.join(",");
    let body = format!(r#"{{"servers":[{servers}],"metadata":{metadata}}}"#);
    document("application/json", body.into_bytes())
}

/// Without a verdict nothing is said: nobody asks endpoints that no one connects to.
async fn health(app: &App, version: &RegistryVersion) -> Result<Option<Health>, Refusal> {
    let Some(endpoint) = &version.endpoint else {
        return Ok(None);
    };
    if app.settings.health_gating()? == Gating::Off {
        return Ok(None);
    }
    let verdict = app.store.verdict(endpoint).await;
    Ok(verdict
        .filter(|verdict| verdict.is_usable(now_millis()))
        .map(|verdict| verdict.health()))
}

/// What a version must be verified as for anybody to be let in.
pub(super) fn required_level(app: &App) -> Result<Level, Refusal> {
    Ok(if app.settings.require_verified()? {
        Level::Namespace
    } else {
        Level::None
    })
}

fn limit(call: &Call) -> Result<u32, Refusal> {
    let Some(limit) = parameter(call, "limit") else {
        return Ok(DEFAULT_LIMIT);
    };
    match limit.parse() {
        Ok(number @ 1..=100) => Ok(number),
        Ok(0) => Err(invalid_parameter("limit", "expected number >= 1", limit)),
        Ok(_) => Err(invalid_parameter("limit", "expected number <= 100", limit)),
        Err(_) => Err(invalid_parameter("limit", "invalid integer", limit)),
    }
}

/// What is listed, and where the page begins. What a cursor carries holds where the query says
/// nothing else: some clients send a filter once, others with each page.
fn wanted(call: &Call) -> Result<(ListFilter, Position), Refusal> {
    let cursor = parameter(call, "cursor")
        .map(|cursor| {
            ListCursor::decode(&cursor)
                .map_err(|error| invalid_parameter("cursor", &error.to_string(), cursor))
        })
        .transpose()?;
    let (carried, after) = match cursor {
        Some(cursor) => (cursor.filter.unwrap_or_default(), Some(cursor.after)),
        None => (ListFilter::default(), None),
    };
    let include_deleted = flag(call, "include_deleted")?;
    let updated_since = parameter(call, "updated_since")
        .map(|date| {
            date_micros(&date).ok_or_else(|| Refusal::bad_request(
                "Invalid updated_since format: expected RFC3339 timestamp (e.g., 2025-08-07T13:15:04.280Z)",
            ))
        })
        .transpose()?
        .or(carried.updated_since);
    if updated_since.is_some() && include_deleted == Some(false) {
        return Err(Refusal::bad_request(
            "Cannot set include_deleted=false when using updated_since (incremental sync requires deleted servers)",
        ));
    }
    let filter = ListFilter {
        search: parameter(call, "search").or(carried.search),
        version: parameter(call, "version").or(carried.version),
        updated_since,
        include_deleted: updated_since.is_some()
            || include_deleted.unwrap_or(carried.include_deleted),
    };
    let after = after.unwrap_or(match updated_since {
        // After all that changed at that very time.
        Some(changed_at) => Position::Change {
            changed_at,
            id: MAX_ID,
        },
        None => Position::Name {
            name: String::new(),
            version: None,
        },
    });
    Ok((filter, after))
}

/// The largest whole number that JavaScript has.
const MAX_ID: u64 = (1 << 53) - 1;
