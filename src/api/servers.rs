use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use mcp_connect_catalog::{SearchCursor, SearchQuery, ServerName, ServerRef};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    App,
    extract::{NamePath, RefPath, UrlQuery, page_size},
    problem::Problem,
};
use crate::{
    authority::Challenge,
    platform::{log, metrics, now_millis},
    store::{EdgeCopy, ServerSummary, StoreError},
};

/// What discovery says may be shown for this long without asking again, in seconds.
const CACHEABLE: &str = "public, max-age=30";

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    query: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
}

#[derive(Serialize)]
struct List {
    servers: Vec<ServerSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
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

pub(crate) async fn list(
    app: App,
    UrlQuery(asked): UrlQuery<ListQuery>,
) -> Result<impl IntoResponse, Problem> {
    let limit = page_size(asked.limit.as_deref())?;
    let cursor = asked
        .cursor
        .map(|cursor| SearchCursor::decode(&cursor))
        .transpose()
        .map_err(|error| Problem::request_invalid(format!("cursor: {error}")))?;
    let query = match (&cursor, asked.query) {
        (Some(cursor), Some(query)) if cursor.query.as_ref() != Some(&query) => {
            return Err(Problem::request_invalid(
                "cursor: belongs to another query; leave out query, or begin without a cursor",
            ));
        }
        (Some(cursor), _) => cursor.query.clone(),
        // An empty search box finds everything.
        (None, query) => query.filter(|query| !query.is_empty()),
    };
    let search = query
        .as_deref()
        .map(SearchQuery::parse)
        .transpose()
        .map_err(|error| Problem::request_invalid(format!("query: {error}")))?;

    let after = cursor.as_ref().map(|cursor| cursor.after.as_str());
    let page = app
        .store
        .list_servers(search.as_ref(), after, limit)
        .await?;
    let next_cursor = page.next_after().map(|last| {
        let after = last.id.clone();
        SearchCursor { query, after }.encode()
    });
    let list = List {
        servers: page.rows,
        next_cursor,
    };
    Ok(([(CACHE_CONTROL, CACHEABLE)], Json(list)))
}

/// A server is shown from its edge copy while that is fresh; else from D1; when that is out, from the
/// copy whatever its age. One version is always read from D1.
pub(crate) async fn detail(app: App, RefPath(reference): RefPath) -> Result<Response, Problem> {
    if reference.version.is_some() {
        let loaded = load(&app, &reference).await?;
        return loaded
            .map(|detail| document(&detail))
            .ok_or_else(Problem::server_not_found);
    }
    let copy = app.store.edge_copy(&reference.name).await;
    let found = match &copy {
        Some(copy) if copy.is_fresh() => "fresh",
        Some(_) => "stale",
        None => "missing",
    };
    metrics::count(metrics::looked_up("edge_copy", found));
    if let Some(copy) = copy.as_ref().filter(|copy| copy.is_fresh()) {
        return Ok(document(&copy.document));
    }
    let loaded_at = now_millis();
    match (load(&app, &reference).await, copy) {
        (Ok(Some(detail)), _) => {
            let response = document(&detail);
            keep_copy(&app, reference.name, EdgeCopy::new(loaded_at, detail));
            Ok(response)
        }
        (Ok(None), _) => Err(Problem::server_not_found()),
        (Err(error), Some(copy)) => {
            // While D1 is out, that is each of them.
            let problem = error.to_string();
            log::error_once("", "served_from_edge_copy", &[("problem", &problem)]);
            Ok(document(&copy.document))
        }
        (Err(error), None) => Err(error.into()),
    }
}

/// What the publisher of a server serves, and where, to prove its namespace and its endpoint. No
/// secret: the tokens are worth something only where the owner alone can put them.
pub(crate) async fn challenge(
    app: App,
    NamePath(name): NamePath,
) -> Result<impl IntoResponse, Problem> {
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
    Ok(([(CACHE_CONTROL, CACHEABLE)], Json(challenges)))
}

async fn load(app: &App, reference: &ServerRef) -> Result<Option<Box<RawValue>>, StoreError> {
    let Some(detail) = app.store.server_detail(reference).await? else {
        return Ok(None);
    };
    serde_json::value::to_raw_value(&detail)
        .map(Some)
        .map_err(|error| StoreError::Unavailable(error.to_string()))
}

fn document(json: &RawValue) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, CACHEABLE),
    ];
    (headers, json.get().to_owned()).into_response()
}

/// After the answer, so that nobody waits for it.
fn keep_copy(app: &App, name: ServerName, copy: EdgeCopy) {
    let store = app.store.clone();
    app.context.wait_until(async move {
        if let Err(error) = store.put_edge_copy(&name, &copy).await {
            log::error("edge_copy_failed", &[("problem", &error.to_string())]);
        }
    });
}
