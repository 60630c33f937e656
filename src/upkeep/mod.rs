//! What the authority finds out and tidies up by itself, when a cron says so: what changed
//! upstream, whether publishers' proofs still hold and endpoints still answer, and what has had its
//! time. Administrators can ask for all but the last, too.

pub(crate) mod health;
pub(crate) mod mirror;
pub(crate) mod proofs;

use std::fmt::Display;

use crate::{
    authority::Gating,
    platform::{Settings, log, now_millis},
    store::{Store, StoreError},
};

/// Why a job could not do what it is there for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpkeepError {
    #[error("{0} {1}")]
    Setting(&'static str, String),
    #[error("{0}")]
    Upstream(String),
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// The crons of wrangler.toml.
const EVERY_MINUTE: &str = "* * * * *";
const EVERY_FIVE_MINUTES: &str = "*/5 * * * *";
const AT_NIGHT: &str = "17 1-5 * * *";

/// Runs the jobs of a cron. One that fails is logged and keeps no other from its turn.
pub(crate) async fn run(cron: &str, settings: &Settings, store: &Store) {
    match cron {
        EVERY_MINUTE => {
            report(
                "moderation",
                store
                    .end_expired_moderation(now_millis())
                    .await
                    .map(|ended| format!("{ended} ended")),
            );
            report(
                "revocations",
                store
                    .forget_old_revocations(now_millis())
                    .await
                    .map(|()| "old ones forgotten"),
            );
            report(
                "quotas",
                store
                    .forget_spent_quotas()
                    .await
                    .map(|()| "those of earlier days forgotten"),
            );
            report("claims", claim_urls(store).await);
            report(
                "words",
                store.prepare_words().await.map(|is_new| {
                    if is_new {
                        "prepared anew"
                    } else {
                        "as they were"
                    }
                }),
            );
            report(
                "copies",
                store
                    .repair_copies()
                    .await
                    .map(|renewed| format!("{renewed} renewed")),
            );
            if settings
                .health_gating()
                .is_ok_and(|gating| gating != Gating::Off)
            {
                report("health", health::refresh(settings, store).await);
            }
        }
        EVERY_FIVE_MINUTES => {
            let followed = mirror::follow(settings, store, false, mirror::LONGEST_RUN_MILLIS).await;
            if let Some(outcome) = followed.transpose() {
                report("mirror", outcome);
            }
        }
        AT_NIGHT => report("proofs", proofs::check_again(settings, store).await),
        other => return log::error("upkeep_unknown", &[("cron", other)]),
    }
    // Last, since the others leave audit rows; and what a request could not seal.
    report(
        "audit",
        store
            .seal_audit()
            .await
            .map(|sealed| format!("{sealed} sealed")),
    );
}

/// Until none is left that was stored before there were claims to URLs, or for this time enough is done.
async fn claim_urls(store: &Store) -> Result<String, StoreError> {
    const BATCHES: usize = 10;
    let mut claimed = 0;
    for _ in 0..BATCHES {
        match store.claim_urls().await? {
            0 => break,
            more => claimed += more,
        }
    }
    Ok(format!("{claimed} versions"))
}

/// One line a job: what it did, or why it could not.
fn report(job: &str, outcome: Result<impl Display, impl Display>) {
    match outcome {
        Ok(done) => log::info("upkeep", &[("job", job), ("done", &done.to_string())]),
        Err(error) => log::error(
            "upkeep_failed",
            &[("job", job), ("problem", &error.to_string())],
        ),
    }
}
