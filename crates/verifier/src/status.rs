use std::time::Duration;

use crate::ClockStatus;

/// How a [`Verifier`](crate::Verifier) stands, for a health endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// Of this machine's clock, beside the authority's; `None` before the authority has answered.
    pub clock: Option<ClockStatus>,
    /// Of the authority's keys. Without usable ones every descriptor is refused, with 503.
    pub keys: KeysStatus,
    /// Of the revocation feed; `None` where it isn't followed. Without it a descriptor that was
    /// withdrawn is good until it expires.
    pub feed: Option<FeedStatus>,
}

/// What is known of the authority's keys.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KeysStatus {
    /// The time since the key set in use was asked for, or read from a file; `None` before there is
    /// any.
    pub age: Option<Duration>,
    /// How many keys there are.
    pub count: usize,
    /// Whether the key set is there and not past the maximum staleness.
    pub usable: bool,
}

/// What is known of the revocation feed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FeedStatus {
    /// The time since the last poll that went well; `None` before there was any.
    pub age: Option<Duration>,
    /// How many entries the feed has.
    pub entries: usize,
    /// Whether the last poll failed.
    pub failing: bool,
}
