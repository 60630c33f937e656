//! One JSON object a line, whose members Workers Logs indexes. Nothing that is logged here may hold
//! a token, a key or a credential.

use std::{cell::RefCell, collections::HashSet};

use serde_json::{Map, Value};
use worker::{console_error, console_log};

use super::now_millis;

/// What may happen with every request of a flood is logged once in so many milliseconds, and about no
/// more than so many subjects.
const QUIET_MILLIS: u64 = 10_000;
const MAX_SUBJECTS: usize = 50;

thread_local! {
    static LOGGED: RefCell<(u64, HashSet<String>)> = RefCell::default();
}

pub(crate) fn info(event: &str, members: &[(&str, &str)]) {
    console_log!("{}", line("info", event, members));
}

pub(crate) fn error(event: &str, members: &[(&str, &str)]) {
    console_error!("{}", line("error", event, members));
}

/// For what a flood repeats: a line now and then for each subject. Metrics count them all.
pub(crate) fn info_once(subject: &str, event: &str, members: &[(&str, &str)]) {
    if is_news(subject, event) {
        info(event, members);
    }
}

/// As [`info_once`].
pub(crate) fn error_once(subject: &str, event: &str, members: &[(&str, &str)]) {
    if is_news(subject, event) {
        error(event, members);
    }
}

fn is_news(subject: &str, event: &str) -> bool {
    let now = now_millis() / QUIET_MILLIS;
    LOGGED.with_borrow_mut(|(period, subjects)| {
        if *period != now {
            *period = now;
            subjects.clear();
        }
        subjects.len() < MAX_SUBJECTS && subjects.insert(format!("{event} {subject}"))
    })
}

fn line(level: &str, event: &str, members: &[(&str, &str)]) -> Value {
    let mut line = Map::new();
    line.insert("level".into(), level.into());
    line.insert("event".into(), event.into());
    for (name, value) in members {
        line.insert((*name).into(), (*value).into());
    }
    Value::Object(line)
}
