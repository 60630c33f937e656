//! What registries read from each other, and clients from them.

use mcp_connect_catalog::{CursorError, ListCursor, ListFilter, Position, query_date};
use serde::Serialize;

use super::{Refusal, entry::shown, flag, invalid_parameter, parameter};
use crate::{
    api::{
        App,
        caching::{OF_ONE_SERVER, cacheable},
        call::Call,
        copies, document,
    },
    authority::{Gating, Health, Level},
    platform::{http::Response, now_millis},
    store::{MAX_NUMBER, RegistryVersion},
};

const DEFAULT_LIMIT: u32 = 30;

/// What is listed or searched may be shown for this long without asking again, in seconds.
pub(super) const CACHEABLE: &str = "public, max-age=30";

/// What somebody wants to know as it is now must be asked for again each time.
const EXACT: &str = "public, no-cache";

/// What is told of a list beside its entries.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
    /// Of servers, whatever the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) total_is_lower_bound: Option<bool>,
    /// What was searched for instead, where nothing was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) corrected_query: Option<String>,
}

/// `GET /servers`.
pub(in crate::api) async fn list(call: &Call) -> Result<Response, Refusal> {
    let limit = limit(call)?;
    let (mut filter, after) = wanted(call)?;
    let store = &call.app.store;
    let listed = store.registry_list(&filter, &after, limit).await?;
    if listed.corrected.is_some() {
        filter.search.clone_from(&listed.corrected);
    }
    let is_empty = listed.versions.is_empty() && after.is_first_name() && listed.next.is_none();
    let metadata = Metadata {
        count: listed.versions.len(),
        next_cursor: listed.next.map(|after| next_cursor(filter, after)),
        total: listed.total.or(is_empty.then_some(0)),
        total_is_lower_bound: None,
        corrected_query: listed.corrected,
    };
    Ok(cacheable(
        server_list(&call.app, &listed.versions, &metadata),
        CACHEABLE,
    ))
}

fn next_cursor(filter: ListFilter, after: Position) -> String {
    let filter = Some(filter);
    ListCursor { filter, after }.encode()
}

/// `GET /servers/{name}/versions`: of a server whose versions are too many or too long for one answer, page by
/// page.
pub(in crate::api) async fn versions(call: &Call) -> Result<Response, Refusal> {
    let cursor = list_cursor(call)?;
    let carried = cursor.as_ref().and_then(|cursor| cursor.filter.as_ref());
    let include_deleted = flag(call, "include_deleted")?
        .unwrap_or_else(|| carried.is_some_and(|filter| filter.include_deleted));
    let (versions, next) = match cursor.map(|cursor| cursor.after) {
        None => newest_versions(call, include_deleted).await?,
        Some(Position::Moment { micros, id }) => {
            versions_after(call, include_deleted, (micros, id)).await?
        }
        Some(Position::Name { .. }) => {
            let message = CursorError.to_string();
            let cursor = parameter(call, "cursor").unwrap_or_default();
            return Err(invalid_parameter("cursor", &message, cursor));
        }
    };
    let filter = ListFilter {
        include_deleted,
        ..ListFilter::default()
    };
    let metadata = Metadata {
        count: versions.len(),
        next_cursor: next.map(|after| next_cursor(filter, after)),
        ..Metadata::default()
    };
    Ok(cacheable(
        server_list(&call.app, &versions, &metadata),
        caching(include_deleted),
    ))
}

/// Some versions, and where to go on.
type Versions = (Vec<RegistryVersion>, Option<Position>);

async fn newest_versions(call: &Call, include_deleted: bool) -> Result<Versions, Refusal> {
    let server = copies::server(&call.app, call.member("name"), include_deleted).await?;
    let server = server.ok_or_else(server_not_found)?;
    let (versions, next) = if server.is_complete() {
        (server.registry_versions(include_deleted)?, None)
    } else {
        // It has some of the versions; they need not stay in memory while D1 is asked.
        drop(server);
        versions_after(call, include_deleted, (MAX_NUMBER, MAX_NUMBER)).await?
    };
    if versions.is_empty() && next.is_none() {
        return Err(server_not_found());
    }
    Ok((versions, next))
}

async fn versions_after(
    call: &Call,
    include_deleted: bool,
    after: (u64, u64),
) -> Result<Versions, Refusal> {
    let (name, store) = (call.member("name"), &call.app.store);
    let listed = store
        .registry_versions(name, include_deleted, after)
        .await?;
    Ok((listed.versions, listed.next))
}

fn caching(include_deleted: bool) -> &'static str {
    if include_deleted {
        EXACT
    } else {
        OF_ONE_SERVER
    }
}

/// `GET /servers/{name}/versions/{version}`, where `latest` stands for one. Whoever asks for what was
/// deleted, as publishers do before they change a status, is told what holds now.
pub(in crate::api) async fn version(call: &Call) -> Result<Response, Refusal> {
    let include_deleted = flag(call, "include_deleted")?.unwrap_or(false);
    let (name, version) = (call.member("name"), call.member("version"));
    let server = copies::server(&call.app, name, include_deleted)
        .await?
        .ok_or_else(server_not_found)?;
    let mut found = server.registry_version(version, include_deleted)?;
    if found.is_none() && !server.is_complete() {
        let store = &call.app.store;
        found = store
            .registry_version(name, version, include_deleted)
            .await?;
    }
    let found = found.ok_or_else(server_not_found)?;
    Ok(cacheable(
        server_response(&call.app, &found).await,
        caching(include_deleted),
    ))
}

fn server_not_found() -> Refusal {
    Refusal::not_found("Server not found")
}

/// The answer where it is about one version.
pub(super) async fn server_response(app: &App, version: &RegistryVersion) -> Response {
    let health = health(app, version).await;
    let body = shown(version, required_level(app), health);
    document("application/json", body.into_bytes())
}

/// Health is asked for where one version is shown, not for a hundred.
pub(super) fn server_list(
    app: &App,
    versions: &[RegistryVersion],
    metadata: &Metadata,
) -> Response {
    let required = required_level(app);
    let servers: Vec<String> = versions
        .iter()
        .map(|version| shown(version, required, None))
        .collect();
    list_of(&servers, metadata)
}

fn list_of(servers: &[String], metadata: &Metadata) -> Response {
    // Texts and numbers alone: nothing of it can fail.
    let metadata = serde_json::to_string(metadata).unwrap_or_default();
    let servers = servers.join(",");
    let body = format!(r#"{{"servers":[{servers}],"metadata":{metadata}}}"#);
    document("application/json", body.into_bytes())
}

/// Without a verdict nothing is said: nobody asks endpoints that no one connects to.
async fn health(app: &App, version: &RegistryVersion) -> Option<Health> {
    let endpoint = version.endpoint.as_ref()?;
    // Nor where it isn't known whether they are asked.
    if app.settings.health_gating().unwrap_or(Gating::Off) == Gating::Off {
        return None;
    }
    let verdict = app.store.verdict(endpoint).await?;
    verdict.is_usable(now_millis()).then(|| verdict.health())
}

/// What a version must be verified as for anybody to be let in. `None`: nobody is, until the setting is
/// mended.
pub(super) fn required_level(app: &App) -> Option<Level> {
    let require_verified = app.settings.require_verified().ok()?;
    Some(if require_verified {
        Level::Namespace
    } else {
        Level::None
    })
}

pub(super) fn limit(call: &Call) -> Result<u32, Refusal> {
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

fn list_cursor(call: &Call) -> Result<Option<ListCursor>, Refusal> {
    parameter(call, "cursor")
        .map(|cursor| {
            ListCursor::decode(&cursor)
                .map_err(|error| invalid_parameter("cursor", &error.to_string(), cursor))
        })
        .transpose()
}

/// What is listed, and where the page begins. What a cursor carries holds where the query says
/// nothing else: some clients send a filter once, others with each page.
fn wanted(call: &Call) -> Result<(ListFilter, Position), Refusal> {
    let (carried, after) = match list_cursor(call)? {
        Some(cursor) => (cursor.filter.unwrap_or_default(), Some(cursor.after)),
        None => (ListFilter::default(), None),
    };
    let include_deleted = flag(call, "include_deleted")?;
    let updated_since = parameter(call, "updated_since")
        .map(|date| {
            query_date(&date).map_err(|error| {
                Refusal::bad_request(format!(
                    "Invalid updated_since format: expected RFC3339 timestamp (e.g., 2025-08-07T13:15:04.280Z); it {error}"
                ))
            })
        })
        .transpose()?
        .or(carried.updated_since);
    if updated_since.is_some() && include_deleted == Some(false) {
        return Err(Refusal::bad_request(
            "Cannot set include_deleted=false when using updated_since (incremental sync requires deleted servers)",
        ));
    }
    let filter = ListFilter {
        // What was searched for in the place of another goes on.
        search: carried.search.or_else(|| parameter(call, "search")),
        // As in a cursor, a space is a plus that nobody encoded.
        version: parameter(call, "version")
            .map(|version| version.replace(' ', "+"))
            .or(carried.version),
        updated_since,
        include_deleted: updated_since.is_some()
            || include_deleted.unwrap_or(carried.include_deleted),
    };
    let after = after.unwrap_or(match updated_since {
        // After all that changed at that very time.
        Some(micros) => Position::Moment {
            micros,
            id: MAX_NUMBER,
        },
        None => Position::Name {
            name: String::new(),
            version: None,
        },
    });
    Ok((filter, after))
}
