use axum::{Json, response::IntoResponse};
use serde::{Deserialize, Serialize};

use super::super::no_store;
use crate::{
    api::{
        extract::{Operator, UrlQuery, page_size},
        problem::Problem,
    },
    platform::App,
    store::AuditEntry,
};

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    cursor: Option<String>,
    limit: Option<String>,
}

#[derive(Serialize)]
struct List {
    entries: Vec<AuditEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

pub(crate) async fn list(
    app: App,
    _: Operator,
    UrlQuery(query): UrlQuery<ListQuery>,
) -> Result<impl IntoResponse, Problem> {
    let limit = page_size(query.limit.as_deref())?;
    let before = query
        .cursor
        .map(|cursor| cursor.parse::<u32>().map(u64::from))
        .transpose()
        .map_err(|_| Problem::request_invalid("cursor: is not one of this list"))?;
    let entries = app.store.list_audit(before, limit).await?;
    let next_cursor = entries
        .last()
        .filter(|_| entries.len() == limit as usize)
        .map(|entry| entry.seq.to_string());
    Ok((
        [no_store()],
        Json(List {
            entries,
            next_cursor,
        }),
    ))
}
