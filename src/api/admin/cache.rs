use http::StatusCode;
use serde::{Deserialize, Serialize};

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
pub(crate) async fn rebuild(call: &Call, _: &Operator) -> Result<Response, Problem> {
    let body: Body = call.json()?;
    let (renewed, next) = call.app.store.rebuild_copies(&body.after).await?;
    respond(StatusCode::OK, &Rebuilt { renewed, next })
}
