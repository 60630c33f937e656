//! Purges versions that could never be connected to.

use http::StatusCode;
use mcp_connect_catalog::{Namespace, date_micros};
use serde::{Deserialize, Serialize};

use super::check_reason;
use crate::{
    api::{
        call::{Call, Operator},
        problem::Problem,
        respond,
    },
    platform::{http::Response, now_millis},
    store::{Connectable, PurgeFilter, Row},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    /// This one and all below it; every namespace without it.
    namespace: Option<Namespace>,
    /// RFC 3339; now without it.
    published_before: Option<String>,
    #[serde(default)]
    dry_run: bool,
    reason: String,
    /// Where the call before ended.
    #[serde(default)]
    after: String,
}

#[derive(Serialize)]
struct Outcome {
    dry_run: bool,
    /// With how many versions, of how many bytes.
    servers: Vec<Row>,
    purged: u32,
    /// Where the next call goes on, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Takes out versions that could never be connected to, or shows them: of some servers at a time. Whoever calls it
/// again with each `next` until there is none has purged all of them.
pub(crate) async fn purge(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let body: Body = call.json()?;
    let reason = check_reason(&body.reason)?;
    let published_before = match &body.published_before {
        None => now_millis(),
        Some(date) => {
            date_micros(date).ok_or_else(|| {
                Problem::request_invalid(
                    "published_before: must be a date of RFC 3339 such as 2026-01-31T00:00:00Z",
                )
            })? / 1000
        }
    };
    let settings = &call.app.settings;
    let filter = PurgeFilter {
        namespace: body.namespace.as_ref().map(Namespace::as_str),
        published_before,
        connectable: Connectable::when(settings.require_verified().unwrap_or(false)),
    };
    let store = &call.app.store;
    let purge = if body.dry_run {
        store.find_purgeable(&filter, &body.after).await?
    } else {
        let actor = operator.actor();
        store.purge(&filter, &body.after, actor, reason).await?
    };
    let answer = Outcome {
        dry_run: body.dry_run,
        servers: purge.servers,
        purged: purge.purged,
        next: purge.next,
    };
    respond(StatusCode::OK, &answer)
}
