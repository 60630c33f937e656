use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::check_reason_given;
use crate::{
    api::{
        call::{Call, Operator},
        problem::Problem,
        respond,
    },
    platform::http::Response,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    /// The last server of the call before.
    #[serde(default)]
    after: String,
    /// Goes into the audit trail, if one is said.
    reason: Option<String>,
}

#[derive(Serialize)]
struct Rebuilt {
    renewed: usize,
    /// The last server of this call, if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Renews the copies of some servers. Whoever calls it again with each `next` until there is none has
/// renewed all of them.
pub(crate) async fn rebuild(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let body: Body = call.json()?;
    if let Some(reason) = check_reason_given(body.reason.as_deref())? {
        call.app
            .store
            .note(operator.actor(), "cache.rebuild", "cache", reason)
            .await?;
    }
    let (renewed, next) = call.app.store.rebuild_copies(&body.after).await?;
    respond(StatusCode::OK, &Rebuilt { renewed, next })
}
