use std::fmt::{self, Write};

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::ending;
use crate::{
    api::{
        call::{Auditor, Call, MetricsReader},
        document,
        problem::Problem,
        respond,
    },
    platform::{DatabaseLimit, http::Response, metrics::LATENCY_BUCKETS},
    store::{Counter, database_bytes},
};

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is counted, and what it says.
const COUNTERS: [(&str, &str); 6] = [
    (
        "answers",
        "Answers, by what was asked for and class of status.",
    ),
    ("cache_lookups", "Looks into a cache, by what was found."),
    (
        "connects",
        "Requests to connect, by the code they were answered with.",
    ),
    (
        "limiter_errors",
        "Requests that went on since a rate limit could not be asked.",
    ),
    (
        "rate_limited",
        "Requests refused by a rate limit, by whose it was.",
    ),
    (
        "storage_errors",
        "Calls of D1 and KV that failed or took too long.",
    ),
];

/// Counts of what there is, and of what happened up to a few seconds ago, with what ends soon.
pub(crate) async fn stats(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let registry = nested(&call.app.store.census().await?);
    let counters = nested(&call.app.store.counters().await?);
    let mut body = Map::from_iter([
        ("registry".to_owned(), registry),
        ("counters".to_owned(), counters),
    ]);
    let endings = ending::gather(&call.app).await?;
    body.insert("ending".to_owned(), ending::answer(endings));
    if let Some((bytes, limit)) = database(call)? {
        let database = json!({
            "bytes": bytes,
            "max_bytes": limit.max_bytes,
            "reserve_bytes": limit.reserve_bytes,
        });
        body.insert("database".to_owned(), database);
    }
    respond(StatusCode::OK, &body)
}

/// How large the database is, and may become. `None`: D1 has not said.
fn database(call: &Call) -> Result<Option<(u64, DatabaseLimit)>, Problem> {
    let limit = call.app.settings.database()?;
    Ok(database_bytes().map(|bytes| (bytes, limit)))
}

/// The counters for Prometheus, and when what ends soon does. Indexes find the latter, so that the cost doesn't grow with
/// the registry.
pub(crate) async fn metrics(call: &Call, _: &MetricsReader) -> Result<Response, Problem> {
    let counters = call.app.store.counters().await?;
    let endings = ending::gather(&call.app).await?;
    let text = prometheus(&counters, database(call)?)
        .and_then(|mut text| {
            ending::prometheus(&mut text, &endings)?;
            Ok(text)
        })
        .map_err(|error| Problem::authority_unavailable("internal_fault", &error.to_string()))?;
    Ok(document(PROMETHEUS_TEXT, text.into_bytes()))
}

/// By name, then by the value of each label.
fn nested(counters: &[Counter]) -> Value {
    let mut all = Value::Object(Map::new());
    for counter in counters {
        let labels = counter.labels.split(',').filter_map(|label| {
            let (_, value) = label.split_once('=')?;
            Some(value.trim_matches('"'))
        });
        let place =
            [counter.name.as_str()]
                .into_iter()
                .chain(labels)
                .fold(&mut all, |value, member| {
                    if !value.is_object() {
                        *value = Value::Object(Map::new());
                    }
                    &mut value[member]
                });
        *place = number(counter.value);
    }
    all
}

/// Whole where it is.
fn number(value: f64) -> Value {
    let text = value.to_string();
    text.parse()
        .map_or_else(|_| value.into(), |whole: u64| whole.into())
}

/// The text exposition format, version 0.0.4.
fn prometheus(
    counters: &[Counter],
    database: Option<(u64, DatabaseLimit)>,
) -> Result<String, fmt::Error> {
    let of = |name| counters.iter().filter(move |counter| counter.name == name);
    let mut text = String::new();
    for (name, help) in COUNTERS {
        let metric = format!("connect_authority_{name}_total");
        writeln!(text, "# HELP {metric} {help}\n# TYPE {metric} counter")?;
        for Counter { labels, value, .. } in of(name) {
            if labels.is_empty() {
                writeln!(text, "{metric} {value}")?;
            } else {
                writeln!(text, "{metric}{{{labels}}} {value}")?;
            }
        }
    }

    let metric = "connect_authority_connect_seconds";
    writeln!(
        text,
        "# HELP {metric} How long connects took.\n# TYPE {metric} histogram"
    )?;
    let mut count = 0.0;
    for (_, bucket) in LATENCY_BUCKETS {
        let labels = format!("le=\"{bucket}\"");
        count += of("connect_seconds_bucket")
            .find(|counter| counter.labels == labels)
            .map_or(0.0, |counter| counter.value);
        writeln!(text, "{metric}_bucket{{{labels}}} {count}")?;
    }
    let sum = of("connect_seconds_sum").next();
    let sum = sum.map_or(0.0, |counter| counter.value);
    writeln!(text, "{metric}_sum {sum}\n{metric}_count {count}")?;

    let (bytes, limit) = database.unzip();
    for (name, help, value) in [
        ("bytes", "How large the database is.", bytes),
        (
            "max_bytes",
            "How large the database may become.",
            limit.map(|limit| limit.max_bytes),
        ),
        (
            "reserve_bytes",
            "What publishers and the mirror leave to administrators.",
            limit.map(|limit| limit.reserve_bytes),
        ),
    ] {
        if let Some(value) = value {
            let metric = format!("connect_authority_database_{name}");
            writeln!(
                text,
                "# HELP {metric} {help}\n# TYPE {metric} gauge\n{metric} {value}"
            )?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(name: &str, labels: &str, value: f64) -> Counter {
        Counter {
            name: name.into(),
            labels: labels.into(),
            value,
        }
    }

    #[test]
    fn json_goes_by_the_values_of_labels() {
        let counters = [
            counter("answers", "family=\"connect\",status=\"2xx\"", 2.0),
            counter("answers", "family=\"connect\",status=\"4xx\"", 1.0),
            counter("limiter_errors", "", 3.0),
            counter("connect_seconds_sum", "", 0.25),
        ];
        assert_eq!(
            nested(&counters),
            json!({
                "answers": { "connect": { "2xx": 2, "4xx": 1 } },
                "limiter_errors": 3,
                "connect_seconds_sum": 0.25,
            })
        );
    }

    #[test]
    fn buckets_hold_all_that_was_faster() {
        let counters = [
            counter("connect_seconds_bucket", "le=\"0.01\"", 2.0),
            counter("connect_seconds_bucket", "le=\"+Inf\"", 1.0),
            counter("connect_seconds_sum", "", 6.5),
            counter("connects", "code=\"ok\"", 3.0),
            counter("unheard_of", "", 3.0),
        ];
        let limit = DatabaseLimit {
            max_bytes: 10,
            reserve_bytes: 1,
        };
        let text = prometheus(&counters, Some((7, limit))).unwrap();
        for line in [
            "connect_authority_connects_total{code=\"ok\"} 3",
            "connect_authority_connect_seconds_bucket{le=\"0.005\"} 0",
            "connect_authority_connect_seconds_bucket{le=\"0.01\"} 2",
            "connect_authority_connect_seconds_bucket{le=\"5\"} 2",
            "connect_authority_connect_seconds_bucket{le=\"+Inf\"} 3",
            "connect_authority_connect_seconds_sum 6.5",
            "connect_authority_connect_seconds_count 3",
            "connect_authority_database_bytes 7",
            "connect_authority_database_max_bytes 10",
            "connect_authority_database_reserve_bytes 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}: {text}");
        }
        assert!(!text.contains("unheard_of"));
    }
}
