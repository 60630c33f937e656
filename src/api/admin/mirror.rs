//! How an upstream registry is followed.

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::{check_reason_given, list_answer};
use crate::{
    api::{
        call::{Auditor, Call, Operator},
        problem::Problem,
        respond,
    },
    platform::http::Response,
    upkeep::{self, UpkeepError},
};

/// Whoever asks waits for it.
const LONGEST_RUN_MILLIS: u64 = 8_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SyncBody {
    #[serde(default)]
    sweep: bool,
    /// Goes into the audit trail, if one is said; what the run changes goes there in any case.
    reason: Option<String>,
}

pub(crate) async fn show(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let (mirror, crawls) = call.app.store.mirror_status().await?;
    let is_on = matches!(call.app.settings.upstream(), Ok(Some(_)));
    let crawls = serde_json::to_value(crawls).unwrap_or_default();
    respond(
        StatusCode::OK,
        &mirror.with("crawls", crawls).with("following", is_on),
    )
}

/// Entries that could not be taken in, with the reason.
pub(crate) async fn list_poison(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let cursor = call.query("cursor")?;
    let page = call
        .app
        .store
        .list_poison(cursor.as_deref(), call.page_size()?)
        .await?;
    list_answer("poison", page, |entry| entry.text("subject").to_owned())
}

/// Does what the cron does, now; a sweep of everything, too, if that is wanted.
pub(crate) async fn sync(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let body: SyncBody = call.json()?;
    let (settings, store) = (&call.app.settings, &call.app.store);
    let reason = check_reason_given(body.reason.as_deref())?;
    if let (Some(reason), Ok(Some(upstream))) = (reason, settings.upstream()) {
        store
            .note(operator.actor(), "mirror.sync", upstream, reason)
            .await?;
    }
    let followed = upkeep::mirror::follow(settings, store, body.sweep, LONGEST_RUN_MILLIS).await;
    match followed {
        Ok(Some(followed)) => respond(
            StatusCode::OK,
            &json!({
                "pages": followed.pages,
                "imported": followed.imported,
                "updated": followed.updated,
                "refused": followed.refused,
                "done": followed.is_done,
            }),
        ),
        Ok(None) => Err(Problem::new(
            StatusCode::CONFLICT,
            "no_upstream",
            "no registry is mirrored here; set UPSTREAM_REGISTRY",
        )),
        Err(UpkeepError::Upstream(problem)) => Err(Problem::new(
            StatusCode::BAD_GATEWAY,
            "upstream_failed",
            problem,
        )),
        Err(UpkeepError::Setting(setting, problem)) => Err(Problem::authority_unavailable(
            "configuration_fault",
            &format!("{setting} {problem}"),
        )),
        Err(UpkeepError::Store(error)) => Err(error.into()),
    }
}
