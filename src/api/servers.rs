use http::StatusCode;
use mcp_connect_catalog::{SearchCursor, SearchQuery, Version};
use serde::Serialize;

use super::{
    caching::{OF_ONE_SERVER, cacheable},
    call::Call,
    copies,
    problem::Problem,
    respond,
};
use crate::{authority::Challenge, platform::http::Response, store::ServerSummary};

/// What lists say may be shown for this long without asking again, in seconds.
const CACHEABLE: &str = "public, max-age=30";

#[derive(Default, Serialize)]
struct List {
    servers: Vec<ServerSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// How many a search finds.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_is_lower_bound: Option<bool>,
    /// What was searched for instead, where nothing was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    corrected_query: Option<String>,
}

#[derive(Serialize)]
struct Challenges {
    /// Of a namespace that is a public domain's.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<Challenge>,
    /// Of a server that can be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<Challenge>,
}

pub(crate) async fn list(call: &Call) -> Result<Response, Problem> {
    let limit = call.page_size()?;
    let cursor = call
        .query("cursor")?
        .map(|cursor| SearchCursor::decode(&cursor))
        .transpose()
        .map_err(|error| Problem::request_invalid(format!("cursor: {error}")))?;
    let query = match (&cursor, call.query("query")?) {
        (Some(cursor), Some(query)) if cursor.query.as_ref() != Some(&query) => {
            return Err(Problem::request_invalid(
                "cursor: belongs to another query; leave out query, or begin without a cursor",
            ));
        }
        (Some(cursor), _) => cursor.query.clone(),
        // An empty search box finds everything.
        (None, query) => query.filter(|query| !query.is_empty()),
    };
    let store = &call.app.store;
    let after = cursor.as_ref().map(|cursor| cursor.after.as_str());
    let list = if let Some(query) = query {
        let corrected = cursor.as_ref().and_then(|cursor| cursor.corrected.clone());
        let search = SearchQuery::parse(corrected.as_ref().unwrap_or(&query))
            .map_err(|error| Problem::request_invalid(format!("query: {error}")))?;
        let found = store.search_servers(&search, after, limit).await?;
        List {
            total: Some(found.total),
            total_is_lower_bound: (!found.total_is_exact()).then_some(true),
            corrected_query: found.corrected.clone(),
            next_cursor: found.next_cursor(query, corrected),
            servers: found.rows,
        }
    } else {
        let page = store.list_servers(after, limit).await?;
        List {
            next_cursor: page
                .next_after()
                .map(|last| SearchCursor::list(&last.id).encode()),
            servers: page.rows,
            ..List::default()
        }
    };
    Ok(cacheable(respond(StatusCode::OK, &list)?, CACHEABLE))
}

/// A server, or one version of it.
pub(crate) async fn detail(call: &Call) -> Result<Response, Problem> {
    let (app, reference) = (&call.app, call.server_ref()?);
    let name = reference.name.as_str();
    let version = reference.version.as_ref().map(Version::as_str);
    let server = copies::server(app, name, false)
        .await?
        .ok_or_else(Problem::server_not_found)?;
    let detail = match (server.detail(version)?, version) {
        (None, Some(version)) if !server.is_complete() => {
            let server = app.store.load_version(name, version).await?;
            server
                .map(|server| server.detail(Some(version)))
                .transpose()?
                .flatten()
        }
        (detail, _) => detail,
    };
    let detail = detail.ok_or_else(|| copies::no_such_version(&server))?;
    Ok(cacheable(respond(StatusCode::OK, &detail)?, OF_ONE_SERVER))
}

/// What the publisher of a server serves, and where, to prove its namespace and its endpoint. No
/// secret: the tokens are worth something only where the owner alone can put them.
pub(crate) async fn challenge(call: &Call) -> Result<Response, Problem> {
    let name = call.server_name()?;
    let app = &call.app;
    let issuer = app.settings.issuer()?;
    let candidate = app
        .store
        .candidate(&name)
        .await?
        .ok_or_else(Problem::server_not_found)?;
    let challenges = Challenges {
        namespace: Challenge::of_namespace(issuer, &name, app.settings.endpoint_rules()).ok(),
        endpoint: candidate
            .origin
            .map(|origin| Challenge::of_origin(issuer, &name, &origin)),
    };
    Ok(cacheable(respond(StatusCode::OK, &challenges)?, CACHEABLE))
}
