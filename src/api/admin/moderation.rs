use http::StatusCode;
use mcp_connect_catalog::ServerRef;
use serde::{Deserialize, Serialize};

use super::{check_reason, expiry, list_answer};
use crate::{
    api::{
        call::{Auditor, Call, Moderator},
        copies,
        problem::Problem,
        respond,
    },
    platform::http::Response,
    store::{
        Connectable, Decision, InFeed, ModerationChange, ModerationFilter, ModerationOutcome,
        Standing,
    },
};

const MAX_NAMESPACE_CHARS: usize = 200;

/// A hold that ends by itself is a quarantine; a revocation takes somebody to end it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuarantineBody {
    reason: String,
    expires_in: Option<u64>,
    expires_at: Option<String>,
    #[serde(default)]
    bulk: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModerationBody {
    reason: String,
    /// One of many: it takes no more of the revocation feed than those have together.
    #[serde(default)]
    bulk: bool,
}

/// How something is after a change, and what the revocation feed says of it.
#[derive(Serialize)]
struct Moderated {
    #[serde(flatten)]
    subject: Box<Standing>,
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    feed: Option<InFeed>,
}

pub(crate) async fn quarantine(call: &Call, moderator: &Moderator) -> Result<Response, Problem> {
    let body: QuarantineBody = call.json()?;
    let until = expiry(body.expires_at.as_deref(), body.expires_in)?;
    let change = ModerationChange::Quarantine(until);
    moderate(call, moderator, change, &body.reason, body.bulk).await
}

pub(crate) async fn revoke(call: &Call, moderator: &Moderator) -> Result<Response, Problem> {
    let body: ModerationBody = call.json()?;
    let change = ModerationChange::Revoke;
    moderate(call, moderator, change, &body.reason, body.bulk).await
}

pub(crate) async fn reinstate(call: &Call, moderator: &Moderator) -> Result<Response, Problem> {
    let body: ModerationBody = call.json()?;
    let change = ModerationChange::Reinstate;
    moderate(call, moderator, change, &body.reason, body.bulk).await
}

async fn moderate(
    call: &Call,
    moderator: &Moderator,
    change: ModerationChange,
    reason: &str,
    bulk: bool,
) -> Result<Response, Problem> {
    let reference = call.server_ref()?;
    let (app, name) = (&call.app, reference.name.as_str());
    let by = Decision {
        actor: moderator.actor(),
        reason: check_reason(reason)?,
        in_bulk: bulk.then(|| Connectable::when(app.settings.require_verified().unwrap_or(false))),
    };
    let tried = app.store.moderate(&reference, change, &by).await;
    let is_change = matches!(tried, Ok(Some(ModerationOutcome::Done(..))));
    let Some(outcome) = copies::renew_after(app, name, is_change, tried).await? else {
        let server = copies::server(app, name, true).await?;
        return Err(match server.filter(|_| reference.version.is_some()) {
            Some(server) => copies::no_such_version(&server),
            None => Problem::server_not_found(),
        });
    };
    let answer = match outcome {
        ModerationOutcome::Done(subject, changed, feed) => Moderated {
            subject,
            changed,
            feed,
        },
        ModerationOutcome::IsRevoked => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "already_revoked",
                "it is revoked, which is more than a quarantine; reinstate it first",
            ));
        }
    };
    respond(StatusCode::OK, &answer)
}

pub(crate) async fn list(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let limit = call.page_size()?;
    let state = call.query("state")?;
    let state = state.as_deref();
    if state.is_some_and(|state| !matches!(state, "quarantined" | "revoked")) {
        return Err(Problem::request_invalid(
            "state: must be \"quarantined\" or \"revoked\"",
        ));
    }
    let namespace = call.query("namespace")?;
    let namespace = namespace.as_deref();
    if namespace.is_some_and(|namespace| {
        namespace.is_empty() || namespace.len() > MAX_NAMESPACE_CHARS || namespace.contains('/')
    }) {
        return Err(Problem::request_invalid(
            "namespace: must be what stands before the \"/\" of a server's name",
        ));
    }
    let after: Option<ServerRef> = call
        .query("cursor")?
        .map(|cursor| cursor.parse())
        .transpose()
        .map_err(|_| Problem::request_invalid("cursor: is not one of this list"))?;
    let filter = ModerationFilter {
        state,
        namespace,
        after: after.as_ref(),
    };
    let page = call.app.store.list_moderated(&filter, limit).await?;
    list_answer("moderated", page, |last| last.text("server_ref").to_owned())
}
