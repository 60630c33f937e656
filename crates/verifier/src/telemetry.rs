//! What is counted: by the `metrics` facade with the feature `metrics`, and not at all without.
//!
//! Labels come from fixed sets: no client, tenant, token or session is ever one.

use std::time::Duration;

use mcp_connect_descriptor::RefusalCode;

/// What a label may say: only words of this crate.
type Word = &'static str;

#[cfg_attr(
    not(feature = "metrics"),
    expect(dead_code, reason = "only a recorder reads it")
)]
struct Metric {
    name: Word,
    help: Word,
}

const CLOCK_OFFSET: Metric = Metric {
    name: "mcp_connect_clock_offset_seconds",
    help: "How far this machine's clock is ahead of the authority's, in seconds; negative if it is \
           behind.",
};
const CHECKS: Metric = Metric {
    name: "mcp_connect_checks_total",
    help: "Descriptors checked, by outcome: \"good\", or the code of the refusal.",
};
const REFUSALS: Metric = Metric {
    name: "mcp_connect_refusals_total",
    help: "Requests refused, by code and by whether that was enforced or only reported.",
};
const SESSIONS: Metric = Metric {
    name: "mcp_connect_sessions",
    help: "Sessions for which descriptors keep coming.",
};
const SESSIONS_ENDED: Metric = Metric {
    name: "mcp_connect_sessions_ended_total",
    help: "Sessions that ended, by reason and by whether that was enforced or only reported.",
};
const STREAMS_ENDED: Metric = Metric {
    name: "mcp_connect_streams_ended_total",
    help: "Open streams and unanswered calls that were ended, by reason.",
};
const KEY_SET_FETCHES: Metric = Metric {
    name: "mcp_connect_key_set_fetches_total",
    help: "Fetches of the authority's key set, by result.",
};
const KEY_SET_TIME: Metric = Metric {
    name: "mcp_connect_key_set_timestamp_seconds",
    help: "When the key set in use was asked for, in seconds since the Unix epoch; 0 without one.",
};
const FEED_POLLS: Metric = Metric {
    name: "mcp_connect_feed_polls_total",
    help: "Polls of the revocation feed, by result.",
};
const FEED_TIME: Metric = Metric {
    name: "mcp_connect_feed_timestamp_seconds",
    help: "When the revocation feed was last known to be current, in seconds since the Unix \
           epoch; 0 without one.",
};
const TOKEN_CACHE: Metric = Metric {
    name: "mcp_connect_token_cache_total",
    help: "Look-ups of the cache of verified descriptors, by result.",
};

/// How a poll of the revocation feed went.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FeedPoll {
    Applied,
    Failed,
    Unchanged,
}

/// A descriptor was checked: `None` says that it was good.
pub(crate) fn checked(refusal: Option<RefusalCode>) {
    let outcome = refusal.map_or("good", RefusalCode::as_str);
    count(&CHECKS, &[("outcome", outcome)]);
}

/// A request was refused, or would have been.
pub(crate) fn refused(code: Word, enforced: bool) {
    count(
        &REFUSALS,
        &[("code", code), ("effect", effect_of(enforced))],
    );
}

pub(crate) fn session_began() {
    change(&SESSIONS, 1.0);
}

/// A session ended, or would have.
pub(crate) fn session_ended(reason: Word, enforced: bool) {
    change(&SESSIONS, -1.0);
    count(
        &SESSIONS_ENDED,
        &[("reason", reason), ("effect", effect_of(enforced))],
    );
}

/// A session is no longer looked after, though it hasn't ended.
pub(crate) fn session_dropped() {
    change(&SESSIONS, -1.0);
}

pub(crate) fn stream_ended(reason: Word) {
    count(&STREAMS_ENDED, &[("reason", reason)]);
}

/// A key set was fetched and is in use. `requested_at` is the time since the Unix epoch.
pub(crate) fn key_set_fetched(requested_at: Duration) {
    count(&KEY_SET_FETCHES, &[("result", "good")]);
    set(&KEY_SET_TIME, requested_at.as_secs_f64());
}

pub(crate) fn key_set_fetch_failed() {
    count(&KEY_SET_FETCHES, &[("result", "failed")]);
}

/// The revocation feed was asked for, at the time `requested_at` since the Unix epoch.
pub(crate) fn feed_polled(poll: FeedPoll, requested_at: Duration) {
    let result = match poll {
        FeedPoll::Applied => "applied",
        FeedPoll::Failed => "failed",
        FeedPoll::Unchanged => "unchanged",
    };
    count(&FEED_POLLS, &[("result", result)]);
    if !matches!(poll, FeedPoll::Failed) {
        set(&FEED_TIME, requested_at.as_secs_f64());
    }
}

/// This machine's clock was compared with the authority's.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact for hundreds of millions of years"
)]
pub(crate) fn clock_compared(offset_seconds: i64) {
    set(&CLOCK_OFFSET, offset_seconds as f64);
}

pub(crate) fn token_cache_looked_up(hit: bool) {
    let result = if hit { "hit" } else { "miss" };
    count(&TOKEN_CACHE, &[("result", result)]);
}

const fn effect_of(enforced: bool) -> Word {
    if enforced { "enforced" } else { "reported" }
}

/// Tells the recorder, where one is installed by now, what each metric is.
pub(crate) fn describe() {
    #[cfg(feature = "metrics")]
    {
        for counter in [
            CHECKS,
            REFUSALS,
            SESSIONS_ENDED,
            STREAMS_ENDED,
            KEY_SET_FETCHES,
            FEED_POLLS,
            TOKEN_CACHE,
        ] {
            metrics::describe_counter!(counter.name, metrics::Unit::Count, counter.help);
        }
        metrics::describe_gauge!(SESSIONS.name, metrics::Unit::Count, SESSIONS.help);
        for time in [CLOCK_OFFSET, KEY_SET_TIME, FEED_TIME] {
            metrics::describe_gauge!(time.name, metrics::Unit::Seconds, time.help);
        }
    }
}

#[cfg(feature = "metrics")]
fn count(metric: &Metric, labels: &[(Word, Word)]) {
    metrics::counter!(metric.name, labels).increment(1);
}

#[cfg(feature = "metrics")]
fn change(metric: &Metric, by: f64) {
    metrics::gauge!(metric.name).increment(by);
}

#[cfg(feature = "metrics")]
fn set(metric: &Metric, value: f64) {
    metrics::gauge!(metric.name).set(value);
}

#[cfg(not(feature = "metrics"))]
const fn count(_: &Metric, _: &[(Word, Word)]) {}

#[cfg(not(feature = "metrics"))]
const fn change(_: &Metric, _: f64) {}

#[cfg(not(feature = "metrics"))]
const fn set(_: &Metric, _: f64) {}
