//! Rotating the keys of a client or an administrator: one new key takes the place of all others, with their label and
//! for as long again as they were made for.

use http::StatusCode;
use serde::Deserialize;

use super::{check_name, check_reason, expiry};
use crate::{
    api::problem::Problem,
    authority::{Differing, PastKey, succeed},
    platform::now_millis,
};

/// 30 days: who needs more wants two keys, not a rotation.
const MAX_OVERLAP_SECONDS: u64 = 30 * 24 * 60 * 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// How long the other keys go on working.
    overlap_seconds: u64,
    label: Option<String>,
    expires_in: Option<u64>,
    expires_at: Option<String>,
    /// The new key works until it is revoked, however long the others were made for.
    #[serde(default)]
    never_expires: bool,
    reason: String,
}

/// A rotation as it is to be stored; dates in milliseconds since the Unix epoch.
pub(super) struct Rotation<'a> {
    pub(super) label: Option<&'a str>,
    pub(super) expires_at: Option<u64>,
    pub(super) others_end: u64,
    pub(super) reason: &'a str,
}

impl Body {
    /// What the body leaves out, the new key takes over from the `past` ones.
    pub(super) fn plan<'a>(&'a self, past: &'a [PastKey]) -> Result<Rotation<'a>, Problem> {
        let reason = check_reason(&self.reason)?;
        if self.overlap_seconds > MAX_OVERLAP_SECONDS {
            return Err(Problem::request_invalid(
                "overlap_seconds: must be 0 to 2592000, which is 30 days",
            ));
        }
        let said = expiry(self.expires_at.as_deref(), self.expires_in)?;
        if self.never_expires && said.is_some() {
            return Err(Problem::request_invalid(
                "never_expires: given together with an end; leave one out",
            ));
        }
        let label = match &self.label {
            Some(label) => {
                check_name("label", label)?;
                Some(label.as_str())
            }
            None => succeed(past, |key| key.label.as_deref()).map_err(|Differing| {
                differing("label: the keys that work have different ones; say which the new key is to have")
            })?,
        };
        // Whoever has a key without an end keeps one.
        let is_endless = self.never_expires || past.iter().any(|key| key.life.is_none());
        let expires_at = if said.is_some() || is_endless {
            said
        } else {
            succeed(past, |key| key.life)
                .map_err(|Differing| {
                    differing(
                        "expires_in: the keys that work were made for different times; say how long the new key is to \
                         work, or never_expires",
                    )
                })?
                .map(|life| now_millis() + life * 1000)
        };
        Ok(Rotation {
            label,
            expires_at,
            others_end: now_millis() + self.overlap_seconds * 1000,
            reason,
        })
    }
}

fn differing(detail: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, "keys_differ", detail)
}
