//! A search that is more than a list's: ranked, with phrases and corrections. It is our extension of the
//! API, below our own namespace.

use mcp_connect_catalog::{SearchCursor, SearchQuery};

use super::{
    Refusal, invalid_parameter, parameter,
    servers::{CACHEABLE, Metadata, limit, server_list},
};
use crate::{
    api::{caching::cacheable, call::Call},
    platform::http::Response,
};

/// `GET /x/org.mcp-connect/search`.
pub(in crate::api) async fn search(call: &Call) -> Result<Response, Refusal> {
    let limit = limit(call)?;
    let cursor = parameter(call, "cursor")
        .map(|cursor| {
            SearchCursor::decode(&cursor)
                .map_err(|error| invalid_parameter("cursor", &error.to_string(), cursor))
        })
        .transpose()?;
    let (query, corrected, after) = match cursor {
        Some(cursor) => (cursor.query, cursor.corrected, Some(cursor.after)),
        None => (parameter(call, "q"), None, None),
    };
    let query = query.unwrap_or_default();
    let search = SearchQuery::parse(corrected.as_ref().unwrap_or(&query))
        .map_err(|error| invalid_parameter("q", &error.to_string(), query.clone()))?;
    let store = &call.app.store;
    let found = store
        .registry_search(&search, after.as_deref(), limit)
        .await?;
    let metadata = Metadata {
        count: found.rows.len(),
        total: Some(found.total),
        total_is_lower_bound: (!found.total_is_exact()).then_some(true),
        corrected_query: found.corrected.clone(),
        next_cursor: found.next_cursor(query, corrected),
    };
    Ok(cacheable(
        server_list(&call.app, &found.rows, &metadata),
        CACHEABLE,
    ))
}
