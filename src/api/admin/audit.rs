use axum::{Json, response::IntoResponse};
use serde::Serialize;

use super::ListQuery;
use crate::{
    api::{
        App,
        extract::{Moderator, UrlQuery, page_size},
        no_store,
        problem::Problem,
    },
    store::AuditEntry,
};

#[derive(Serialize)]
struct List {
    entries: Vec<AuditEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

pub(crate) async fn list(
    app: App,
    _: Moderator,
    UrlQuery(query): UrlQuery<ListQuery>,
) -> Result<impl IntoResponse, Problem> {
    let limit = page_size(query.limit.as_deref())?;
    let before = query
        .cursor
        .map(|cursor| cursor.parse::<u64>())
        .transpose()
        .map_err(|_| Problem::request_invalid("cursor: is not one of this list"))?;
    let page = app.store.list_audit(before, limit).await?;
    let next_cursor = page.next_after().map(|entry| entry.seq.to_string());
    let entries = page.rows;
    Ok((
        [no_store()],
        Json(List {
            entries,
            next_cursor,
        }),
    ))
}
