//! One JSON object a line, whose members Workers Logs indexes. Nothing that is logged here may hold
//! a token, a key or a credential.

use serde_json::{Map, Value};
use worker::{console_error, console_log};

pub(crate) fn info(event: &str, members: &[(&str, &str)]) {
    console_log!("{}", line("info", event, members));
}

pub(crate) fn error(event: &str, members: &[(&str, &str)]) {
    console_error!("{}", line("error", event, members));
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
