use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{api::Admin, config::Settings, failure::Failure, output};

/// What ends soon, as the authority lists it.
#[derive(Deserialize, Serialize)]
struct Endings {
    within_days: u64,
    complete: bool,
    entries: Vec<Ending>,
}

#[derive(Deserialize, Serialize)]
struct Ending {
    kind: String,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(crate) async fn run(settings: &Settings, json: bool) -> Result<(), Failure> {
    let mut stats = Admin::new(settings.operator()?).stats().await?;
    if json {
        return output::json(&stats);
    }
    let endings = endings(&mut stats)?;
    let mut table = output::table(&["what", "count"]);
    for (what, count) in rows("", &stats) {
        table.add_row([output::cell(&what), output::cell(&count)]);
    }
    output::print_table(&table)?;
    show(endings)
}

/// Shows only what ends soon.
pub(crate) async fn ending(settings: &Settings, json: bool) -> Result<(), Failure> {
    let mut stats = Admin::new(settings.operator()?).stats().await?;
    let endings = endings(&mut stats)?;
    if json {
        return output::json(&endings);
    }
    show(endings)
}

fn endings(stats: &mut Value) -> Result<Endings, Failure> {
    let found = stats
        .as_object_mut()
        .and_then(|members| members.remove("ending"))
        .unwrap_or_default();
    serde_json::from_value(found).map_err(|_| {
        Failure::unavailable("the authority does not say what ends soon")
            .hint("is it older than this connectctl?")
    })
}

fn show(mut endings: Endings) -> Result<(), Failure> {
    let days = endings.within_days;
    if endings.entries.is_empty() {
        output::note(&format!("Nothing ends within {days} days."));
        return Ok(());
    }
    // Dates in UTC, all written alike. What has none comes last.
    endings
        .entries
        .sort_by(|a, b| (a.ends_at.is_none(), &a.ends_at).cmp(&(b.ends_at.is_none(), &b.ends_at)));
    let mut table = output::table(&["ends", "what", "of", "more"]);
    for entry in &endings.entries {
        table.add_row([
            output::maybe(entry.ends_at.as_deref()),
            output::cell(&entry.kind.replace('_', " ")),
            output::cell(&entry.subject),
            output::cell(&more(entry)),
        ]);
    }
    output::print_table(&table)?;
    if !endings.complete {
        output::note("There is more: of each kind, the first 100 are listed.");
    }
    Ok(())
}

/// What there is to know beside the date.
fn more(entry: &Ending) -> String {
    let replaced = entry.replaced.unwrap_or_default();
    [
        entry.key_id.clone(),
        entry.label.clone(),
        replaced.then(|| "was replaced".to_owned()),
        entry.level.as_ref().map(|level| format!("level {level}")),
        entry.failures.map(|failures| match failures {
            0 => "not confirmed lately".to_owned(),
            failures => format!("gone at the last {failures} looks"),
        }),
        match entry.kind.as_str() {
            "signing_key_retired" => Some("may be dropped then".to_owned()),
            "signing_key_next" => Some("may sign from then on".to_owned()),
            _ => None,
        },
        entry.reason.clone(),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(", ")
}

/// Each number with the names that lead to it.
fn rows(prefix: &str, value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| rows(format!("{prefix} {name}").trim_start(), value))
            .collect(),
        other => vec![(prefix.to_owned(), other.to_string())],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_number_is_a_row() {
        let stats =
            json!({ "counters": { "connects": { "ok": 2 } }, "registry": { "servers": 1 } });
        let expected = [("counters connects ok", "2"), ("registry servers", "1")];
        assert_eq!(
            rows("", &stats),
            expected.map(|(name, count)| (name.to_owned(), count.to_owned()))
        );
    }
}
