//! For administrators: every handler takes an `Operator`, or a `Moderator` where that role is
//! enough: to read, to verify and moderate servers, to suspend and resume clients. Every change
//! leaves an audit row in the transaction that makes it.

pub(super) mod administrators;
pub(super) mod audit;
pub(super) mod cache;
pub(super) mod client_keys;
pub(super) mod clients;
mod ending;
pub(super) mod health;
pub(super) mod import;
pub(super) mod keys;
pub(super) mod mirror;
pub(super) mod moderation;
pub(super) mod policy;
pub(super) mod proofs;
pub(super) mod providers;
pub(super) mod purge;
pub(super) mod revocations;
mod rotation;
pub(super) mod servers;
pub(super) mod stats;
pub(super) mod tenants;
pub(super) mod token_test;

use http::StatusCode;
use mcp_connect_catalog::{day_micros, find_hidden, is_label, name_hidden, query_date};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};

use super::{problem::Problem, respond};
use crate::{
    authority::{Holder, KeyOf, NewKey},
    platform::{http::Response, now_millis},
    store::Page,
};

const MAX_REASON_CHARS: usize = 500;
const MAX_NAME_CHARS: usize = 100;
/// Ten years.
const MAX_EXPIRY_SECONDS: u64 = 3650 * 24 * 60 * 60;

/// A page of a list, under the list's own name.
struct List<T> {
    name: &'static str,
    rows: Vec<T>,
    next_cursor: Option<String>,
}

impl<T: Serialize> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry(self.name, &self.rows)?;
        if let Some(cursor) = &self.next_cursor {
            members.serialize_entry("next_cursor", cursor)?;
        }
        members.end()
    }
}

/// `cursor` is what the page after a row is asked for by.
fn list_answer<T: Serialize>(
    name: &'static str,
    page: Page<T>,
    cursor: impl Fn(&T) -> String,
) -> Result<Response, Problem> {
    let list = List {
        name,
        next_cursor: page.next_after().map(cursor),
        rows: page.rows,
    };
    respond(StatusCode::OK, &list)
}

/// Something after a change, and whether there was one.
#[derive(Serialize)]
struct Changed<T> {
    #[serde(flatten)]
    subject: T,
    changed: bool,
}

/// Why a change is made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReasonBody {
    reason: String,
}

/// What a new key is to be called, and when it is to end: as [`expiry`] has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBody {
    label: Option<String>,
    expires_in: Option<u64>,
    expires_at: Option<String>,
    reason: Option<String>,
}

fn new_key<'a, H: Holder>(
    key: &'a KeyOf<H>,
    label: Option<&'a str>,
    expires_at: Option<&str>,
    expires_in: Option<u64>,
) -> Result<NewKey<'a, H>, Problem> {
    if let Some(label) = label {
        check_name("label", label)?;
    }
    Ok(NewKey {
        key,
        label,
        expires_at: expiry(expires_at, expires_in)?,
    })
}

fn check_reason(reason: &str) -> Result<&str, Problem> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > MAX_REASON_CHARS {
        return Err(Problem::request_invalid(
            "reason: say why, in 1 to 500 characters; it goes into the audit trail",
        ));
    }
    if let Some(hidden) = find_hidden(reason, &[]) {
        return Err(Problem::request_invalid(format!(
            "reason: has {}, which does not show; leave it out",
            name_hidden(hidden)
        )));
    }
    Ok(reason)
}

/// The reason for something that is only added or renewed, which need not be said.
fn check_reason_given(reason: Option<&str>) -> Result<Option<&str>, Problem> {
    reason.map(check_reason).transpose()
}

/// What people call something.
fn check_name(member: &str, name: &str) -> Result<(), Problem> {
    if is_label(name, MAX_NAME_CHARS) {
        return Ok(());
    }
    Err(Problem::request_invalid(format!(
        "{member}: must be 1 to 100 visible characters, with single spaces between the words"
    )))
}

/// When something ends, in milliseconds since the Unix epoch, where its body says so: by a date, or
/// in so many seconds.
fn expiry(expires_at: Option<&str>, expires_in: Option<u64>) -> Result<Option<u64>, Problem> {
    let now = now_millis();
    let latest = now + MAX_EXPIRY_SECONDS * 1000;
    match (expires_at, expires_in) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Problem::request_invalid(
            "expires_at: given together with expires_in; leave one out",
        )),
        (Some(date), None) => match moment("expires_at", date, Day::Ends)? {
            at if (now + 1..=latest).contains(&at) => Ok(Some(at)),
            _ => Err(Problem::request_invalid(
                "expires_at: must be to come, and at most ten years away",
            )),
        },
        (None, Some(seconds @ 1..=MAX_EXPIRY_SECONDS)) => Ok(Some(now + seconds * 1000)),
        (None, Some(_)) => Err(Problem::request_invalid(
            "expires_in: must be 1 to 315360000 seconds",
        )),
    }
}

/// Which end of a day a date without a time stands for.
#[derive(Clone, Copy)]
enum Day {
    Begins,
    Ends,
}

/// Reads a time, or a day of UTC, in milliseconds since the Unix epoch.
fn moment(member: &str, text: &str, day: Day) -> Result<u64, Problem> {
    let micros = match (day_micros(text), day) {
        (Some((begins, _)), Day::Begins) => Ok(begins),
        (Some((_, ends)), Day::Ends) => Ok(ends),
        (None, _) => query_date(text),
    };
    micros.map(|micros| micros / 1000).map_err(|error| {
        Problem::request_invalid(format!(
            "{member}: {error}; or write a day of UTC, such as 2026-11-01"
        ))
    })
}
