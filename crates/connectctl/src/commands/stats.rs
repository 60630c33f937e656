use serde_json::Value;

use crate::{api::Admin, config::Settings, failure::Failure, output};

pub(crate) async fn run(settings: &Settings, json: bool) -> Result<(), Failure> {
    let stats = Admin::new(settings.operator()?).stats().await?;
    if json {
        return output::json(&stats);
    }
    let mut table = output::table(&["what", "count"]);
    for (what, count) in rows("", &stats) {
        table.add_row([output::cell(&what), output::cell(&count)]);
    }
    output::print_table(&table)
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
