//! Health gating: connects to an endpoint that does not answer as an MCP server are not let through.

use super::App;
use crate::{
    authority::{Denial, Gating, admit_endpoint},
    platform::{log, now_millis},
    store::Store,
    upkeep,
};

/// What must not keep the caller waiting goes on after the answer.
pub(crate) async fn admit(app: &App, gating: Gating, endpoint: &str) -> Result<(), Denial> {
    if gating == Gating::Off {
        return Ok(());
    }
    let mut verdict = app.store.verdict(endpoint).await;
    let now = now_millis();
    let rules = app.settings.endpoint_rules();
    match gating {
        Gating::Inline if verdict.as_ref().is_none_or(|verdict| verdict.is_due(now)) => {
            let renewed = upkeep::health::renew(endpoint, verdict.as_ref(), rules).await;
            if let Some(renewed) = renewed {
                let (endpoint, store) = (endpoint.to_owned(), app.store.clone());
                verdict = Some(renewed.clone());
                app.context
                    .wait_until(async move { store.keep_verdict(&endpoint, &renewed).await });
            }
        }
        Gating::Cached
            if verdict
                .as_ref()
                .is_none_or(|verdict| !verdict.is_usable(now)) =>
        {
            let (endpoint, store, known) =
                (endpoint.to_owned(), app.store.clone(), verdict.clone());
            app.context.wait_until(async move {
                let renewed = upkeep::health::renew(&endpoint, known.as_ref(), rules).await;
                if let Some(renewed) = renewed {
                    store.keep_verdict(&endpoint, &renewed).await;
                }
            });
        }
        Gating::Off | Gating::Cached | Gating::Inline => {}
    }
    mark_in_use(app, endpoint);
    admit_endpoint(verdict.as_ref(), now_millis())
}

/// So that the cron looks after it.
fn mark_in_use(app: &App, endpoint: &str) {
    if !Store::wants_mark(endpoint) {
        return;
    }
    let (endpoint, store) = (endpoint.to_owned(), app.store.clone());
    app.context.wait_until(async move {
        if let Err(error) = store.mark_in_use(&endpoint).await {
            log::error("health_not_kept", &[("problem", &error.to_string())]);
        }
    });
}
