//! Verdicts on endpoints, and which of them are in use, in KV: they may be a minute old, and nothing
//! is lost with them.

use std::{cell::RefCell, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::{
    authority::{Verdict, endpoint_hash},
    platform::{Recent, log, now_millis},
};

/// How long the last success stays known, in seconds.
const KEPT_SECONDS: u64 = 24 * 60 * 60;
/// How long an endpoint counts as in use, in seconds, and how often that is written at most.
const IN_USE_SECONDS: u64 = 15 * 60;
const MARKED_FOR_MILLIS: u64 = 5 * 60 * 1000;

const IN_USE: &str = "in-use:";

/// How many endpoints in use one run looks at: two reads each, and with the probes and their verdicts
/// still fewer than the 1,000 calls that a Worker has. So all that KV lists have a turn every four minutes.
const LOOKED_AT: usize = 250;

const MAX_REMEMBERED: usize = 1_000;

thread_local! {
    // What this isolate wrote, which KV may show it only a minute later.
    static VERDICTS: RefCell<Recent<Verdict>> = RefCell::new(Recent::new(MAX_REMEMBERED));
    static MARKED_AT: RefCell<Recent<u64>> = RefCell::new(Recent::new(MAX_REMEMBERED));
}

#[derive(Deserialize, Serialize)]
struct Mark {
    endpoint: String,
    marked_at: u64,
}

impl Store {
    /// The newest verdict that is known here. KV is no authority on who may connect: where it does not
    /// answer, nothing is known.
    pub(crate) async fn verdict(&self, endpoint: &str) -> Option<Verdict> {
        let stored = self
            .kv_get(&verdict_key(endpoint))
            .await
            .unwrap_or_else(|error| {
                log::error("health_unknown", &[("problem", &error.to_string())]);
                None
            });
        let own = VERDICTS.with_borrow_mut(|verdicts| verdicts.get(endpoint));
        [stored, own]
            .into_iter()
            .flatten()
            .max_by_key(|verdict| verdict.checked_at)
    }

    /// For the requests of this isolate, at once; [`Store::keep_verdict`] does it for all others.
    pub(crate) fn remember_verdict(endpoint: &str, verdict: &Verdict) {
        VERDICTS.with_borrow_mut(|verdicts| verdicts.keep(endpoint.to_owned(), verdict.clone(), 1));
    }

    /// Where KV does not take it, the next probe makes up for it.
    pub(crate) async fn keep_verdict(&self, endpoint: &str, verdict: &Verdict) {
        let key = verdict_key(endpoint);
        if let Err(error) = self.kv_put(&key, verdict, Some(KEPT_SECONDS)).await {
            log::error("health_not_kept", &[("problem", &error.to_string())]);
        }
    }

    /// Whether this isolate has to say anew that an endpoint is in use.
    pub(crate) fn wants_mark(endpoint: &str) -> bool {
        let now = now_millis();
        MARKED_AT.with_borrow_mut(|marked| {
            let is_marked = marked
                .get(endpoint)
                .is_some_and(|at| now.saturating_sub(at) < MARKED_FOR_MILLIS);
            if !is_marked {
                marked.keep(endpoint.to_owned(), now, 1);
            }
            !is_marked
        })
    }

    /// Lets the cron look after an endpoint for a while.
    pub(crate) async fn mark_in_use(&self, endpoint: &str) -> Result<(), StoreError> {
        let key = format!("{IN_USE}{}", endpoint_hash(endpoint));
        let known: Option<Mark> = self.kv_get(&key).await?;
        let now = now_millis();
        // Another isolate did.
        if known.is_some_and(|mark| now.saturating_sub(mark.marked_at) < MARKED_FOR_MILLIS) {
            return Ok(());
        }
        let mark = Mark {
            endpoint: endpoint.to_owned(),
            marked_at: now,
        };
        self.kv_put(&key, &mark, Some(IN_USE_SECONDS)).await
    }

    /// Up to `limit` endpoints in use whose verdict is due, those unseen for the longest first.
    pub(crate) async fn due_endpoints(
        &self,
        limit: usize,
    ) -> Result<Vec<(String, Option<Verdict>)>, StoreError> {
        let now = now_millis();
        let mut due = BTreeMap::new();
        for key in turn(self.kv_keys(IN_USE).await?, now / 60_000) {
            let Some(mark) = self.kv_get::<Mark>(&key).await? else {
                continue;
            };
            let verdict = self.verdict(&mark.endpoint).await;
            if verdict.as_ref().is_none_or(|verdict| verdict.is_due(now)) {
                let checked_at = verdict.as_ref().map(|verdict| verdict.checked_at);
                due.insert((checked_at, mark.endpoint), verdict);
            }
        }
        Ok(due
            .into_iter()
            .take(limit)
            .map(|((_, endpoint), verdict)| (endpoint, verdict))
            .collect())
    }
}

/// Those whose turn it is in this minute.
fn turn<T>(mut all: Vec<T>, minute: u64) -> Vec<T> {
    let turns = all.len().div_ceil(LOOKED_AT).max(1);
    let place = usize::try_from(minute % turns as u64).unwrap_or_default();
    all.drain(..place * LOOKED_AT);
    all.truncate(LOOKED_AT);
    all
}

fn verdict_key(endpoint: &str) -> String {
    format!("health:{}", endpoint_hash(endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_turn_and_no_run_has_too_many() {
        for count in [0, 1, 249, 250, 251, 999, 1_000] {
            let all: Vec<usize> = (0..count).collect();
            let mut seen: Vec<usize> = (7..11)
                .flat_map(|minute| turn(all.clone(), minute))
                .collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen, all);
            assert!((0..9).all(|minute| turn(all.clone(), minute).len() <= LOOKED_AT));
        }
    }
}
